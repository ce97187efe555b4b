import { grown } from './grown.js';
import { ChunkWriter, FIRST_CHUNK, PostingCursor, chunkAfter } from './posting-chunks.js';
import type { PostingChains } from './posting-chunks.js';
import { NO_BLOCK, PAGE_BITS, PAGE_MASK, SlotArena } from './slot-arena.js';

/** A posting is one u32: ordinal × 64 + frequency, the frequency 63 meaning "63 or more, see the side table". */
export const FREQUENCY_BITS = 6;
export const FREQUENCY_MASK = (1 << FREQUENCY_BITS) - 1;
/** Ordinals fit the bits that are left: 67 million documents of one collection in one shard. */
export const ORDINALS_MAX = 2 ** (32 - FREQUENCY_BITS);

const LENGTH_SATURATED = 0xffff;

/**
 * Lists of postings (ordinal, frequency), each ascending by ordinal, in an arena. A list is a chain of chunks of 4, 8, …
 * 1 024, 1 024 … slots, the first slot holding the address of the next chunk: appending never copies, a word that occurs
 * once costs 16 bytes, and a reader skips 1 023 postings by looking at a chunk's last one.
 *
 * Per list also what bounds a score from above: the greatest frequency and the least text length ever appended. After
 * `rewrite` dropped postings they may be looser than needed, never too tight.
 */
export class PostingLists implements PostingChains {
  readonly #arena = new SlotArena();
  #heads = new Uint32Array(0);
  #tails = new Uint32Array(0);
  #counts = new Uint32Array(0);
  /** Slots left in the last chunk. */
  #rooms = new Uint16Array(0);
  /** Slots of the last chunk. */
  #sizes = new Uint16Array(0);
  #frequencyMax = new Uint8Array(0);
  #lengthMin = new Uint16Array(0);
  /** Frequencies of 63 and more, by list × ORDINALS_MAX + ordinal. */
  readonly #large = new Map<number, number>();
  #postings = 0;
  readonly #cursor = new PostingCursor(this);

  /** Postings in all lists, dropped ones excluded. */
  get postings(): number {
    return this.#postings;
  }

  get bytes(): number {
    return this.#arena.bytes + this.#heads.length * 19 + this.#large.size * 48;
  }

  get pages(): readonly Uint32Array[] {
    return this.#arena.pages;
  }

  count(list: number): number {
    return this.#counts[list];
  }

  head(list: number): number {
    return this.#heads[list];
  }

  /** At least the greatest frequency in the list; Infinity when it may be 63 or more. */
  frequencyMax(list: number): number {
    return this.#frequencyMax[list] === FREQUENCY_MASK ? Infinity : this.#frequencyMax[list];
  }

  /** At most the length of the shortest text in the list. */
  lengthMin(list: number): number {
    return this.#lengthMin[list];
  }

  /** Frequency of a posting whose own bits say 63. */
  largeFrequency(list: number, ordinal: number): number {
    return this.#large.get(list * ORDINALS_MAX + ordinal) ?? FREQUENCY_MASK;
  }

  /** Makes `list` exist, empty; lists are numbered densely by the caller. */
  create(list: number): void {
    this.#heads = grown(this.#heads, list + 1);
    this.#tails = grown(this.#tails, list + 1);
    this.#counts = grown(this.#counts, list + 1);
    this.#rooms = grown(this.#rooms, list + 1);
    this.#sizes = grown(this.#sizes, list + 1);
    this.#frequencyMax = grown(this.#frequencyMax, list + 1);
    this.#lengthMin = grown(this.#lengthMin, list + 1);
    this.#heads[list] = this.#tails[list] = NO_BLOCK;
    this.#counts[list] = this.#rooms[list] = this.#sizes[list] = this.#frequencyMax[list] = 0;
    this.#lengthMin[list] = LENGTH_SATURATED;
  }

