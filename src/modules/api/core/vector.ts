import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { quoted, shown } from './shown.js';

/**
 * The float32 vector in a JSON value (api.md, Limits), unless the parser took it for one already: a non-empty array of at most 4 096 numbers, finite as float32.
 * Its dimension and, under cosine, its length are checked where the collection is known.
 * @param name of the field, for the error
 */
export function vectorOfJson(value: unknown, name: string): Float32Array {
  if (value instanceof Float32Array) return value;
  if (!Array.isArray(value)) throw invalid(name, `must be an array of numbers, not ${shown(value)}`);
  checkLength(value.length, name);
  const items: readonly unknown[] = value;
  const vector = new Float32Array(items.length);
  for (let i = 0; i < vector.length; i++) {
    const item = items[i];
    if (typeof item !== 'number') throw invalid(`${name}[${i}]`, `must be a number, not ${shown(item)}`);
    vector[i] = item;
    if (!Number.isFinite(vector[i])) throw invalid(`${name}[${i}]`, 'must be finite as a 32-bit float');
  }
  return vector;
}

/**
 * The float32 vector in little-endian bytes (api.md, gRPC). Copies: the bytes are a view of a frame, at any alignment.
 * @param name of the field, for the error
 */
export function vectorOfBytes(bytes: Uint8Array, name: string): Float32Array {
  if (bytes.length % 4 !== 0) {
    throw invalid(
      name,
      `must hold 4 bytes a dimension (little-endian float32); ${bytes.length} bytes are not a multiple of 4`,
    );
  }
  checkLength(bytes.length / 4, name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const vector = new Float32Array(bytes.length / 4);
  for (let i = 0; i < vector.length; i++) {
    vector[i] = view.getFloat32(4 * i, true);
    if (!Number.isFinite(vector[i])) throw invalid(`${name}[${i}]`, 'must be finite');
  }
  return vector;
}

/** Little-endian bytes of a vector. */
export function bytesOfVector(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(4 * vector.length);
  const view = new DataView(bytes.buffer);
  vector.forEach((value, i) => {
    view.setFloat32(4 * i, value, true);
  });
  return bytes;
}

function checkLength(length: number, name: string): void {
  if (length === 0) throw invalid(name, 'must not be empty: leave it out when there is none');
  if (length > LIMITS.dimensionsMax) {
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `${quoted(name)} has ${length} dimensions; at most ${LIMITS.dimensionsMax} are allowed`,
    );
  }
}

function invalid(name: string, sentence: string): NodeError {
  return new NodeError('INVALID_REQUEST', `${quoted(name)} ${sentence}`);
}
