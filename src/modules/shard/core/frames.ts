import { assert } from '../../../kernel/assert.js';

/**
 * Log entries on their way to an index thread: u32 big-endian length, then the entry, repeated, in one block of memory
 * that can change hands without a copy.
 */
export function encodeFrames(entries: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const entry of entries) length += 4 + entry.length;
  const frames = new Uint8Array(length);
  const view = new DataView(frames.buffer);
  let at = 0;
  for (const entry of entries) {
    view.setUint32(at, entry.length);
    frames.set(entry, at + 4);
    at += 4 + entry.length;
  }
  return frames;
}

/** Takes entries out of frames one at a time; views, not copies. */
export class FrameReader {
  readonly #frames: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(frames: Uint8Array) {
    this.#frames = frames;
    this.#view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  }

  /** Undefined at the end. */
  next(): Uint8Array | undefined {
    if (this.#at === this.#frames.length) return undefined;
    assert(this.#at + 4 <= this.#frames.length, 'frames end inside a length');
    const start = this.#at + 4;
    const end = start + this.#view.getUint32(this.#at);
    assert(end <= this.#frames.length, 'frames end inside an entry');
    this.#at = end;
    return this.#frames.subarray(start, end);
  }
}
