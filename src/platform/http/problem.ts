import type { ErrorCode } from '../../kernel/errors.js';
import { ERRORS } from '../../kernel/errors.js';
import { failureOf } from '../errors/failure.js';

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

/** A problem document (RFC 9457; api.md, Errors). */
export interface Problem {
  /** `urn:spector:error:<code>`. */
  readonly type: string;
  /** The same for every problem of a type. */
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** This occurrence, as in the node's log. */
  readonly instance: string;
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  /** E.g. `shards` of COVERAGE_TOO_LOW. */
  readonly [extra: string]: unknown;
}

/** A Problem, and whether its error was unexpected: then the caller logs the error under `problem.instance`. */
export interface ProblemReport {
  readonly problem: Problem;
  readonly unexpected: boolean;
}

/**
 * The problem document of anything that was thrown. Extras never hide a standard member.
 * @param error a NodeError, or anything else: that becomes INTERNAL, and nothing of it is told
 * @param instance a URI naming this occurrence, e.g. `urn:uuid:…`
 */
export function problemOf(error: unknown, instance: string): ProblemReport {
  const failure = failureOf(error);
  const { http, title } = ERRORS[failure.code];
  return {
    problem: {
      ...failure.extra,
      type: `urn:spector:error:${failure.code}`,
      title,
      status: http,
      detail: failure.detail,
      instance,
      code: failure.code,
      retryable: failure.retryable,
      ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
    },
    unexpected: failure.unexpected,
  };
}
