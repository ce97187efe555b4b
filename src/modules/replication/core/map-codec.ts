import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import type { MapOperation } from '../../ring/core/map-operations.js';

/** A map operation as the payload of a MAP entry: JSON, so that an operator can read the log. */
export function encodeMapOperation(operation: MapOperation): Uint8Array {
  return utf8(JSON.stringify(operation));
}

export function decodeMapOperation(payload: Uint8Array): MapOperation {
  return JSON.parse(fromUtf8(payload)) as MapOperation;
}
