import { equalBytes } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { ChainWalk } from '../core/chain-walk.js';
import type { DamageReport } from '../core/chain-walk.js';
import { entryKey, entryKeyOffset, shardKey } from '../core/keys.js';
import { decodeHistory, decodeStart, decodeTail, openRow, RECORD_NAMES } from '../core/log-records.js';
import { EMPTY_LOG } from '../core/log-state.js';
import type { Damage, LogState } from '../log-store.js';
import { StorageFailedError } from '../log-store.js';
import type { SideRecord } from './side-file.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table } from './table.js';

/** What is found when a log is opened. */
export interface OpenedLog {
  readonly states: ReadonlyMap<number, LogState>;
  /** Damage found in the records and tails; fatal for the shard, not for the node. */
  readonly damages: readonly Damage[];
  /** Shards whose own records are damaged: where their log ends is not known, so nothing may be appended. */
  readonly unusable: ReadonlyMap<number, Damage>;
}

const TAIL_ENTRIES = 256;
const TAIL_BYTES = 1024 * 1024;

/**
 * Reads the records of every shard and checks the end of its log: nothing lies beyond the recorded tail, and the last
 * entries are contiguous, whole and end with the recorded chain (replication 2.6).
 */
export async function openLog(table: Table, hasher: Hasher): Promise<OpenedLog> {
  const states = new Map<number, LogState>();
  const damages: Damage[] = [];
  const unusable = new Map<number, Damage>();
  try {
    for (const shard of await shardsIn(table)) {
      const state = await readRecords(table, hasher, shard);
      if ('problem' in state) {
        unusable.set(shard, state);
        damages.push(state);
        continue;
      }
      states.set(shard, state);
      damages.push(...(await checkTail(table, hasher, shard, state)));
    }
  } catch (error) {
    if (!(error instanceof TableReadError)) throw error;
    throw new StorageFailedError(
      `the records of the log cannot be read (${error.message}). Restore the data directory from a backup, or start with an empty one and let another replica fill it.`,
      { cause: error },
    );
  }
  return { states, damages, unusable };
}

/**
 * @throws StorageFailedError when a log ends before the offset its side file saw on disk (replication 2.6)
 */
export function refuseStepsBackwards(opened: OpenedLog, remembered: readonly SideRecord[], path: string): void {
  const steps = remembered
    .filter(({ shard, tail }) => !opened.unusable.has(shard) && (opened.states.get(shard) ?? EMPTY_LOG).tail < tail)
    .map(
      ({ shard, tail }) =>
        `shard ${shard} went back from offset ${tail} to ${(opened.states.get(shard) ?? EMPTY_LOG).tail}`,
    );
  if (steps.length === 0) return;
  const more = steps.length > 3 ? ` and ${steps.length - 3} more` : '';
  throw new StorageFailedError(
    `${steps.slice(0, 3).join(', ')}${more}: entries that were on this disk are gone. ` +
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
      shards.add(new DataView(row.key.buffer, row.key.byteOffset).getUint32(2));
      from = prefixEnd(row.key.subarray(0, 6));
    }
  }
  return [...shards].sort((a, b) => a - b);
}

/** The state of a shard as recorded, or what is wrong with its records (offset 0: no entry's). */
async function readRecords(table: Table, hasher: Hasher, shard: number): Promise<LogState | Damage> {
  const values = new Map<string, Uint8Array | 'absent' | 'damaged'>();
  for (const name of Object.values(RECORD_NAMES)) {
    const key = shardKey(shard, name);
    const sealed = await table.get(key);
    values.set(name, sealed === undefined ? 'absent' : (openRow(key, sealed, hasher) ?? 'damaged'));
  }
  const [tail, start, history] = [RECORD_NAMES.tail, RECORD_NAMES.start, RECORD_NAMES.history].map((name) =>
    values.get(name),
  );
  if (tail === 'damaged' || start === 'damaged' || history === 'damaged') return { shard, offset: 0, problem: 'crc' };
  if (tail === 'absent' && start === 'absent' && history === 'absent') return EMPTY_LOG;
  if (!(tail instanceof Uint8Array) || !(history instanceof Uint8Array))
    return { shard, offset: 0, problem: 'missing' };
  const tailRecord = decodeTail(tail);
  const historyRecord = decodeHistory(history);
  const startRecord = start instanceof Uint8Array ? decodeStart(start) : EMPTY_LOG.start;
  if (tailRecord === undefined || historyRecord === undefined || startRecord === undefined) {
    return { shard, offset: 0, problem: 'format' };
  }
  return { ...tailRecord, start: startRecord, history: historyRecord };
}

async function checkTail(table: Table, hasher: Hasher, shard: number, state: LogState): Promise<readonly Damage[]> {
  const damages: Damage[] = [];
  const report: DamageReport = (offset, problem) => {
    if (damages.length < TAIL_ENTRIES) damages.push({ shard, offset, problem });
    return damages.length < TAIL_ENTRIES;
  };
  const { tail, start, chain } = state;
  try {
    const beyond = { from: keyAfter(entryKey(shard, tail)), to: prefixEnd(entryKey(shard, 0).subarray(0, 6)) };
    const [stray] = await table.range({ ...beyond, limit: 1, bytesMax: 1 });
    if (stray !== undefined) report(entryKeyOffset(stray.key), 'misplaced');
    if (tail === start.offset) return damages;
    const last = await table.range({
      from: entryKey(shard, start.offset + 1),
      to: entryKey(shard, tail + 1),
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
