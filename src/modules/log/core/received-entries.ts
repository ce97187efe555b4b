import { compareEpochs, type Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { AppendEntry } from '../log-store.js';
import { entryChainInto, entryEpoch, entryOffset, isOfEpoch, verifyEntry, type EntryProblem } from './entry-codec.js';

/** The end of the log that received entries must continue. */
export interface ReceivedAfter {
  readonly offset: number;
  readonly chain: Uint8Array;
  readonly epoch: Epoch;
}

/** What is wrong with received entries, and with which. */
export interface ReceivedProblem {
  readonly offset: number;
  /** `epoch`: one of a lower epoch than the entry before it. */
  readonly problem: EntryProblem | 'epoch';
}

/** A verified entry as `append` takes it; the bytes stay what they are. */
export function appendEntryOf(bytes: Uint8Array): AppendEntry {
  return { offset: entryOffset(bytes), epoch: entryEpoch(bytes), bytes };
}

/**
 * Whether entries from another replica continue this log: dense offsets, crc, chain, epochs that never go back (replication
 * 4.3). Undefined when they do; otherwise the first fault, and none of them must be appended.
 */
export function verifyEntries(
  hasher: Hasher,
  shard: number,
  after: ReceivedAfter,
  entries: readonly Uint8Array[],
): ReceivedProblem | undefined {
  let { offset, epoch } = after;
  const prevChain = new Uint8Array(after.chain);
  for (const bytes of entries) {
    offset++;
    const problem = verifyEntry(bytes, hasher, { shard, offset, prevChain });
    if (problem !== undefined) return { offset, problem };
    if (!isOfEpoch(bytes, epoch)) {
      const next = entryEpoch(bytes);
      if (compareEpochs(next, epoch) < 0) return { offset, problem: 'epoch' };
      epoch = next;
    }
    entryChainInto(bytes, prevChain);
  }
  return undefined;
}
