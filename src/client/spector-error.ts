/**
 * What went wrong, by name: a code of the node (its error table), or one of the client's own:
 * `UNREACHABLE` (no node could be connected to, or the connection broke), `TIMEOUT` (the client's deadline passed) and
 * `BAD_ANSWER` (something answered that is not a Spector node).
 */
export type SpectorErrorCode = 'UNREACHABLE' | 'TIMEOUT' | 'BAD_ANSWER' | (string & {});

/** Codes of the node after which the same request may succeed. */
export const RETRYABLE_CODES: ReadonlySet<string> = new Set([
  'OVERLOADED',
  'SHARD_UNAVAILABLE',
  'NO_QUORUM',
  'NOT_CAUGHT_UP',
  'COVERAGE_TOO_LOW',
  'FROZEN',
  'STARTING',
  'DRAINING',
  'WRITE_OUTCOME_UNKNOWN',
  'QUERY_TIMEOUT',
  'INSUFFICIENT_STORAGE',
  'LOG_CORRUPT',
]);

export interface SpectorErrorFields {
  readonly code: SpectorErrorCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly detail: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly instance?: string;
  /** The whole problem document (RFC 9457), with what the code adds to it. */
  readonly problem?: Readonly<Record<string, unknown>>;
  /** Base URL of the node that was asked. */
  readonly node?: string;
  readonly cause?: unknown;
}

/** Every failure of a call of SpectorClient, except an abort by the caller's own signal. */
export class SpectorError extends Error {
  override readonly name = 'SpectorError';
  readonly code: SpectorErrorCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** What is wrong and what to do about it. */
  readonly detail: string;
  /** Whether the same request may succeed later (a write: with the same idempotency key). */
  readonly retryable: boolean;
  /** Milliseconds after which a retry makes sense. */
  readonly retryAfterMs: number | undefined;
  /** Names this one failure in the node's own log. */
  readonly instance: string | undefined;
  readonly problem: Readonly<Record<string, unknown>> | undefined;
  readonly node: string | undefined;

  constructor(fields: SpectorErrorFields) {
    super(`${fields.code}: ${fields.detail}`, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.status = fields.status;
    this.detail = fields.detail;
    this.retryable = fields.retryable;
    this.retryAfterMs = fields.retryAfterMs;
    this.instance = fields.instance;
    this.problem = fields.problem;
    this.node = fields.node;
  }
}

/** The error a node's answer means; also for answers that are no problem document. */
export function errorOfAnswer(status: number, text: string, node: string): SpectorError {
  const problem = asObject(text);
  if (problem === undefined || typeof problem.code !== 'string') {
    return new SpectorError({
      code: 'BAD_ANSWER',
      status,
      detail: `${node} answered ${status} without a problem document: ${text.slice(0, 200) || '(empty)'}; is it a Spector node?`,
      retryable: status === 502 || status === 503 || status === 504,
      ...(problem === undefined ? {} : { problem }),
      node,
    });
  }
  return errorOfProblem(problem.code, problem, status, node);
}

/** The error a problem document means. */
export function errorOfProblem(
  code: string,
  problem: Readonly<Record<string, unknown>>,
  status: number,
  node: string,
): SpectorError {
  return new SpectorError({
    code,
    status,
    detail:
      typeof problem.detail === 'string' ? problem.detail : typeof problem.title === 'string' ? problem.title : code,
    retryable: typeof problem.retryable === 'boolean' ? problem.retryable : RETRYABLE_CODES.has(code),
    ...(typeof problem.retryAfterMs === 'number' ? { retryAfterMs: problem.retryAfterMs } : {}),
    ...(typeof problem.instance === 'string' ? { instance: problem.instance } : {}),
    problem,
    node,
  });
}

function asObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined; // Not JSON: the caller says so in the error it makes.
  }
}
