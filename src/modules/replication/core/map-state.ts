import { assert } from '../../../kernel/assert.js';
import { applyMapOperation, type MapOperation } from '../../ring/core/map-operations.js';
import { refused, type MapResult } from '../../ring/core/map-result.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type { AgreedMap } from './map-codec.js';

/** A MAP entry that is in the log and not yet known to be agreed. */
export interface PendingOperation {
  readonly offset: number;
  readonly operation: MapOperation;
}

/**
 * A map and whether it went astray: what was agreed here was cut off, since an operator forced the map to go on from a copy
 * that never had it (5.8). Nothing changes it then but the entry of that force, which holds the whole map.
 */
interface Standing {
  readonly map: ClusterMap | undefined;
  readonly astray: boolean;
}

/**
 * The map as the log of META_SHARD makes it (replication 9.1): strict, so an operation takes effect when the high-water
 * mark passes its entry, and one that is cut off never did. The primary decides new operations on top of all there are.
 */
export class MapState {
  #agreed: Standing;
  #agreedOffset: number;
  /** High-water mark with which the map last changed, as its row has it. */
  #changedOffset: number;
  #pending: PendingOperation[];
  /** What was agreed with everything pending on top; recomputed when something is cut off. */
  #tentative: Standing;

  /** @param stored undefined: nothing was agreed yet */
  constructor(stored: AgreedMap | undefined, pending: readonly PendingOperation[]) {
    this.#agreed = { map: stored?.map, astray: stored?.astray === true };
    this.#agreedOffset = stored?.offset ?? 0;
    this.#changedOffset = this.#agreedOffset;
    this.#pending = [...pending];
    this.#tentative = this.#onTop();
  }

  get agreed(): ClusterMap | undefined {
    return this.#agreed.map;
  }

  /** High-water mark up to which operations took effect. */
  get agreedOffset(): number {
    return this.#agreedOffset;
  }

  get tentative(): ClusterMap | undefined {
    return this.#tentative.map;
  }

  /** The map here is none that this log makes, until a force of it is logged. */
  get astray(): boolean {
    return this.#tentative.astray;
  }

  /** What an operation would make of the map, or why it may not be logged. */
  evaluate(operation: MapOperation): MapResult {
    if (operation.kind === 'forceMap') return refused('OPERATION_CONFLICT', 'the map is forced where its copy is');
    if (this.astray)
      return refused(
        'SHARD_UNAVAILABLE',
        'the map was forced, and no copy with the forced one is left: force it again',
      );
    return applyMapOperation(this.#tentative.map, operation);
  }

  /** An operation was logged at `offset`, here or by the primary. */
  logged(offset: number, operation: MapOperation): void {
    assert(offset > (this.#pending.at(-1)?.offset ?? this.#agreedOffset), 'operations are logged in order');
    this.#pending.push({ offset, operation });
    this.#tentative = after(this.#tentative, operation);
  }

  /** The log was cut: what was beyond never happened. */
  cut(tail: number): void {
    const before = this.#pending.length;
    this.#pending = this.#pending.filter(({ offset }) => offset <= tail);
    this.#agreedOffset = Math.min(this.#agreedOffset, tail);
    if (tail < this.#changedOffset) {
      this.#changedOffset = tail;
      this.#agreed = { map: this.#agreed.map, astray: true };
    } else if (this.#pending.length === before) return;
    this.#tentative = this.#onTop();
  }

  /** Everything up to `offset` is agreed; the map if it changed. */
  agree(offset: number): ClusterMap | undefined {
    if (offset <= this.#agreedOffset) return undefined;
    this.#agreedOffset = offset;
    const { map } = this.#agreed;
    while (this.#pending.length > 0 && this.#pending[0].offset <= offset) {
      this.#agreed = after(this.#agreed, this.#pending[0].operation);
      this.#pending.shift();
    }
    if (this.#agreed.map === map) return undefined;
    this.#changedOffset = offset;
    return this.#agreed.map;
  }

  #onTop(): Standing {
    return this.#pending.reduce((standing, { operation }) => after(standing, operation), this.#agreed);
  }
}

/** A primary of an older version may have logged what this one refuses; every node refuses it alike. */
function after(standing: Standing, operation: MapOperation): Standing {
  if (standing.astray && operation.kind !== 'forceMap') return standing;
  const result = applyMapOperation(standing.map, operation);
  return result.kind === 'changed' ? { map: result.map, astray: false } : standing;
}
