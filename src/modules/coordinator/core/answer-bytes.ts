import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { DocumentView, FieldSelection, PageBound } from './requests.js';
import type { StoredSegments } from './shard-calls.js';

/** A component of a vector as digits. */
const COMPONENT_BYTES = 12;

/**
 * Counts the documents of one answer, which is held whole in memory and written in one turn: nobody else is answered
 * meanwhile.
 */
export class AnswerBytes {
  readonly #fields: FieldSelection;
  #left: number;

  /** @param fields the parts that are answered */
  constructor(fields: FieldSelection, bytesMax: number = LIMITS.answerBytesMax) {
    this.#fields = fields;
    this.#left = bytesMax;
  }

  /** Whether the document fits beside those before; if so it counts. */
  fits(document: StoredSegments): boolean {
    const bytes = bytesOf(document, this.#fields);
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  /** The document, which counts now. @throws NodeError LIMIT_EXCEEDED */
  add<D extends StoredSegments | undefined>(document: D): D {
    if (document === undefined || this.fits(document)) return document;
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `the documents of this answer are larger than ${LIMITS.answerBytesMax} bytes: ask for fewer of them, or without their content and vectors`,
    );
  }
}

/** Documents asked for before the size of any is known, where a page has a bound of its own. */
const FIRST_ASKED = 16;

/** Counts the documents of a page that has a bound of its own beside that of any answer. */
export class PageBytes {
  #bytes = 0;
  #documents = 0;

  constructor(private readonly bound: PageBound | undefined) {}

  /** As many further documents as are likely to fit, by those before; at least one. */
  get likely(): number {
    if (this.bound === undefined) return Infinity;
    if (this.#documents === 0) return FIRST_ASKED;
    const average = this.#bytes / this.#documents;
    return Math.max(1, Math.ceil((this.bound.bytesMax - this.#bytes) / average));
  }

  /** As `AnswerBytes.fits`. */
  fits(document: DocumentView): boolean {
    if (this.bound === undefined) return true;
    const bytes = this.bound.bytesOf(document);
    if (this.#bytes + bytes > this.bound.bytesMax) return false;
    this.#bytes += bytes;
    this.#documents++;
    return true;
  }
}

function bytesOf({ id, title, content, metadata, vector }: StoredSegments, fields: FieldSelection): number {
  let bytes = id.length;
  if (fields.title) bytes += title?.length ?? 0;
  if (fields.content) bytes += content?.length ?? 0;
  if (fields.metadata) bytes += metadata?.length ?? 0;
  if (fields.vector) bytes += COMPONENT_BYTES * (vector?.length ?? 0);
  return bytes;
}
