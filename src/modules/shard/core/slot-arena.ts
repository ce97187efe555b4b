import { assert } from '../../../kernel/assert.js';

/** Slots of a page: 256 KiB. A block never spans pages, so a page is also the largest block. */
export const PAGE_BITS = 16;
export const PAGE_SLOTS = 1 << PAGE_BITS;
export const PAGE_MASK = PAGE_SLOTS - 1;

/** An address no block has. */
export const NO_BLOCK = 0;

const FIRST_PAGE_SLOTS = 256;

/**
 * Blocks of u32 slots cut from pages, so that a million short lists cost their slots and nothing more (a typed array of
 * its own costs about 200 bytes). The block at address a lies in `pages[a >>> PAGE_BITS]` from `a & PAGE_MASK` on; hot
 * loops read the pages directly. `allocate` may replace the first page, which grows from 1 KiB: take pages afresh after it.
 * Freed blocks are kept by size and used again first. A new block's content is unspecified.
 */
export class SlotArena {
  readonly pages: Uint32Array[] = [new Uint32Array(FIRST_PAGE_SLOTS)];
  /** Next slot never used, in the last page; slot 0 of the first page stays empty so that no block has address 0. */
  #next = 1;
  /** By size: addresses of freed blocks. */
  #free: (number[] | undefined)[] = [];

  /** The address of a block of `slots` (1 … PAGE_SLOTS − 1). */
  allocate(slots: number): number {
    assert(slots > 0 && slots < PAGE_SLOTS, `a block has 1 to ${PAGE_SLOTS - 1} slots, not ${slots}`);
    const reused = this.#free[slots]?.pop();
    if (reused !== undefined) return reused;
    if (this.#next + slots > PAGE_SLOTS) {
      assert(this.pages.length < PAGE_SLOTS, 'an arena has at most 2^32 slots');
      this.pages.push(new Uint32Array(PAGE_SLOTS));
      this.#next = 0;
    } else if (this.#next + slots > this.pages[this.pages.length - 1].length) this.#growFirstPage(this.#next + slots);
    const address = (this.pages.length - 1) * PAGE_SLOTS + this.#next;
    this.#next += slots;
    return address;
  }

  /** Takes back a block of `slots` that `allocate` gave. */
  release(address: number, slots: number): void {
    const freed = this.#free[slots];
    if (freed === undefined) this.#free[slots] = [address];
    else freed.push(address);
  }

  get bytes(): number {
    let slots = 0;
    for (const page of this.pages) slots += page.length;
    return slots * 4;
  }

  #growFirstPage(slots: number): void {
    const page = new Uint32Array(Math.min(PAGE_SLOTS, Math.max(slots, this.pages[0].length * 2)));
    page.set(this.pages[0]);
    this.pages[0] = page;
  }
}
