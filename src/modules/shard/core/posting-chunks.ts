import { assert } from '../../../kernel/assert.js';
import { NO_BLOCK, PAGE_BITS, PAGE_MASK } from './slot-arena.js';

/** Slots of a list's first chunk, its link included. */
export const FIRST_CHUNK = 4;
const LAST_CHUNK = 1_024;
const EMPTY_PAGE = new Uint32Array(0);

/** Slots of the chunk after one of `size`. */
export function chunkAfter(size: number): number {
  return Math.min(size * 2, LAST_CHUNK);
}

/** Where the chunks of lists are. */
export interface PostingChains {
  readonly pages: readonly Uint32Array[];
  /** Address of a list's first chunk. */
  head(list: number): number;
  /** Postings in a list. */
  count(list: number): number;
}

/** Reads a list chunk by chunk: after `next()` answered true, its postings are `page[from]` … `page[to − 1]`. */
export class PostingCursor {
  page: Uint32Array = EMPTY_PAGE;
  from = 0;
  to = 0;
  readonly #chains: PostingChains;
  #chunk = NO_BLOCK;
  #size = FIRST_CHUNK;
  #left = 0;

  constructor(chains: PostingChains) {
    this.#chains = chains;
  }

  /** Goes before the first chunk of `list`. */
  open(list: number): this {
    this.#chunk = this.#chains.head(list);
    this.#size = FIRST_CHUNK;
    this.#left = this.#chains.count(list);
    this.from = this.to = 0;
    return this;
  }

  next(): boolean {
    if (this.#left === 0) return false;
    assert(this.#chunk !== NO_BLOCK, 'a posting list has as many chunks as its count needs');
    const at = this.#chunk & PAGE_MASK;
    const taken = Math.min(this.#left, this.#size - 1);
    this.page = this.#chains.pages[this.#chunk >>> PAGE_BITS];
    this.from = at + 1;
    this.to = this.from + taken;
    this.#left -= taken;
    this.#chunk = this.page[at];
    this.#size = chunkAfter(this.#size);
    return true;
  }
}

/** Writes postings over a chain from its head on; never past what was read. */
export class ChunkWriter {
  readonly #pages: readonly Uint32Array[];
  /** The chunk written last and the postings in it. */
  chunk: number;
  size = FIRST_CHUNK;
  filled = 0;
  count = 0;

  constructor(pages: readonly Uint32Array[], head: number) {
    this.#pages = pages;
    this.chunk = head;
  }

  put(posting: number): void {
    let page = this.#pages[this.chunk >>> PAGE_BITS];
    if (this.filled === this.size - 1) {
      this.chunk = page[this.chunk & PAGE_MASK];
      page = this.#pages[this.chunk >>> PAGE_BITS];
      this.size = chunkAfter(this.size);
      this.filled = 0;
    }
    this.filled++;
    page[(this.chunk & PAGE_MASK) + this.filled] = posting;
    this.count++;
  }
}
