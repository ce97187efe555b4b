import { readU32 } from '../../../kernel/big-endian.js';
import { equalBytes } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { ChainWalk } from '../core/chain-walk.js';
import type { DamageReport } from '../core/chain-walk.js';
import { entryKey, entryKeyOffset, entryPrefix, shardKey } from '../core/keys.js';
import {
  decodeCut,
  decodeGenerations,
  decodeHistory,
  decodePromise,
  decodeStart,
  decodeTail,
  FIRST_GENERATIONS,
  openRow,
  RECORD_NAMES,
} from '../core/log-records.js';
import type { Generations } from '../core/log-records.js';
import { EMPTY_LOG } from '../core/log-state.js';
import type { Damage, LogState, Regression } from '../log-store.js';
import { StorageFailedError } from '../log-store.js';
import type { SideRecord } from './side-memory.js';
import { findState } from './found-state.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table } from './table.js';

/** What is found when a log is opened. */
export interface OpenedLog {
  /** Of a shard that is unusable: as its entries tell. */
  readonly states: ReadonlyMap<number, LogState>;
  /** Damage found in the records and tails; fatal for the shard, not for the node. */
  readonly damages: readonly Damage[];
  /** Shards whose own records are damaged: where their log ends is not known, so nothing may be appended. */
  readonly unusable: ReadonlyMap<number, Damage>;
  /** As recorded; a shard without the record has none here. */
  readonly promises: ReadonlyMap<number, Epoch>;
  readonly generations: ReadonlyMap<number, Generations>;
}

/** What is recorded of one shard. */
export interface ShardRecords {
  readonly state: LogState;
  readonly promise: Epoch | undefined;
  readonly generations: Generations;
  /** Entries above the tail, up to this offset, are what a truncation left. */
  readonly cut: number | undefined;
}

const TAIL_ENTRIES = 256;
const TAIL_BYTES = 1024 * 1024;
/** Entries deleted in one batch: about 2 ms to put together. */
const CUT_KEYS = 4_096;

/**
 * Reads the records of every shard, deletes what an interrupted truncation left, and checks the end of its log: nothing
 * lies beyond the recorded tail, and the last entries are contiguous, whole and end with the recorded chain (replication
 * 2.6).
 */
export async function openLog(table: Table, hasher: Hasher): Promise<OpenedLog> {
  const states = new Map<number, LogState>();
  const damages: Damage[] = [];
  const unusable = new Map<number, Damage>();
  const promises = new Map<number, Epoch>();
  const generations = new Map<number, Generations>();
  try {
    for (const shard of await shardsIn(table)) {
      const records = await readRecords(table, hasher, shard);
      if ('problem' in records) {
        unusable.set(shard, records);
        damages.push(records);
        // A snapshot can heal it, when it is known beside what; and what only this copy has is in its entries.
        const generation = await readRecord(table, hasher, shard, RECORD_NAMES.generation);
        const known = generation === 'absent' ? FIRST_GENERATIONS : decodeGenerations(generation);
        if (known !== undefined) {
          generations.set(shard, known);
          const found = await findState(table, hasher, shard, known.current);
          if (found !== undefined) states.set(shard, found);
        }
        const promise = await readRecord(table, hasher, shard, RECORD_NAMES.promise);
        const promised = promise === 'absent' ? undefined : decodePromise(promise);
        if (promised !== undefined) promises.set(shard, promised);
        continue;
      }
      const { state, promise, cut } = records;
      states.set(shard, state);
      if (promise !== undefined) promises.set(shard, promise);
      generations.set(shard, records.generations);
      if (cut !== undefined) await clearCut(table, shard, state, cut);
      damages.push(...(await checkTail(table, hasher, shard, state)));
    }
  } catch (error) {
    if (!(error instanceof TableReadError)) throw error;
    throw new StorageFailedError(
      `the records of the log cannot be read (${error.message}). Restore the data directory from a backup, or start with an empty one and let another replica fill it.`,
      { cause: error },
    );
  }
  return { states, damages, unusable, promises, generations };
}

/** Logs that end before the offset their side file saw on disk (replication 2.6). */
export function stepsBackwards(opened: OpenedLog, remembered: readonly SideRecord[]): readonly Regression[] {
  return remembered.flatMap(({ shard, tail }) => {
    const found = (opened.states.get(shard) ?? EMPTY_LOG).tail;
    return opened.unusable.has(shard) || found >= tail ? [] : [{ shard, tail: found, remembered: tail }];
  });
}

/** @throws StorageFailedError when there are any */
export function refuseStepsBackwards(steps: readonly Regression[], path: string): void {
  if (steps.length === 0) return;
  const named = steps
    .slice(0, 3)
    .map(({ shard, tail, remembered }) => `shard ${shard} went back from offset ${remembered} to ${tail}`);
  const more = steps.length > 3 ? ` and ${steps.length - 3} more` : '';
  throw new StorageFailedError(
    `${named.join(', ')}${more}: entries that were on this disk are gone. ` +
      `Restore the newest backup of the data directory, or delete ${path} to accept the loss.`,
  );
}

/** Every shard with an entry or a record, found by jumping from one to the next. */
async function shardsIn(table: Table): Promise<readonly number[]> {
  const shards = new Set<number>();
  for (const tag of ['e', 'm'] as const) {
    const family = (tag === 'e' ? entryKey(0, 0) : shardKey(0, '')).subarray(0, 2);
    const to = prefixEnd(family);
    for (let from = family; ;) {
      const [row] = await table.range({ from, to, limit: 1, bytesMax: 1 });
      if (row === undefined || row.key.length < 6) break;
      shards.add(readU32(row.key, 2));
      from = prefixEnd(row.key.subarray(0, 6));
    }
  }
  return [...shards].sort((a, b) => a - b);
}

