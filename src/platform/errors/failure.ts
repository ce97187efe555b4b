import type { ErrorCode } from '../../kernel/errors.js';
import { ERRORS, NodeError } from '../../kernel/errors.js';

/** Characters of `detail` that leave the node: a header block of HTTP/2 has to hold it. */
export const DETAIL_CHARACTERS_MAX = 1_000;

/** What a client is told about a failed call, whatever the protocol. */
export interface Failure {
  readonly code: ErrorCode;
  /** One sentence: what is wrong and what to do. Well-formed Unicode of at most DETAIL_CHARACTERS_MAX characters. */
  readonly detail: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly extra: Readonly<Record<string, unknown>> | undefined;
  /** True when the error was none of ours: log it with its stack under the instance that the client was given. */
  readonly unexpected: boolean;
}

/** Turns anything that was thrown into what may be said about it: of an unexpected error, nothing. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof NodeError)) {
    return {
      code: 'INTERNAL',
      detail: 'The node met an unexpected error; it is in its log under this instance',
      retryable: ERRORS.INTERNAL.retryable,
      retryAfterMs: undefined,
      extra: undefined,
      unexpected: true,
    };
  }
  return {
    code: error.code,
    detail: presentable(error.message),
    retryable: ERRORS[error.code].retryable,
    retryAfterMs: error.retryAfterMs,
    extra: error.extra,
    unexpected: false,
  };
}

/** Details quote what clients sent: lone surrogates and megabytes of it must not break the answer. */
function presentable(detail: string): string {
  const cut = detail.length > DETAIL_CHARACTERS_MAX ? `${detail.slice(0, DETAIL_CHARACTERS_MAX - 1)}…` : detail;
  return cut.toWellFormed();
}
