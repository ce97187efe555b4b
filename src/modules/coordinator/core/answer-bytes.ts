import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { StoredSegments } from './shard-calls.js';

/** A component of a vector as digits. */
const COMPONENT_BYTES = 12;

/**
 * Counts the documents of one answer, which is held whole in memory and written in one turn: nobody else is answered
 * meanwhile.
 */
export class AnswerBytes {
  #left: number;

  constructor(bytesMax: number = LIMITS.answerBytesMax) {
    this.#left = bytesMax;
  }

  /** Whether the document fits beside those before; if so it counts. */
  fits(document: StoredSegments): boolean {
    const bytes = bytesOf(document);
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  /** @throws NodeError LIMIT_EXCEEDED */
  add(document: StoredSegments | undefined): void {
    if (document === undefined || this.fits(document)) return;
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `the documents of this answer are larger than ${LIMITS.answerBytesMax} bytes: ask for fewer of them, or without their content and vectors`,
    );
  }
}

function bytesOf({ id, title, content, metadata, vector }: StoredSegments): number {
  const texts = id.length + (title?.length ?? 0) + (content?.length ?? 0) + (metadata?.length ?? 0);
  return texts + COMPONENT_BYTES * (vector?.length ?? 0);
}
