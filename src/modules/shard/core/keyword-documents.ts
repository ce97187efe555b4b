import { assert } from '../../../kernel/assert.js';
import { grown } from './grown.js';
import { ORDINALS_MAX } from './posting-lists.js';

/** In a renumbering: the document was dead. */
export const DEAD = 0xffff_ffff;

/**
 * The documents of a keyword index by *ordinal*: numbered in the order they came, so that posting lists are ascending by
 * merely appending, and never reused, so that a label given to another document brings no old posting back. A removed
 * document only loses its length; `renumber` closes the gaps.
 *
 * Invariants: `lengths[o]` is 0 exactly when o is dead; `documents` and `totalLength` count the living alone.
 */
export class KeywordDocuments {
  /** By ordinal: terms in the text; 0 for the dead. */
  lengths = new Uint32Array(0);
  /** By ordinal. */
  labels = new Uint32Array(0);
  /** By label: ordinal + 1, or 0. */
  #ordinals = new Uint32Array(0);
  /** Ordinals given out, dead ones included. */
  used = 0;
  documents = 0;
  totalLength = 0;

  /** Ordinals of removed documents. */
  get dead(): number {
    return this.used - this.documents;
  }

  get bytes(): number {
    return this.lengths.byteLength + this.labels.byteLength + this.#ordinals.byteLength;
  }

  /** The ordinal of a label's document, or −1. */
  ordinalOf(label: number): number {
    return (this.#ordinals[label] ?? 0) - 1;
  }

  /** A new document; its label must have none. @returns its ordinal */
  add(label: number, length: number): number {
    assert(this.used < ORDINALS_MAX, `a keyword index numbers at most ${ORDINALS_MAX} documents`);
    assert(length > 0, 'a document of the keyword index has terms');
    const ordinal = this.used++;
    this.lengths = grown(this.lengths, this.used);
    this.labels = grown(this.labels, this.used);
    this.#ordinals = grown(this.#ordinals, label + 1);
    this.lengths[ordinal] = length;
    this.labels[ordinal] = label;
    this.#ordinals[label] = ordinal + 1;
    this.documents++;
    this.totalLength += length;
    return ordinal;
  }

  /** Forgets a label's document; false when it has none. */
  remove(label: number): boolean {
    const ordinal = this.ordinalOf(label);
    if (ordinal < 0) return false;
    this.#ordinals[label] = 0;
    this.documents--;
    this.totalLength -= this.lengths[ordinal];
    this.lengths[ordinal] = 0;
    return true;
  }

  /** Numbers the living 0, 1, … in their order. @returns by old ordinal the new one, or DEAD */
  renumber(): Uint32Array {
    const renumbered = new Uint32Array(this.used).fill(DEAD);
    let next = 0;
    for (let ordinal = 0; ordinal < this.used; ordinal++) {
      if (this.lengths[ordinal] === 0) continue;
      renumbered[ordinal] = next;
      this.lengths[next] = this.lengths[ordinal];
      this.labels[next] = this.labels[ordinal];
      this.#ordinals[this.labels[next]] = next + 1;
      next++;
    }
    this.used = next;
    return renumbered;
  }
}
