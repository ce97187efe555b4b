import { grown } from './grown.js';
import { DEAD } from './keyword-documents.js';
import type { KeywordDocuments } from './keyword-documents.js';
import type { PostingLists } from './posting-lists.js';
import type { TermDictionary } from './term-dictionary.js';

/** Dead documents are gathered until there are this many and a fifth of all ordinals: then everything is renumbered. */
const DEAD_MIN = 1_024;
const DEAD_SHARE = 0.2;
/** A sweep takes this share of the changes after which the next may begin: it ends well before. */
const SWEEP_SHARE = 0.05;
/** Postings and lists settled in one step of `compact`: a millisecond or two. */
const COMPACT_STEP = 50_000;

/**
 * Takes dead documents out of posting lists, a little at a time.
 *
 * Removing a document touches no list. A list is *settled* before it is read: postings of the dead are dropped and, when
 * documents were renumbered since, ordinals translated; then its count is the term's document frequency, exactly. When
 * enough documents are dead, the living are renumbered, and a sweep settles all lists, some with every change, so that no
 * single call pays for all. A sweep ends before the next renumbering: a list is at most one renumbering behind.
 */
export class PostingUpkeep {
  readonly #terms: TermDictionary;
  readonly #lists: PostingLists;
  readonly #documents: KeywordDocuments;
  /** Counts removals and renumberings: a list stamped with it is settled. */
  #changes = 1;
  /** By list: `#changes` when it was settled; 0 never is. */
  #stamps = new Uint32Array(0);
  /** Parity of renumberings, and by list the parity its ordinals are in. */
  #parity = 0;
  #parities = new Uint8Array(0);
  /** While sweeping: old ordinal → new one. */
  #renumbered: Uint32Array | undefined;
  #swept = 0;
  /** Postings and lists to settle with each change. */
  #budget = 0;

  constructor(terms: TermDictionary, lists: PostingLists, documents: KeywordDocuments) {
    this.#terms = terms;
    this.#lists = lists;
    this.#documents = documents;
  }

  get bytes(): number {
    return this.#stamps.byteLength + this.#parities.byteLength + (this.#renumbered?.byteLength ?? 0);
  }

  /** A new, empty list: settled. */
  created(list: number): void {
    this.#stamps = grown(this.#stamps, list + 1);
    this.#parities = grown(this.#parities, list + 1);
    this.#stamps[list] = this.#changes;
    this.#parities[list] = this.#parity;
  }

  /** Makes the list ready to be read. */
  settle(list: number): void {
    if (this.#stamps[list] !== this.#changes) this.#settle(list);
  }

  /** Makes the list ready to be appended to, which the dead in it do not hinder. */
  readyToAppend(list: number): void {
    if (this.#parities[list] !== this.#parity) this.#settle(list);
  }

  /** To be called after each document added. */
  added(): void {
    if (this.#renumbered !== undefined) this.#sweep(this.#budget);
  }

  /** To be called after each document removed. */
  removed(): void {
    this.#change();
    if (this.#renumbered !== undefined) this.#sweep(this.#budget);
    const { dead, used } = this.#documents;
    if (dead >= DEAD_MIN && dead >= used * DEAD_SHARE) this.#renumber();
  }

  /** Drops everything dead, in steps: then lists hold the living alone, numbered without gaps. Nothing may be added or removed meanwhile. */
  *compact(): Generator<void> {
    yield* this.#sweepToTheEnd();
    if (this.#documents.dead === 0) return;
    this.#renumber();
    yield* this.#sweepToTheEnd();
  }

  *#sweepToTheEnd(): Generator<void> {
    while (this.#renumbered !== undefined) {
      this.#sweep(COMPACT_STEP);
      yield;
    }
  }

  #renumber(): void {
    this.#sweep(Infinity);
    this.#renumbered = this.#documents.renumber();
    this.#parity ^= 1;
    this.#swept = 0;
    this.#change();
    const work = this.#lists.postings + this.#terms.end;
    this.#budget = Math.ceil(work / Math.max(this.#documents.used * SWEEP_SHARE, DEAD_MIN / 2));
  }

  /** Settles lists worth `budget` postings; forgets terms nobody has. */
  #sweep(budget: number): void {
    if (this.#renumbered === undefined) return;
    let left = budget;
    while (this.#swept < this.#terms.end && left > 0) {
      const list = this.#swept++;
      if (this.#terms.name(list) === undefined) continue;
      left -= this.#lists.count(list) + 1;
      this.settle(list);
      if (this.#lists.count(list) === 0) this.#terms.release(list);
    }
    if (this.#swept === this.#terms.end) this.#renumbered = undefined;
  }

  #settle(list: number): void {
    const lengths = this.#documents.lengths;
    const renumbered = this.#parities[list] === this.#parity ? undefined : this.#renumbered;
    if (renumbered === undefined) this.#lists.rewrite(list, (ordinal) => (lengths[ordinal] === 0 ? -1 : ordinal));
    else {
      this.#lists.rewrite(list, (ordinal) => {
        const next = renumbered[ordinal];
        return next === DEAD || lengths[next] === 0 ? -1 : next;
      });
    }
    this.#stamps[list] = this.#changes;
    this.#parities[list] = this.#parity;
  }

  #change(): void {
    this.#changes++;
    if (this.#changes <= 0xffff_ffff) return;
    // The stamps have 32 bits: start over with none settled.
    this.#changes = 1;
    this.#stamps.fill(0);
  }
}
