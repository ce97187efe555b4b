import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type { MapOperation } from '../../ring/core/map-operations.js';

/** A map operation as the payload of a MAP entry: JSON, so that an operator can read the log. */
export function encodeMapOperation(operation: MapOperation): Uint8Array {
  return utf8(JSON.stringify(operation));
}

export function decodeMapOperation(payload: Uint8Array): MapOperation {
  return JSON.parse(fromUtf8(payload)) as MapOperation;
}

/** The map as of an offset of its log: a cache of the log, so that a start need not read all of it. */
export interface AgreedMap {
  readonly map: ClusterMap;
  /** High-water mark it is of. */
  readonly offset: number;
  /** What was agreed beyond `offset` was cut off: only a forced map may follow (5.8). */
  readonly astray?: true;
}

export function encodeAgreedMap(agreed: AgreedMap): Uint8Array {
  return utf8(JSON.stringify(agreed));
}

export function decodeAgreedMap(value: Uint8Array): AgreedMap {
  return JSON.parse(fromUtf8(value)) as AgreedMap;
}

/** The row after the log was cut behind `to`; undefined: it stays as it is, as nothing that was agreed is gone. */
export function cutAgreedMap({ map, offset }: AgreedMap, to: number): AgreedMap | undefined {
  return offset <= to ? undefined : { map, offset: to, astray: true };
}
