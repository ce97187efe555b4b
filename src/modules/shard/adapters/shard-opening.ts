import { equalBytes, fromHex } from '../../../kernel/bytes.js';
import { entryChain, entryCollectionId, entryId, entryOffset, entryOp } from '../../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { documentKey } from '../../log/core/keys.js';
import { LogDamagedError, OffsetCompactedError, type LogStore } from '../../log/log-store.js';
import type { CheckpointRef } from '../core/index-host.js';
import { IndexThreadError } from '../core/index-messages.js';
import { decodeRow } from '../core/rows.js';
import type { CheckpointStore } from './checkpoint-store.js';

/** Entries and bytes read from the log at once during a replay. */
const SCAN_ENTRIES = 2_000;
const SCAN_BYTES = 1024 * 1024;
/** Bytes read ahead of the index during a replay: it never waits for the log, and memory stays constant. */
const AHEAD_BYTES_MAX = 4 * SCAN_BYTES;

export type LogReader = Pick<LogStore, 'scan' | 'read' | 'row' | 'state'>;

/** The chain of a log at an offset, or undefined when the log cannot tell any more. */
export async function chainAt(log: LogReader, shard: number, offset: number): Promise<Uint8Array | undefined> {
  const { tail, chain, start } = log.state(shard);
  if (offset === tail) return chain;
  if (offset === 0) return CHAIN_ZERO;
  if (offset > tail || offset < start.offset) return undefined;
  if (offset === start.offset) return start.chain;
  try {
    return entryChain(await log.read(shard, offset));
  } catch (error) {
    if (error instanceof OffsetCompactedError || error instanceof LogDamagedError) return undefined;
    throw error;
  }
}

/** Whether a checkpoint is of this log: not ahead of it, and with the same chain at its offset. */
export async function isOfLog(log: LogReader, { manifest }: CheckpointRef): Promise<boolean> {
  const chain = await chainAt(log, manifest.shard, manifest.offset);
  const expected = fromHex(manifest.chain);
  return chain !== undefined && expected !== undefined && equalBytes(chain, expected);
}

/**
 * Opens the newest checkpoint that is whole and of this log, through `open`; without one, an empty shard. Checkpoints
 * that cannot be used are removed: they would only be tried again.
 * @returns the checkpoints that are kept, the opened one first
 */
export async function openNewest(
  store: CheckpointStore,
  log: LogReader,
  shard: number,
  open: (checkpoint: CheckpointRef | undefined) => Promise<unknown>,
  report: (message: string, details: object) => void,
): Promise<CheckpointRef[]> {
  const candidates = await store.list(shard);
  while (candidates.length > 0) {
    const [candidate] = candidates;
    const problem = await problemWith(candidate, log, open);
    if (problem === undefined) return candidates;
    report('an index checkpoint cannot be used and is removed', { shard, offset: candidate.manifest.offset, problem });
    await store.remove(candidate.directory);
    candidates.shift();
  }
  await open(undefined);
  return [];
}

async function problemWith(
  candidate: CheckpointRef,
  log: LogReader,
  open: (checkpoint: CheckpointRef) => Promise<unknown>,
): Promise<string | undefined> {
  if (!(await isOfLog(log, candidate))) return 'the log has another history at its offset';
  try {
    await open(candidate);
    return undefined;
  } catch (error) {
    if (error instanceof IndexThreadError && error.reason === 'CHECKPOINT_DAMAGED') return error.message;
    throw error;
  }
}

/** The next entries of the log, as many as are read at once. @throws LogDamagedError */
export function scanOn(log: Pick<LogReader, 'scan'>, shard: number, from: number): Promise<readonly Uint8Array[]> {
  return log.scan(shard, from, SCAN_ENTRIES, SCAN_BYTES);
}

/**
 * Feeds the log from offset `from` on, up to `upTo` or to its tail when it gets there, to `apply`, in order, a few
 * batches ahead of it; it is told about how much is still to come.
 * @returns entries fed
 */
export async function replay(
  log: Pick<LogReader, 'scan' | 'state'>,
  shard: number,
  from: number,
  upTo: number | undefined,
  apply: (entries: readonly Uint8Array[], behindBytes: number) => Promise<void>,
): Promise<number> {
  let replayed = 0;
  let next = from;
  let aheadBytes = 0;
  let failure: { readonly error: unknown } | undefined;
  const ahead = new Set<Promise<void>>();
  while (failure === undefined && next <= Math.min(upTo ?? Infinity, log.state(shard).tail)) {
    const read = await scanOn(log, shard, next);
    const entries = upTo === undefined ? read : read.filter((entry) => entryOffset(entry) <= upTo);
    if (entries.length === 0) break;
    next = entryOffset(entries[entries.length - 1]) + 1;
    replayed += entries.length;
    let bytes = 0;
    for (const entry of entries) bytes += entry.length;
    aheadBytes += bytes;
    const left = Math.min(upTo ?? Infinity, log.state(shard).tail) + 1 - next;
    const applied = apply(entries, (left * bytes) / entries.length)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => {
        aheadBytes -= bytes;
        ahead.delete(applied);
      });
    ahead.add(applied);
    while (aheadBytes >= AHEAD_BYTES_MAX) await Promise.race(ahead);
  }
  await Promise.all(ahead);
  if (failure !== undefined) throw failure.error;
  return replayed;
}

/**
 * The entries of a replay without those that it supersedes further on: a document is put in once, not put in, taken out and
 * put in again, which takes an index several times as long.
 * @param upTo where the replay ends; undefined: at the tail of the log
 */
export function withoutSuperseded(
  log: Pick<LogReader, 'row' | 'state'>,
  shard: number,
  upTo: number | undefined,
  entries: readonly Uint8Array[],
): readonly Uint8Array[] {
  const { tail, generation } = log.state(shard);
  const end = Math.min(upTo ?? Infinity, tail);
  return entries.filter((entry) => {
    const op = entryOp(entry);
    if (op !== 'UPSERT' && op !== 'DELETE') return true;
    const stored = rowOrDamage(log, documentKey(generation, shard, entryCollectionId(entry), entryId(entry)));
    const row = stored === undefined ? undefined : decodeRow(stored);
    return row === undefined || row.loose || row.offset <= entryOffset(entry) || row.offset > end;
  });
}

/** A damaged row says nothing here; whoever needs it meets the damage. */
function rowOrDamage(log: Pick<LogReader, 'row'>, key: Uint8Array): Uint8Array | undefined {
  try {
    return log.row(key);
  } catch (error) {
    if (error instanceof LogDamagedError) return undefined;
    throw error;
  }
}