  /** Appends a posting; `ordinal` is greater than all in the list, `length` that of the document's text. */
  append(list: number, ordinal: number, frequency: number, length: number): void {
    if (this.#rooms[list] === 0) this.#extend(list);
    const tail = this.#tails[list];
    const small = Math.min(frequency, FREQUENCY_MASK);
    this.#arena.pages[tail >>> PAGE_BITS][(tail & PAGE_MASK) + this.#sizes[list] - this.#rooms[list]] =
      ordinal * (FREQUENCY_MASK + 1) + small;
    this.#rooms[list]--;
    this.#counts[list]++;
    this.#postings++;
    if (small > this.#frequencyMax[list]) this.#frequencyMax[list] = small;
    if (length < this.#lengthMin[list]) this.#lengthMin[list] = length;
    if (small === FREQUENCY_MASK) this.#large.set(list * ORDINALS_MAX + ordinal, frequency);
  }

  /**
   * Fills an empty list with postings as they are in memory.
   * @param frequencyMax of the postings' own bits
   * @param lengthMin of the documents' texts
   */
  load(list: number, postings: Uint32Array, frequencyMax: number, lengthMin: number): void {
    for (let at = 0; at < postings.length;) {
      this.#extend(list);
      const chunk = this.#tails[list];
      const page = this.#arena.pages[chunk >>> PAGE_BITS];
      const from = (chunk & PAGE_MASK) + 1;
      const taken = Math.min(this.#rooms[list], postings.length - at);
      for (let i = 0; i < taken; i++) page[from + i] = postings[at + i];
      this.#rooms[list] -= taken;
      at += taken;
    }
    this.#counts[list] = postings.length;
    this.#postings += postings.length;
    this.#frequencyMax[list] = frequencyMax;
    this.#lengthMin[list] = Math.min(lengthMin, LENGTH_SATURATED);
  }

  /** The frequency of a loaded posting whose own bits say 63. */
  loadLarge(list: number, ordinal: number, frequency: number): void {
    this.#large.set(list * ORDINALS_MAX + ordinal, frequency);
  }

  /**
   * Passes every ordinal of the list through `translate` and drops those it answers with a negative number. It must keep
   * the order and never answer more than it was given.
   */
  rewrite(list: number, translate: (ordinal: number) => number): void {
    const count = this.#counts[list];
    if (count === 0) return;
    const write = new ChunkWriter(this.#arena.pages, this.#heads[list]);
    const cursor = this.#cursor.open(list);
    while (cursor.next()) {
      const { page, to } = cursor;
      for (let i = cursor.from; i < to; i++) {
        const posting = page[i];
        const old = posting >>> FREQUENCY_BITS;
        const ordinal = translate(old);
        const frequency = posting & FREQUENCY_MASK;
        if (frequency === FREQUENCY_MASK && ordinal !== old) this.#moveLarge(list, old, ordinal);
        if (ordinal >= 0) write.put(ordinal * (FREQUENCY_MASK + 1) + frequency);
      }
    }
    if (write.count < count) this.#truncate(list, write);
  }

  /** The frequencies of `n` ordinals (ascending) in the list, 0 where it lacks one, into `into`. */
  frequencies(list: number, ordinals: Uint32Array, n: number, into: Uint32Array): void {
    const cursor = this.#cursor.open(list);
    let more = cursor.next();
    let low = cursor.from;
    for (let i = 0; i < n; i++) {
      const ordinal = ordinals[i];
      const target = ordinal * (FREQUENCY_MASK + 1);
      while (more && cursor.page[cursor.to - 1] < target) {
        more = cursor.next();
        low = cursor.from;
      }
      if (!more) {
        into.fill(0, i, n);
        return;
      }
      const page = cursor.page;
      // Steps of 1, 2, 4 … and then by halves: near ones are found at once, far ones in logarithmic time.
      let high = low;
      for (let step = 1; page[high] < target; step *= 2) {
        low = high + 1;
        high = Math.min(high + step, cursor.to - 1);
      }
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (page[middle] < target) low = middle + 1;
        else high = middle;
      }
      const posting = page[low];
      const frequency = posting >>> FREQUENCY_BITS === ordinal ? posting & FREQUENCY_MASK : 0;
      into[i] = frequency === FREQUENCY_MASK ? this.largeFrequency(list, ordinal) : frequency;
    }
  }

  /** Adds an empty chunk to the chain. */
  #extend(list: number): void {
    const size = this.#heads[list] === NO_BLOCK ? FIRST_CHUNK : chunkAfter(this.#sizes[list]);
    const chunk = this.#arena.allocate(size);
    const pages = this.#arena.pages;
    pages[chunk >>> PAGE_BITS][chunk & PAGE_MASK] = NO_BLOCK;
    if (this.#heads[list] === NO_BLOCK) this.#heads[list] = chunk;
    else pages[this.#tails[list] >>> PAGE_BITS][this.#tails[list] & PAGE_MASK] = chunk;
    this.#tails[list] = chunk;
    this.#sizes[list] = size;
    this.#rooms[list] = size - 1;
  }

  /** Ends the list where `write` stopped and gives back the chunks after it. */
  #truncate(list: number, write: ChunkWriter): void {
    const pages = this.#arena.pages;
    this.#postings -= this.#counts[list] - write.count;
    this.#counts[list] = write.count;
    let chunk = this.#heads[list];
    let size = FIRST_CHUNK;
    if (write.count > 0) {
      const at = write.chunk & PAGE_MASK;
      const page = pages[write.chunk >>> PAGE_BITS];
      chunk = page[at];
      page[at] = NO_BLOCK;
      this.#tails[list] = write.chunk;
      this.#sizes[list] = write.size;
      this.#rooms[list] = write.size - 1 - write.filled;
      size = chunkAfter(write.size);
    } else this.create(list);
    while (chunk !== NO_BLOCK) {
      const next = pages[chunk >>> PAGE_BITS][chunk & PAGE_MASK];
      this.#arena.release(chunk, size);
      chunk = next;
      size = chunkAfter(size);
    }
  }

  #moveLarge(list: number, from: number, to: number): void {
    const frequency = this.largeFrequency(list, from);
    this.#large.delete(list * ORDINALS_MAX + from);
    if (to >= 0) this.#large.set(list * ORDINALS_MAX + to, frequency);
  }
}
