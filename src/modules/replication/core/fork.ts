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

/** As much of a copy's log as the order of branches needs. */
export interface KnownBranch extends Branch {
  readonly lastEpoch: Epoch;
  /** Up to here a majority of the set has had it, as far as the copy knows (replication 4.5); 0 when it knows of nothing. */
  readonly agreed: number;
}

/** Orders what two copies know to be agreed: by its epoch, then by offset. */
export function compareAgreed(a: Omit<KnownBranch, 'lastEpoch'>, b: Omit<KnownBranch, 'lastEpoch'>): number {
  return compareEpochs(epochAt(a.history, a.agreed), epochAt(b.history, b.agreed)) || a.agreed - b.agreed;
}

/** Whether what a copy knows to be agreed is part of this log. */
export function containsAgreed(log: Branch, { history, agreed }: Omit<KnownBranch, 'lastEpoch'>): boolean {
  return forkOf(log, { history, lastOffset: agreed }) === agreed;
}

/**
 * Which of some logs the others are merged into (replication 5.5, 6.2): of those with everything that any of the copies knows
 * to be agreed the one that ends furthest, the first one of equals (docs/adr, what is agreed stays).
 * @param logs at least one
 * @returns its index
 */
export function baseOf(logs: readonly KnownBranch[]): number {
  const agreed = logs.reduce((a, b) => (compareAgreed(b, a) > 0 ? b : a));
  let base: number | undefined;
  for (const [i, log] of logs.entries())
    if (containsAgreed(log, agreed) && (base === undefined || compareEnds(log, logs[base]) > 0)) base = i;
  // Undefined only when that copy's history does not reach back to what it says.
  return base ?? 0;
}

/** A copy's log as its position tells of it. */
export interface ToldBranch {
  readonly lastEpoch: Epoch;
  readonly lastStart: number;
  readonly lastOffset: number;
  readonly agreedEpoch: Epoch;
  readonly agreed: number;
}

/**
 * Whether another copy's log is the better one to go on from than this one's (replication 5.2, 6.2), as far as a position
 * tells: above 0 it is. What one knows to be agreed, and the other lacks for certain, decides; else the ends do.
 */
export function compareTold(told: ToldBranch, own: KnownBranch): number {
  const ownEpoch = epochAt(own.history, own.agreed);
  const order = compareEpochs(told.agreedEpoch, ownEpoch) || told.agreed - own.agreed;
  const isHere = told.agreed <= own.lastOffset && sameEpoch(epochAt(own.history, told.agreed), told.agreedEpoch);
  if (order > 0 && !isHere) return 1;
  // Its last epoch began in another log than this one, and not behind what is agreed here.
  const left = own.history.every(({ epoch }) => !sameEpoch(epoch, told.lastEpoch)) && told.lastStart <= own.agreed;
  if (order < 0 && left) return -1;
  return compareEnds(told, own);
}