/** What is recorded of a shard, or what is wrong with its records (offset 0: no entry's). */
export async function readRecords(
  table: Pick<Table, 'get'>,
  hasher: Hasher,
  shard: number,
): Promise<ShardRecords | Damage> {
  const values = new Map<string, Uint8Array | undefined>();
  for (const name of Object.values(RECORD_NAMES)) {
    const key = shardKey(shard, name);
    const sealed = await table.get(key);
    const value = sealed === undefined ? undefined : openRow(key, sealed, hasher);
    if (sealed !== undefined && value === undefined) return { shard, offset: 0, problem: 'crc' };
    values.set(name, value);
  }
  const format: Damage = { shard, offset: 0, problem: 'format' };
  const decoded = <T>(name: string, decode: (bytes: Uint8Array) => T | undefined, absent: T): T | Damage => {
    const value = values.get(name);
    return value === undefined ? absent : (decode(value) ?? format);
  };
  const start = decoded(RECORD_NAMES.start, decodeStart, EMPTY_LOG.start);
  const promise = decoded<Epoch | undefined>(RECORD_NAMES.promise, decodePromise, undefined);
  const cut = decoded<number | undefined>(RECORD_NAMES.cut, decodeCut, undefined);
  const generations = decoded(RECORD_NAMES.generation, decodeGenerations, FIRST_GENERATIONS);
  if (isDamage(start) || isDamage(promise) || isDamage(cut) || isDamage(generations)) return format;
  const rest = { promise, generations, cut };
  const [tail, history] = [values.get(RECORD_NAMES.tail), values.get(RECORD_NAMES.history)];
  if (tail === undefined && history === undefined && !values.get(RECORD_NAMES.start)) {
    return { state: { ...EMPTY_LOG, generation: generations.current }, ...rest };
  }
  if (tail === undefined || history === undefined) return { shard, offset: 0, problem: 'missing' };
  const tailRecord = decodeTail(tail);
  const historyRecord = decodeHistory(history);
  if (tailRecord === undefined || historyRecord === undefined) return format;
  return { state: { ...tailRecord, start, history: historyRecord, generation: generations.current }, ...rest };
}

/** A record's value; empty, which no record is, when it is damaged. */
async function readRecord(
  table: Pick<Table, 'get'>,
  hasher: Hasher,
  shard: number,
  name: string,
): Promise<Uint8Array | 'absent'> {
  const key = shardKey(shard, name);
  const sealed = await table.get(key);
  return sealed === undefined ? 'absent' : (openRow(key, sealed, hasher) ?? new Uint8Array(0));
}

function isDamage(value: unknown): value is Damage {
  return typeof value === 'object' && value !== null && 'problem' in value;
}

/** Goes on where a truncation was interrupted: the entries above the tail, up to `upTo`, were cut off. */
async function clearCut(table: Table, shard: number, { tail, generation }: LogState, upTo: number): Promise<void> {
  for (const keys of entryKeyChunks(shard, generation, tail + 1, upTo)) {
    await table.write(
      keys.map((key) => ({ key, value: undefined })),
      false,
    );
  }
  // The record goes only after all it speaks of.
  await table.sync();
  await table.write([{ key: shardKey(shard, RECORD_NAMES.cut), value: undefined }], true);
}

/** The keys of entries from offset `from` to offset `to`, both inclusive, a batch at a time. */
export function* entryKeyChunks(
  shard: number,
  generation: number,
  from: number,
  to: number,
): Generator<readonly Uint8Array[]> {
  for (let next = from; next <= to; next += CUT_KEYS) {
    const count = Math.min(CUT_KEYS, to - next + 1);
    yield Array.from({ length: count }, (_, i) => entryKey(shard, next + i, generation));
  }
}

async function checkTail(table: Table, hasher: Hasher, shard: number, state: LogState): Promise<readonly Damage[]> {
  const damages: Damage[] = [];
  const report: DamageReport = (offset, problem) => {
    if (damages.length < TAIL_ENTRIES) damages.push({ shard, offset, problem });
    return damages.length < TAIL_ENTRIES;
  };
  const { tail, start, chain, generation } = state;
  try {
    const beyond = { from: keyAfter(entryKey(shard, tail, generation)), to: prefixEnd(entryPrefix(shard, generation)) };
    const [stray] = await table.range({ ...beyond, limit: 1, bytesMax: 1 });
    if (stray !== undefined) report(entryKeyOffset(stray.key), 'misplaced');
    if (tail === start.offset) return damages;
    const last = await table.range({
      from: entryKey(shard, start.offset + 1, generation),
      to: entryKey(shard, tail + 1, generation),
      limit: TAIL_ENTRIES,
      bytesMax: TAIL_BYTES,
      reverse: true,
    });
    const bytes = last.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    const cut = last.length >= TAIL_ENTRIES || bytes >= TAIL_BYTES;
    const from = cut ? entryKeyOffset(last[last.length - 1].key) : start.offset + 1;
    const walk = new ChainWalk(hasher, shard, from, () => start);
    for (const { key, value } of [...last].reverse()) walk.take(entryKeyOffset(key), value, report);
    walk.reach(tail + 1, report);
    if (walk.chain !== undefined && !equalBytes(walk.chain, chain)) report(tail, 'chain');
  } catch (error) {
    if (!(error instanceof TableReadError)) throw error;
    report(tail, 'unreadable');
  }
  return damages;
}
