import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { WriteCondition } from '../../coordinator/core/requests.js';

const ETAG = /^"([\x21\x23-\x7e]{1,128})"$/;
const VISIBLE = /^[\x21-\x7e]+$/;

/** The condition of a write in `If-Match: "<version>"` or `If-None-Match: *`; undefined without either. */
export function writeConditionOf(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
): WriteCondition | undefined {
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  if (ifMatch !== undefined && ifNoneMatch !== undefined) {
    throw new NodeError('INVALID_REQUEST', 'If-Match and If-None-Match contradict each other: give one of them');
  }
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() !== '*') throw new NodeError('INVALID_REQUEST', 'If-None-Match must be *');
    return { kind: 'absent' };
  }
  const version = ETAG.exec(ifMatch?.trim() ?? '')?.[1];
  if (version === undefined)
    throw new NodeError('INVALID_REQUEST', 'If-Match must be one version in double quotes, e.g. "0190…"');
  return { kind: 'version', version };
}

/** The idempotency key of a write: 1–256 visible characters; undefined without one. */
export function idempotencyKeyOf(key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  if (key.length > LIMITS.idempotencyKeyMax || !VISIBLE.test(key)) {
    throw new NodeError(
      'INVALID_REQUEST',
      `Idempotency-Key must be 1–${LIMITS.idempotencyKeyMax} visible ASCII characters`,
    );
  }
  return key;
}
