import { expect } from '@jest/globals';
import type { Answer } from './rest.js';

/** A problem document (RFC 9457) as api.md promises it. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
}

/** HTTP status of every error code (api.md, Errors), written down a second time on purpose. */
export const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  INVALID_REQUEST: 400,
  DIMENSION_MISMATCH: 400,
  LIMIT_EXCEEDED: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  DOCUMENT_NOT_FOUND: 404,
  COLLECTION_NOT_FOUND: 404,
  ALIAS_NOT_FOUND: 404,
  SHARD_NOT_FOUND: 404,
  NODE_NOT_FOUND: 404,
  OPERATION_NOT_FOUND: 404,
  ROUTE_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  UNSUPPORTED_MEDIA_TYPE: 415,
  VERSION_CONFLICT: 409,
  OPERATION_CONFLICT: 409,
  IDEMPOTENCY_CONFLICT: 409,
  COLLECTION_CONFLICT: 409,
  OFFSET_COMPACTED: 410,
  PAYLOAD_TOO_LARGE: 413,
  OVERLOADED: 429,
  SHARD_UNAVAILABLE: 503,
  NO_QUORUM: 503,
  NOT_CAUGHT_UP: 503,
  COVERAGE_TOO_LOW: 503,
  FROZEN: 503,
  STARTING: 503,
  DRAINING: 503,
  WRITE_OUTCOME_UNKNOWN: 504,
  QUERY_TIMEOUT: 504,
  INSUFFICIENT_STORAGE: 507,
  LOG_CORRUPT: 500,
  INTERNAL: 500,
};

/** What must never leave a node: stack traces and paths of its sources. */
const INSIDES = /\n\s+at |node_modules|\.[jt]s:\d+|file:\/\//;

/**
 * Checks that an answer is a whole problem document of one of `codes`, whose detail says what is wrong.
 * @param detail what the sentence must name
 */
export function expectProblem(answer: Answer, codes: string | readonly string[], detail?: RegExp): Problem {
  const allowed = typeof codes === 'string' ? [codes] : codes;
  const shown = `${answer.status} ${answer.text.slice(0, 2_000)}`;
  expect({ shown, type: answer.headers['content-type'] }).toEqual({
    shown,
    type: expect.stringMatching(/^application\/problem\+json\b/),
  });
  const problem = answer.json<Problem>();
  expect({ shown, allowed: allowed.includes(problem.code) }).toEqual({ shown, allowed: true });
  expect(answer.status).toBe(STATUS_OF_CODE[problem.code]);
  expect(problem).toEqual(
    expect.objectContaining({
      type: expect.stringMatching(/.+/),
      title: expect.stringMatching(/.+/),
      status: answer.status,
      detail: expect.stringMatching(/.+/),
      instance: expect.stringMatching(/.+/),
      retryable: expect.any(Boolean),
    }),
  );
  if (detail !== undefined) expect(problem.detail).toMatch(detail);
  expect(answer.text).not.toMatch(INSIDES);
  return problem;
}

/** Checks the status and gives the body; the whole answer is in the message when it is another. */
export function expectStatus<T = Readonly<Record<string, unknown>>>(answer: Answer, ...statuses: readonly number[]): T {
  if (!statuses.includes(answer.status)) {
    throw new Error(`expected ${statuses.join(' or ')}, got ${answer.status}: ${answer.text.slice(0, 2_000)}`);
  }
  return answer.text === '' ? ({} as T) : answer.json<T>();
}
