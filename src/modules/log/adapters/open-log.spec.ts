import { beforeEach, describe, expect, it } from '@jest/globals';
import { EntryWriter, epochOf } from '../../../../test/contract/log-entries.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { entryKey, shardKey } from '../core/keys.js';
import { encodeCut, encodeHistory, encodeStart, encodeTail, FIRST_GENERATIONS, sealRow } from '../core/log-records.js';
import { afterAppend, EMPTY_LOG } from '../core/log-state.js';
import type { LogState } from '../log-store.js';
import { MemoryTable } from './memory-table.js';
import { openLog, refuseStepsBackwards, stepsBackwards } from './open-log.js';
import { entryChain } from '../core/entry-codec.js';

const entries = new EntryWriter(1).take(300);
const whole = afterAppend(EMPTY_LOG, { shard: 1, entries, rows: [] });

let table: MemoryTable;
const put = (key: Uint8Array, value: Uint8Array) => table.write([{ key, value }], true);
const record = (name: string, value: Uint8Array) =>
  put(shardKey(1, name), sealRow(shardKey(1, name), value, nodeHasher));

async function store(state: LogState): Promise<void> {
  for (const { offset, bytes } of entries) await put(entryKey(1, offset), bytes);
  await record('tail', encodeTail(state));
  await record('history', encodeHistory(state.history));
}

describe('openLog', () => {
  beforeEach(() => {
    table = new MemoryTable();
  });

  it('finds the state of every shard', async () => {
    await store(whole);
    expect(await openLog(table, nodeHasher)).toEqual({
      states: new Map([[1, whole]]),
      damages: [],
      unusable: new Map(),
      promises: new Map(),
      generations: new Map([[1, FIRST_GENERATIONS]]),
    });
  });

  it('finds entries beyond the recorded tail', async () => {
    await store(afterAppend(EMPTY_LOG, { shard: 1, entries: entries.slice(0, 298), rows: [] }));
    expect((await openLog(table, nodeHasher)).damages).toEqual([{ shard: 1, offset: 299, problem: 'misplaced' }]);
  });

  it('deletes what an interrupted truncation left beyond the tail', async () => {
    const cut = afterAppend(EMPTY_LOG, { shard: 1, entries: entries.slice(0, 40), rows: [] });
    await store(cut);
    await record('cut', encodeCut(300));
    expect(await openLog(table, nodeHasher)).toMatchObject({ states: new Map([[1, cut]]), damages: [] });
    expect(table.getSync(entryKey(1, 40))).toBeDefined();
    for (let offset = 41; offset <= 300; offset++) expect(table.getSync(entryKey(1, offset))).toBeUndefined();
    expect(table.getSync(shardKey(1, 'cut'))).toBeUndefined();
  });

  it('finds entries without any record', async () => {
    await put(entryKey(7, 3), entries[2].bytes);
    const { damages, states } = await openLog(table, nodeHasher);
    expect(damages).toEqual([{ shard: 7, offset: 3, problem: 'misplaced' }]);
    expect(states.get(7)).toEqual(EMPTY_LOG);
  });

  it('finds a last entry of another log, whole as it may be', async () => {
    await store({ ...whole, chain: entryChain(entries[7].bytes) });
    expect((await openLog(table, nodeHasher)).damages).toEqual([{ shard: 1, offset: 300, problem: 'chain' }]);
  });

  it('finds a broken link among the last entries', async () => {
    await store(whole);
    const other = new EntryWriter(1);
    other.take(199, { id: 'another past' });
    await put(entryKey(1, 200), other.next().bytes);
    expect((await openLog(table, nodeHasher)).damages).toEqual([
      { shard: 1, offset: 200, problem: 'chain' },
      { shard: 1, offset: 201, problem: 'chain' },
    ]);
  });

  it('misses no entry that compaction took', async () => {
    await store(whole);
    await record('start', encodeStart({ offset: 290, chain: entryChain(entries[289].bytes) }));
    for (let offset = 1; offset <= 290; offset++) table.drop(entryKey(1, offset));
    expect((await openLog(table, nodeHasher)).damages).toEqual([]);
    table.drop(entryKey(1, 291));
    expect((await openLog(table, nodeHasher)).damages).toMatchObject([{ offset: 291, problem: 'missing' }]);
  });

  it('refuses records of another shape', async () => {
    await store(whole);
    await record('history', new Uint8Array(5));
    const { damages, unusable } = await openLog(table, nodeHasher);
    expect(damages).toEqual([{ shard: 1, offset: 0, problem: 'format' }]);
    expect([...unusable.keys()]).toEqual([1]);
  });
});

describe('steps backwards', () => {
  const opened = {
    states: new Map([1, 2, 3, 4, 5].map((shard) => [shard, { ...whole, tail: 10, epoch: epochOf(1) }])),
    damages: [],
    unusable: new Map([[9, { shard: 9, offset: 0, problem: 'crc' as const }]]),
    promises: new Map(),
    generations: new Map(),
  };

  it('let a log stay or go on', () => {
    const remembered = [
      { shard: 1, tail: 10 },
      { shard: 2, tail: 9 },
    ];
    expect(stepsBackwards(opened, remembered)).toEqual([]);
    expect(() => refuseStepsBackwards([], '/data/tail.side')).not.toThrow();
  });

  it('leave a shard with damaged records to that damage', () => {
    expect(stepsBackwards(opened, [{ shard: 9, tail: 10 }])).toEqual([]);
  });

  it('are named, the first of them, with what to do', () => {
    const steps = stepsBackwards(
      opened,
      [1, 2, 3, 4, 6].map((shard) => ({ shard, tail: 11 })),
    );
    expect(steps[4]).toEqual({ shard: 6, tail: 0, remembered: 11 });
    expect(() => refuseStepsBackwards(steps, '/data/tail.side')).toThrow(
      'shard 1 went back from offset 11 to 10, shard 2 went back from offset 11 to 10, shard 3 went back from offset 11 to 10 and 2 more: ' +
        'entries that were on this disk are gone. Restore the newest backup of the data directory, or delete /data/tail.side to accept the loss.',
    );
  });
});
