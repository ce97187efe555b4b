import type { ErrorCode } from '../../../kernel/errors.js';
import { ERRORS } from '../../../kernel/errors.js';
import type { BulkResult } from '../../coordinator/core/requests.js';

/** How a bulk went as a whole: HTTP status and, when nothing was stored, the code of the problem. */
export type BulkOutcome = { readonly status: 200 | 201 } | { readonly status: number; readonly code: ErrorCode };

/**
 * They say that the node, not the request, is why, and what helps: told for a whole bulk when all its errors share one. A
 * single write that has to wait is told 429, and so is a bulk of nothing else.
 */
const NODE_STATUSES: ReadonlySet<number> = new Set([429, 503, 504, 507]);

/**
 * 201 when all items were stored, 200 when some were; when none was, 400, or the status of the node that all errors
 * share, the listed ones and the others, so that a client knows a retry helps.
 */
export function bulkOutcome({ answer, codes }: BulkResult): BulkOutcome {
  if (answer.failed === 0 && answer.total > 0) return { status: 201 };
  if (answer.success > 0) return { status: 200 };
  const first = answer.errors[0];
  if (first === undefined) return { status: ERRORS.INVALID_REQUEST.http, code: 'INVALID_REQUEST' };
  if (codes.size === 1 && ERRORS[first.code].http === ERRORS.INVALID_REQUEST.http)
    return { status: ERRORS[first.code].http, code: first.code };
  const statuses = new Set([...codes].map((code) => ERRORS[code].http));
  const shared = ERRORS[first.code].http;
  if (statuses.size === 1 && NODE_STATUSES.has(shared)) return { status: shared, code: first.code };
  return { status: ERRORS.INVALID_REQUEST.http, code: 'INVALID_REQUEST' };
}

/** When a bulk of which nothing was stored may be sent again, as a single write is told; whole seconds. Undefined: not as it is. */
export function bulkRetryAfterMs(code: ErrorCode): number | undefined {
  if (code === 'INSUFFICIENT_STORAGE') return 5_000;
  return ERRORS[code].retryable ? 1_000 : undefined;
}
