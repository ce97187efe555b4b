import { reignTag, type Epoch } from '../../../kernel/epoch.js';
import type { Out } from './effects.js';
import type { OperationRow } from './operation-row.js';
import type { AckLevel, WriteOutcome } from './write.js';

/** A durable write waits this long for an index that keeps up. */
export const INDEX_WAIT_MS = 2_000;
/** A write that lost its level after it was logged is answered as unknown after this long (replication 2.8). */
export const OUTCOME_WAIT_MS = 5_000;

interface Pending {
  readonly ticket: number;
  readonly offset: number;
  readonly level: AckLevel;
  readonly result: OperationRow;
  readonly proposedMs: number;
  durableAtMs: number | undefined;
}

/** How far the entries of a reign have come. */
export interface Reach {
  /** In the index. */
  readonly applied: number;
  /** A durable write waits this long for the index before it is acknowledged as `indexed: false`. */
  readonly indexWaitMs: number;
  /** Durable copies an offset counts, when they are enough for the level; 0: not yet. */
  copies(offset: number, level: AckLevel): number;
  /** The epoch an offset of the log is in. */
  epoch(offset: number): Epoch;
}

/** Writes that are logged and not answered: each is when it has its copies and is applied, or waited too long (replication 3). */
export class Acknowledgements {
  /** Ascending by offset. */
  #pending: Pending[] = [];

  get count(): number {
    return this.#pending.length;
  }

  /** Since when the oldest one has had its copies, and waits for the index; undefined when it has not. */
  get durableSinceMs(): number | undefined {
    return this.#pending.at(0)?.durableAtMs;
  }

  wait(ticket: number, level: AckLevel, result: OperationRow, nowMs: number): void {
    const { offset } = result;
    const pending: Pending = { ticket, offset, level, result, proposedMs: nowMs, durableAtMs: undefined };
    // A retry of an earlier entry goes before younger ones.
    let at = this.#pending.length;
    while (at > 0 && this.#pending[at - 1].offset > offset) at--;
    if (at === this.#pending.length) this.#pending.push(pending);
    else this.#pending.splice(at, 0, pending);
  }

  /**
   * Answers what has its copies and is applied, or is late for the index; and what waited too long for its copies.
   * @returns the largest offset that is answered and not applied, else 0
   */
  answer(reach: Reach, nowMs: number, out: Out): number {
    if (this.#pending.length === 0) return 0;
    let unindexed = 0;
    const kept: Pending[] = [];
    for (const pending of this.#pending) {
      const { ticket, offset, level, result, proposedMs } = pending;
      const copies = reach.copies(offset, level);
      if (copies > 0) pending.durableAtMs ??= nowMs;
      const indexed = offset <= reach.applied;
      if (copies > 0 && (indexed || nowMs - (pending.durableAtMs ?? nowMs) >= reach.indexWaitMs)) {
        if (!indexed) unindexed = offset;
        out.push({ kind: 'reply', reply: { ticket, outcome: written(result, reach.epoch(offset), copies, indexed) } });
      } else if (nowMs - proposedMs >= OUTCOME_WAIT_MS)
        out.push({ kind: 'reply', reply: { ticket, outcome: unknown('too few copies confirmed it') } });
      else kept.push(pending);
    }
    this.#pending = kept;
    return unindexed;
  }

  /** The reign ends: what was logged and not acknowledged is unknown (2.8). */
  stop(detail: string, out: Out): void {
    for (const { ticket } of this.#pending) out.push({ kind: 'reply', reply: { ticket, outcome: unknown(detail) } });
    this.#pending = [];
  }
}

/** @param at the epoch of the log there: another one than the result's, when that came with a branch that was merged */
function written(result: OperationRow, at: Epoch, copies: number, indexed: boolean): WriteOutcome {
  const { version, epoch, offset, created } = result;
  const reign = at.num === epoch ? reignTag(at) : 0;
  return { kind: 'written', version, epoch, reign, offset, created, durable: copies, indexed };
}

function unknown(detail: string): WriteOutcome {
  return { kind: 'refused', code: 'WRITE_OUTCOME_UNKNOWN', detail: `${detail}; retry with the same idempotency key` };
}
