import { assert } from '../../../kernel/assert.js';
import { applyMapOperation, type MapOperation } from '../../ring/core/map-operations.js';
import type { MapResult } from '../../ring/core/map-result.js';
import type { ClusterMap } from '../../ring/core/map.js';

/** A MAP entry that is in the log and not yet known to be agreed. */
export interface PendingOperation {
  readonly offset: number;
  readonly operation: MapOperation;
}

/**
 * The map as the log of META_SHARD makes it (replication 9.1): strict, so an operation takes effect when the high-water
 * mark passes its entry, and one that is cut off never did. The primary decides new operations on top of all there are.
 */
export class MapState {
  #agreed: ClusterMap | undefined;
  #agreedOffset: number;
  #pending: PendingOperation[];
  /** The agreed map with everything pending on top; recomputed when a pending one is cut off. */
  #tentative: ClusterMap | undefined;

  constructor(agreed: ClusterMap | undefined, agreedOffset: number, pending: readonly PendingOperation[]) {
    this.#agreed = agreed;
    this.#agreedOffset = agreedOffset;
    this.#pending = [...pending];
    this.#tentative = this.#onTop();
  }

  get agreed(): ClusterMap | undefined {
    return this.#agreed;
  }

  /** High-water mark up to which operations took effect. */
  get agreedOffset(): number {
    return this.#agreedOffset;
  }

  get tentative(): ClusterMap | undefined {
    return this.#tentative;
  }

  /** What an operation would make of the map, or why it may not be logged. */
  evaluate(operation: MapOperation): MapResult {
    return applyMapOperation(this.#tentative, operation);
  }

  /** An operation was logged at `offset`, here or by the primary. */
  logged(offset: number, operation: MapOperation): void {
    assert(offset > (this.#pending.at(-1)?.offset ?? this.#agreedOffset), 'operations are logged in order');
    this.#pending.push({ offset, operation });
    const result = applyMapOperation(this.#tentative, operation);
    // A primary of an older version may have logged what this one refuses; every node refuses it alike.
    if (result.kind === 'changed') this.#tentative = result.map;
  }

  /** The log was cut: what was beyond never happened. */
  cut(tail: number): void {
    const before = this.#pending.length;
    this.#pending = this.#pending.filter(({ offset }) => offset <= tail);
    if (this.#pending.length !== before) this.#tentative = this.#onTop();
  }

  /** The log was replaced by a snapshot that ends with `map` at `offset`. */
  replace(map: ClusterMap | undefined, offset: number): void {
    this.#agreed = map;
    this.#agreedOffset = offset;
    this.#pending = [];
    this.#tentative = map;
  }

  /** Everything up to `offset` is agreed; the map if it changed. */
  agree(offset: number): ClusterMap | undefined {
    if (offset <= this.#agreedOffset) return undefined;
    this.#agreedOffset = offset;
    const before = this.#agreed;
    while (this.#pending.length > 0 && this.#pending[0].offset <= offset) {
      const { operation } = this.#pending[0];
      this.#pending.shift();
      const result = applyMapOperation(this.#agreed, operation);
      if (result.kind === 'changed') this.#agreed = result.map;
    }
    return this.#agreed === before ? undefined : this.#agreed;
  }

  #onTop(): ClusterMap | undefined {
    let map = this.#agreed;
    for (const { operation } of this.#pending) {
      const result = applyMapOperation(map, operation);
      if (result.kind === 'changed') map = result.map;
    }
    return map;
  }
}
