import { Bitmap } from './bitmap.js';
import type { VectorIndex } from './vector-index.js';
import type { VectorPages } from './vector-pages.js';

/**
 * A graph in the making, beside the one that serves: the live labels are added one a step; labels that come meanwhile
 * queue up behind, labels that die meanwhile are skipped or marked. Once done it holds every live label.
 */
export class GraphRebuild {
  readonly graph: VectorIndex;
  /** Labels in the new graph, dead ones included. */
  readonly labels = new Bitmap();
  readonly #pages: VectorPages;
  readonly #present: Uint32Array;
  readonly #added: number[] = [];
  #at = 0;

  /** @param present the live labels at the start */
  constructor(graph: VectorIndex, pages: VectorPages, present: Uint32Array) {
    this.graph = graph;
    this.#pages = pages;
    this.#present = present;
  }

  get isDone(): boolean {
    return this.#at === this.#present.length + this.#added.length;
  }

  /** Adds one label, or passes over one that died. */
  step(isPresent: (label: number) => boolean): void {
    const at = this.#at++;
    const label = at < this.#present.length ? this.#present[at] : this.#added[at - this.#present.length];
    if (!isPresent(label)) return;
    this.graph.add(label, this.#pages.vector(label), this.#pages.norm(label));
    this.labels.set(label);
  }

  /** A label came to life. */
  add(label: number): void {
    this.#added.push(label);
  }

  /** A label died. */
  remove(label: number): void {
    if (this.labels.has(label)) this.graph.markDead(label);
  }
}
