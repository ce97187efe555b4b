import { beforeEach, describe, expect, it } from '@jest/globals';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import { encodeEntry, entryChain, entryOffset } from '../log/core/entry-codec.js';
import { appendEntryOf } from '../log/core/received-entries.js';
import { LogDamagedError, type Damage } from '../log/log-store.js';
import type { FetchAnswer, FetchRequest } from './core/protocol.js';
import { LogHealing } from './log-healing.js';

const SHARD = 3;
const TAIL = 60;
const NEVER = new AbortController().signal;
const missing = (offset: number): Damage => ({ shard: SHARD, offset, problem: 'missing' });
const crc = (offset: number): Damage => ({ shard: SHARD, offset, problem: 'crc' });

/** The entries of a log; another seed makes another branch from the first on. */
function entriesOf(seed: number): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  let chain: Uint8Array = CHAIN_ZERO;
  for (let offset = 1; offset <= TAIL; offset++) {
    const { bytes } = encodeEntry(
      {
        op: 'UPSERT',
        shard: SHARD,
        epoch: { num: 1, uuid: new Uint8Array(16).fill(1) },
        offset,
        version: { hlc: { ms: 1_000 + offset, counter: 0 }, opId: new Uint8Array(16).fill(seed) },
        collectionId: 1,
        id: `doc-${offset}`,
        payload: new Uint8Array(40).fill(offset),
      },
      chain,
      nodeHasher,
    );
    chain = entryChain(bytes);
    entries.push(bytes);
  }
  return entries;
}

async function storeOf(entries: readonly Uint8Array[]): Promise<MemoryLogStore> {
  const store = await MemoryLogStore.open({ hasher: nodeHasher });
  await store.append({ shard: SHARD, entries: entries.map(appendEntryOf), rows: [] });
  return store;
}

describe('LogHealing', () => {
  const entries = entriesOf(1);
  let store: MemoryLogStore;
  let others: Map<NodeUuid, MemoryLogStore>;
  let asked: (readonly [NodeUuid, FetchRequest])[];
  let healing: LogHealing;

  beforeEach(async () => {
    store = await storeOf(entries);
    others = new Map([['whole', await storeOf(entries)]]);
    asked = [];
    healing = healingOf(store);
  });

  const healingOf = (log: MemoryLogStore): LogHealing =>
    new LogHealing({
      log,
      hasher: nodeHasher,
      sources: () => [...others.keys()],
      fetch: async (node, request): Promise<FetchAnswer> => {
        asked.push([node, request]);
        const other = others.get(node);
        if (other === undefined || node === 'gone') throw new PeerError('REFUSED', 'gone');
        const { from, to, anchor } = request;
        // Two at a time, as if they were large.
        const found = await other.scan(SHARD, from, Math.min(2, to - from + 1), 1_000_000);
        const [at] = anchor === 0 ? [] : await other.scan(SHARD, anchor, 1, 1);
        const anchorChain = at === undefined || entryOffset(at) !== anchor ? CHAIN_ZERO : entryChain(at);
        return { entries: found.filter((entry, i) => entryOffset(entry) === from + i), anchorChain };
      },
    });

  const expectWhole = async (): Promise<void> => {
    expect(await store.scan(SHARD, 1, 1_000, 1_000_000)).toEqual(entries);
    expect((await store.scrub(SHARD, NEVER, 0)).damages).toEqual([]);
  };

  it('fetches what is damaged, and whatever else is found to be before the log is whole', async () => {
    for (const offset of [12, 30, 31, 32, 33, 34, TAIL]) store.flipByte(SHARD, offset, 100);
    expect(await healing.heal(SHARD, [crc(12)], NEVER)).toBe(7);
    await expectWhole();
    expect(asked.map(([, { from, to }]) => [from, to])).toEqual([
      [12, 12],
      [30, 34],
      [32, 34],
      [34, 34],
      [TAIL, TAIL],
    ]);
  });

  it('fetches neighbours together, of which one was known', async () => {
    for (const offset of [12, 13]) store.flipByte(SHARD, offset, 100);
    expect(await healing.heal(SHARD, [crc(12)], NEVER)).toBe(2);
    await expectWhole();
  });

  it('puts no entry back that is gone: what was written with it is gone as well', async () => {
    store.dropEntry(SHARD, 12);
    expect(await healing.heal(SHARD, [missing(12)], NEVER)).toEqual(missing(12));
    expect(asked).toEqual([]);
    store = await storeOf(entries);
    store.flipByte(SHARD, 12, 100);
    for (const offset of [30, 31]) store.dropEntry(SHARD, offset);
    expect(await healingOf(store).heal(SHARD, [crc(12)], NEVER)).toEqual(missing(30));
  });

  it('asks the next one when one is gone, has another branch, or is damaged there itself', async () => {
    const whole = others.get('whole');
    const damaged = await storeOf(entries);
    damaged.dropEntry(SHARD, 12);
    const sources = [
      ['gone', damaged],
      ['branch', await storeOf(entriesOf(2))],
      ['whole', whole],
    ] as const;
    others = new Map(sources.flatMap(([node, other]) => (other === undefined ? [] : [[node, other]])));
    store.flipByte(SHARD, 12, 100);
    expect(await healing.heal(SHARD, [crc(12)], NEVER)).toBe(1);
    expect(asked.map(([node]) => node)).toEqual(['gone', 'branch', 'whole']);
    await expectWhole();
  });

  it('heals a broken link, whichever of the two entries is the wrong one', async () => {
    // Whole in itself, and of another branch.
    const harmed = [...entries];
    harmed[19] = entriesOf(2)[19];
    store = await storeOf(harmed);
    healing = healingOf(store);
    expect((await store.scrub(SHARD, NEVER, 0)).damages.map(({ offset }) => offset)).toEqual([20, 21]);
    expect(await healing.heal(SHARD, [{ shard: SHARD, offset: 21, problem: 'chain' }], NEVER)).toBe(2);
    await expectWhole();
  });

  it('in the part that was compacted, by a replica whose chain is equal behind it', async () => {
    const live = (offset: number): boolean => offset % 5 === 0;
    await store.compact(SHARD, 40, live, NEVER, 0);
    await others.get('whole')?.compact(SHARD, 50, (offset) => offset === 25 || offset > 45, NEVER, 0);
    const branch = await storeOf(entriesOf(2));
    others = new Map([['branch', branch], ...others]);
    const before = await store.scan(SHARD, 1, 1_000, 1_000_000);
    store.flipByte(SHARD, 25, 100);
    expect(await healing.heal(SHARD, [crc(25)], NEVER)).toBe(1);
    expect(await store.scan(SHARD, 1, 1_000, 1_000_000)).toEqual(before);
  });

  it('says what it cannot replace, and leaves it', async () => {
    store.flipByte(SHARD, 12, 100);
    others.clear();
    expect(await healing.heal(SHARD, [crc(12)], NEVER)).toEqual(missing(12));
    others.set('branch', await storeOf(entriesOf(2)));
    expect(await healing.heal(SHARD, [crc(12)], NEVER)).toEqual(missing(12));
    await expect(store.read(SHARD, 12)).rejects.toThrow(LogDamagedError);
    const record = crc(0);
    expect(await healing.heal(SHARD, [record], NEVER)).toEqual(record);
  });

  it('ends when it is told to', async () => {
    const stop = new AbortController();
    stop.abort();
    store.flipByte(SHARD, 12, 100);
    expect(await healing.heal(SHARD, [crc(12)], stop.signal)).toEqual(crc(12));
  });
});
