/** Something that happens at a moment of virtual time. */
export interface Happening {
  /** Microseconds since the world began. */
  readonly atUs: number;
  /** Order among happenings of one moment: drawn by the seed for each process, so that processes race. */
  readonly rank: number;
  /** Order of asking: within one process and moment nothing overtakes. */
  readonly sequence: number;
}

/** A heap of happenings, the next one first. */
export class EventQueue<H extends Happening> {
  readonly #heap: H[] = [];

  get size(): number {
    return this.#heap.length;
  }

  peek(): H | undefined {
    return this.#heap[0];
  }

  push(item: H): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = item;
  }

  pop(): H | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(a: Happening, b: Happening): boolean {
  if (a.atUs !== b.atUs) return a.atUs < b.atUs;
  if (a.rank !== b.rank) return a.rank < b.rank;
  return a.sequence < b.sequence;
}
