import { fromHex, fromUtf8, toHex, utf8 } from '../../../kernel/bytes.js';
import { NO_EPOCH, reignTag, sameEpoch, UUID_BYTES, type Epoch, type EpochStart } from '../../../kernel/epoch.js';
import type { Branch } from './fork.js';

/** An epoch of another branch, as far as that went in it, and where it left the log this is said of (replication 6.3, 6.4). */
export interface BranchEpoch {
  readonly epoch: Epoch;
  /** The last offset of the branch in this epoch. */
  readonly end: number;
  /** The last offset both logs have in common; 0 when it is not known. */
  readonly fork: number;
}

/** An epoch of a branch that is part of the log, and the offset of the MERGED that says so (7.2). */
export interface MergedEpoch extends BranchEpoch {
  readonly offset: number;
}

/**
 * What a copy keeps of branches, as one record of the shard: a session that wrote on one is met by the log the branch was
 * merged into, and a MERGED speaks of all that was cut off. Losing the oldest of either means that a session of long ago
 * is not met, and a stream restarts further back: never more.
 */
export interface BranchRecord {
  /** Said by the MERGED entries of the log, in their order. */
  readonly merged: readonly MergedEpoch[];
  /** Cut off from this copy, or from one it merged with, and not known to be merged yet. */
  readonly cut: readonly BranchEpoch[];
}

export const NO_BRANCHES: BranchRecord = { merged: [], cut: [] };
/** Epochs in one MERGED, and cut off from a copy: the newest. */
export const BRANCH_EPOCHS_MAX = 64;
/** Merged epochs that are remembered: the newest. */
export const MERGED_EPOCHS_MAX = 256;

/** The epochs in which a log goes beyond `fork`. */
export function branchBeyond({ history, lastOffset }: Branch, fork: number): readonly BranchEpoch[] {
  const ends = history.map(({ epoch }, i) => ({ epoch, end: endOf(history, i, lastOffset), fork }));
  return ends.filter(({ end }) => end > fork);
}

/** Those that are part of neither the log nor what was merged into it. */
export function missingIn(
  { merged }: Pick<BranchRecord, 'merged'>,
  log: Branch,
  branch: readonly BranchEpoch[],
): readonly BranchEpoch[] {
  return branch.filter(
    ({ epoch, end }) =>
      !merged.some((known) => known.end >= end && sameEpoch(known.epoch, epoch)) &&
      !log.history.some((reign, i) => endOf(log.history, i, log.lastOffset) >= end && sameEpoch(reign.epoch, epoch)),
  );
}

/** The record after a MERGED at `offset` of the log, which goes up to it. */
export function afterMerged(
  { merged, cut }: BranchRecord,
  log: Branch,
  branch: readonly BranchEpoch[],
  offset: number,
): BranchRecord {
  const more = missingIn({ merged }, log, branch).map((epoch) => ({ ...epoch, offset }));
  const all = [...merged, ...more].slice(-MERGED_EPOCHS_MAX);
  return { merged: all, cut: missingIn({ merged: all }, log, cut) };
}

/** The record after the log, which went as far as `log` says, was cut behind `fork`: all beyond is a branch now, and what was merged into it. */
export function afterCut({ merged, cut }: BranchRecord, log: Branch, fork: number): BranchRecord {
  const lost = merged.filter(({ offset }) => offset > fork);
  const kept = merged.filter(({ offset }) => offset <= fork);
  return { merged: kept, cut: union([...cut, ...lost], branchBeyond(log, fork), fork) };
}

/** The record after another log took the place of this one, `fork` being the last offset they have in common (4.7). */
export function afterReplaced(
  record: BranchRecord,
  log: Branch,
  fork: number,
  other: Branch & Pick<BranchRecord, 'merged'>,
): BranchRecord {
  const { cut } = afterCut(record, log, fork);
  const merged = other.merged.slice(-MERGED_EPOCHS_MAX);
  return { merged, cut: missingIn({ merged }, other, cut) };
}

/** A position as a session and a cursor hold it (7.2). */
export interface LogPosition {
  /** Number of the epoch. */
  readonly epoch: number;
  /** `reignTag` of the epoch: two sides may reign under one number (1.2); 0: not known, that of any. */
  readonly reign: number;
  readonly offset: number;
}

/** Up to which offset a log must be applied to contain the position: its own, or that of the MERGED; undefined when it does not contain it. */
export function offsetOfPosition(
  log: Branch,
  merged: readonly MergedEpoch[],
  position: LogPosition,
): number | undefined {
  return isIn(log, position) ? position.offset : mergedWith(merged, position)?.offset;
}

