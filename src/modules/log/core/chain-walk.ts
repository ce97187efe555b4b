import type { Hasher } from '../../../kernel/hasher.js';
import type { Damage, LogState } from '../log-store.js';
import { entryChain, verifyEntry } from './entry-codec.js';

/** Takes one finding; false when no more are wanted. */
export type DamageReport = (offset: number, problem: Damage['problem']) => boolean;

/**
 * Walks the entries of one shard in ascending order and checks contiguity, crc, identity and chain (replication 2.2, 2.12).
 * Gaps up to `start.offset` are what compaction leaves; above it every offset must be there. The chain is checked
 * wherever the chain before is known: after a whole entry, and right above `start`.
 */
export class ChainWalk {
  private previous: Uint8Array | undefined;

  constructor(
    private readonly hasher: Hasher,
    private readonly shard: number,
    /** The offset expected next. */
    private next: number,
    /** Asked anew at each step: compaction may move it while the walk is under way. */
    private readonly start: () => LogState['start'],
  ) {}

  /** The offset the walk expects next. */
  get position(): number {
    return this.next;
  }

  /** Chain of the last entry taken, unless it was damaged. */
  get chain(): Uint8Array | undefined {
    return this.previous;
  }

  /** Checks the entry stored at `offset`, not below `position`; true when it and the way to it are whole. */
  take(offset: number, bytes: Uint8Array, report: DamageReport): boolean {
    const contiguous = this.reach(offset, report);
    const start = this.start();
    const prevChain = offset === start.offset + 1 ? start.chain : this.previous;
    const problem = verifyEntry(bytes, this.hasher, { shard: this.shard, offset, prevChain });
    this.next = offset + 1;
    // After a broken link the walk goes on from the entry's own chain, so that one fault is reported once.
    this.previous = problem === undefined || problem === 'chain' ? entryChain(bytes) : undefined;
    if (problem !== undefined) report(offset, problem);
    return contiguous && problem === undefined;
  }

  /** Goes on past an entry that could not be read. */
  skip(offset: number, problem: Damage['problem'], report: DamageReport): void {
    this.reach(offset, report);
    this.next = offset + 1;
    this.previous = undefined;
    report(offset, problem);
  }

  /** Reports what is missing before `offset`; true when nothing is and the entry before it was the last taken. */
  reach(offset: number, report: DamageReport): boolean {
    if (offset <= this.next) return true;
    this.previous = undefined;
    let whole = true;
    for (let missing = Math.max(this.next, this.start().offset + 1); missing < offset; missing++) {
      whole = false;
      if (!report(missing, 'missing')) break;
    }
    this.next = offset;
    return whole;
  }
}
