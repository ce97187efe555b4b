import type { ErrorCode } from '../../../kernel/errors.js';
import type { ClusterMap } from './map.js';

export type MapResult =
  | { readonly kind: 'changed'; readonly map: ClusterMap }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

/** The map with a change, one epoch later. */
export function changed(map: ClusterMap, change: Partial<ClusterMap>): MapResult {
  return { kind: 'changed', map: { ...map, ...change, epoch: map.epoch + 1 } };
}

export function refused(code: ErrorCode, detail: string): MapResult {
  return { kind: 'refused', code, detail };
}
