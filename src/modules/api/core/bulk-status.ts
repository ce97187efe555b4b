import type { ErrorCode } from '../../../kernel/errors.js';
import { ERRORS } from '../../../kernel/errors.js';
import type { BulkAnswer } from '../../coordinator/core/requests.js';

/** How a bulk went as a whole: HTTP status and, when nothing was stored, the code of the problem. */
export type BulkOutcome = { readonly status: 200 | 201 } | { readonly status: number; readonly code: ErrorCode };

/** From here on a status says that the node, not the request, is why: it may be told for a whole bulk. */
const NODE_STATUS_MIN = 429;

/**
 * 201 when all items were stored, 200 when some were; when none was, 400, or the status that all errors share when it
 * lies with the node (503, 504, 507; api.md, bulk), so that a client knows a retry helps.
 */
export function bulkOutcome(answer: BulkAnswer): BulkOutcome {
  if (answer.failed === 0 && answer.total > 0) return { status: 201 };
  if (answer.success > 0) return { status: 200 };
  const first = answer.errors[0];
  if (first === undefined) return { status: ERRORS.INVALID_REQUEST.http, code: 'INVALID_REQUEST' };
  const codes = new Set(answer.errors.map(({ code }) => code));
  if (codes.size === 1 && ERRORS[first.code].http === ERRORS.INVALID_REQUEST.http)
    return { status: ERRORS[first.code].http, code: first.code };
  const statuses = new Set([...codes].map((code) => ERRORS[code].http));
  const shared = ERRORS[first.code].http;
  if (statuses.size === 1 && shared >= NODE_STATUS_MIN) return { status: shared, code: first.code };
  return { status: ERRORS.INVALID_REQUEST.http, code: 'INVALID_REQUEST' };
}

/** When a bulk of which nothing was stored may be sent again, as a single write is told; whole seconds. Undefined: not as it is. */
export function bulkRetryAfterMs(code: ErrorCode): number | undefined {
  if (code === 'INSUFFICIENT_STORAGE') return 5_000;
  return ERRORS[code].retryable ? 1_000 : undefined;
}
