import { compareEpochs, NO_EPOCH, sameEpoch, type Epoch, type EpochStart } from '../../../kernel/epoch.js';

/** As much of a log as finding a fork needs. */
export interface Branch {
  readonly lastOffset: number;
  readonly history: readonly EpochStart[];
}

/** The epoch that wrote an offset; NO_EPOCH for offset 0. */
export function epochAt(history: readonly EpochStart[], offset: number): Epoch {
  const at = history.findLastIndex(({ start }) => start <= offset);
  return at < 0 ? NO_EPOCH : history[at].epoch;
}

/**
 * The last offset on which both histories agree (replication 6.3): one primary writes in an epoch, so an equal epoch at
 * an offset means equal logs up to it. Chains must be equal there; if not, one copy is damaged.
 */
export function forkOf(a: Branch, b: Branch): number {
  let offset = Math.min(a.lastOffset, b.lastOffset);
  let [i, j] = [a.history.length - 1, b.history.length - 1];
  while (offset > 0) {
    while (i >= 0 && a.history[i].start > offset) i--;
    while (j >= 0 && b.history[j].start > offset) j--;
    if (i < 0 || j < 0) return 0;
    const [left, right] = [a.history[i], b.history[j]];
    if (sameEpoch(left.epoch, right.epoch)) return offset;
    // Epochs ascend in a log: the side with the higher one has nothing of the other's before its start.
    offset = (compareEpochs(left.epoch, right.epoch) > 0 ? left.start : right.start) - 1;
  }
  return 0;
}

/** Whether a log ends further than another one (replication 5.5): by last epoch, then by offset. */
export function compareEnds(
  a: { readonly lastEpoch: Epoch; readonly lastOffset: number },
  b: { readonly lastEpoch: Epoch; readonly lastOffset: number },
): number {
  return compareEpochs(a.lastEpoch, b.lastEpoch) || a.lastOffset - b.lastOffset;
}