/**
 * Where the branch of a reader left the log, or undefined when the log itself has what it read (6.3, 7.2). Of an epoch the
 * log has too it is the end of that here; of a merged one, what MERGED says. A later one than any here may be of this very
 * log, which only is behind: all of it counts as common, as what is not will be cut off and logged anew elsewhere. Of any
 * other one the fork is not known: no offset is certain to be common, and the reader starts over.
 */
export function forkOfPosition(log: Branch, merged: readonly MergedEpoch[], position: LogPosition): number | undefined {
  if (position.offset === 0 || position.epoch === 0 || isIn(log, position)) return undefined;
  const { history, lastOffset } = log;
  const own = history.findIndex(({ epoch, start }) => isEpochOf(epoch, position) && start <= position.offset);
  if (own >= 0) return Math.min(position.offset, endOf(history, own, lastOffset));
  const known = mergedWith(merged, position);
  if (known !== undefined) return Math.min(known.fork, lastOffset);
  const last = history.at(-1)?.epoch ?? NO_EPOCH;
  const isAhead = (position.epoch - last.num || position.reign - reignTag(last)) > 0;
  return isAhead ? Math.min(position.offset, lastOffset) : 0;
}

/** The payload of a MERGED entry: JSON, so that an operator can read the log. */
export function encodeBranch(branch: readonly BranchEpoch[]): Uint8Array {
  return utf8(JSON.stringify(branch.map(plain)));
}

/** Empty when the bytes are none: who wrote them must not be able to stop whoever reads them. An older one names no fork. */
export function decodeBranch(payload: Uint8Array): readonly BranchEpoch[] {
  return epochsOf(parsed(payload)).slice(-BRANCH_EPOCHS_MAX).map(withoutOffset);
}

export function encodeBranches({ merged, cut }: BranchRecord): Uint8Array {
  return utf8(
    JSON.stringify({ merged: merged.map((epoch) => ({ ...plain(epoch), offset: epoch.offset })), cut: cut.map(plain) }),
  );
}

export function decodeBranches(value: Uint8Array | undefined): BranchRecord {
  const record =
    value === undefined ? undefined : (parsed(value) as Partial<Record<keyof BranchRecord, unknown>> | null);
  if (record === undefined || record === null) return NO_BRANCHES;
  const merged = epochsOf(record.merged).flatMap(({ offset, ...epoch }) =>
    offset === 0 ? [] : [{ ...epoch, offset }],
  );
  return { merged, cut: epochsOf(record.cut).map(withoutOffset) };
}

/** One of each epoch: as far as any of them goes, and common with the log as far as all of them are. */
function union(before: readonly BranchEpoch[], now: readonly BranchEpoch[], fork: number): readonly BranchEpoch[] {
  const all: BranchEpoch[] = [];
  for (const { epoch, end, fork: earlier } of [...before, ...now]) {
    const at = all.findIndex((known) => sameEpoch(known.epoch, epoch));
    const known = at < 0 ? { end: 0, fork } : all.splice(at, 1)[0];
    all.push({ epoch, end: Math.max(known.end, end), fork: Math.min(known.fork, earlier, fork) });
  }
  return all.slice(-BRANCH_EPOCHS_MAX);
}

function isIn({ history, lastOffset }: Branch, position: LogPosition): boolean {
  const at = history.findLastIndex(({ start }) => start <= position.offset);
  return at >= 0 && isEpochOf(history[at].epoch, position) && position.offset <= lastOffset;
}

function mergedWith(merged: readonly MergedEpoch[], position: LogPosition): MergedEpoch | undefined {
  return merged.find(({ epoch, end }) => isEpochOf(epoch, position) && end >= position.offset);
}

function isEpochOf(epoch: Epoch, position: LogPosition): boolean {
  return epoch.num === position.epoch && (position.reign === 0 || position.reign === reignTag(epoch));
}

function endOf(history: readonly EpochStart[], i: number, lastOffset: number): number {
  return i + 1 < history.length ? history[i + 1].start - 1 : lastOffset;
}

function plain({ epoch, end, fork }: BranchEpoch): object {
  return { num: epoch.num, uuid: toHex(epoch.uuid), end, fork };
}

function withoutOffset({ epoch, end, fork }: MergedEpoch): BranchEpoch {
  return { epoch, end, fork };
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    return undefined;
  }
}

function epochsOf(value: unknown): readonly MergedEpoch[] {
  return Array.isArray(value) ? value.flatMap(epochOf) : [];
}

function epochOf(value: unknown): readonly MergedEpoch[] {
  if (typeof value !== 'object' || value === null) return [];
  const { num, uuid, end, fork = 0, offset = 0 } = value as Record<string, unknown>;
  const bytes = typeof uuid === 'string' ? fromHex(uuid) : undefined;
  if (bytes?.length !== UUID_BYTES || !isCount(num) || !isCount(end) || !isCount(fork) || !isCount(offset)) return [];
  return [{ epoch: { num, uuid: bytes }, end, fork, offset }];
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
