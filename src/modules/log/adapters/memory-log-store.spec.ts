import { describe, expect, it } from '@jest/globals';
import { EntryWriter, epochOf } from '../../../../test/contract/log-entries.js';
import { utf8 } from '../../../kernel/bytes.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { documentKey, documentPrefix, shardKey } from '../core/keys.js';
import type { LogStore } from '../log-store.js';
import { MemoryLogStore } from './memory-log-store.js';
import { entryChain } from '../core/entry-codec.js';

const NEVER = new AbortController().signal;
const counters = shardKey(1, 'counters');

/** Lets so many writes and syncs pass; the next one never ends. */
class Gate {
  private left = Infinity;
  private passed = 0;
  readonly delay = (): Promise<void> => {
    this.passed++;
    return this.left-- > 0 ? Promise.resolve() : new Promise(() => undefined);
  };

  get count(): number {
    return this.passed;
  }

  allow(writes: number): void {
    this.left = writes;
    this.passed = 0;
  }
}

/**
 * Runs `act` and crashes before its first write, before its second, … until it gets through: `check` is told of what the
 * next process finds, and whether `act` resolved.
 */
async function crashEverywhere(
  prepare: (store: LogStore) => Promise<void>,
  act: (store: LogStore) => Promise<void>,
  check: (store: MemoryLogStore, done: boolean) => Promise<void>,
): Promise<number> {
  for (let writes = 0; ; writes++) {
    for (const kept of [0, 1, 100]) {
      const gate = new Gate();
      const store = await MemoryLogStore.open({ hasher: nodeHasher, delay: gate.delay, fsync: { kind: 'os' } });
      await prepare(store);
      await store.sync();
      gate.allow(writes);
      let done = false;
      const acting = act(store).then(() => (done = true));
      // In memory everything else goes on in microtasks: when they are through, it is done or it waits at the gate.
      await Promise.race([acting, new Promise((resolve) => setImmediate(resolve))]);
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      const reached = gate.count;
      gate.allow(Infinity);
      const next = await store.crash(kept);
      await check(next, done);
      await next.close();
      if (done && kept === 100 && reached <= writes) return writes;
    }
  }
}

describe('MemoryLogStore, killed at any moment', () => {
  it('of a truncation, ends at the old offset or at the new one, with the rows of that moment', async () => {
    const writer = new EntryWriter(1);
    const entries = writer.take(9_000, { payload: new Uint8Array(8) });
    const seen = new Set<number>();
    const steps = await crashEverywhere(
      (store) => store.append({ shard: 1, entries, rows: [{ key: counters, value: utf8('9000') }] }),
      (store) => store.truncate(1, 100, [{ key: counters, value: utf8('100') }]),
      async (store, done) => {
        const { tail } = store.state(1);
        seen.add(tail);
        expect(done ? [100] : [100, 9_000]).toContain(tail);
        expect(store.openDamages()).toEqual([]);
        expect(store.row(counters)).toEqual(utf8(String(tail)));
        expect(await store.scrub(1, NEVER, 0)).toMatchObject({ entries: tail, damages: [] });
        const next = new EntryWriter(1).continueFrom(store.state(1)).reign(epochOf(5));
        await store.append({ shard: 1, entries: next.take(3), rows: [] });
        const again = await store.reopen();
        expect(again.openDamages()).toEqual([]);
        expect(await again.scrub(1, NEVER, 0)).toMatchObject({ entries: tail + 3, damages: [] });
      },
    );
    expect(seen).toEqual(new Set([100, 9_000]));
    // The batch that cuts, three of deletions, syncs, the record.
    expect(steps).toBeGreaterThanOrEqual(5);
  }, 60_000);

  it('of receiving a snapshot, has the old log or the new one', async () => {
    const own = new EntryWriter(1).take(30);
    const primary = new EntryWriter(1, epochOf(2));
    const theirs = primary.take(40, { id: 'theirs' });
    const live = theirs.filter(({ offset }) => offset % 4 === 0);
    const seen = new Set<number>();
    await crashEverywhere(
      (store) =>
        store.append({
          shard: 1,
          entries: own,
          rows: [
            { key: counters, value: utf8('own') },
            { key: documentKey(1, 1, 1, 'own'), value: utf8('own') },
          ],
        }),
      async (store) => {
        const generation = await store.beginStage(1);
        for (const entry of live) {
          const rows = [{ key: documentKey(generation, 1, 1, String(entry.offset)), value: utf8('theirs') }];
          await store.stage(1, { entries: [entry], rows });
        }
        const history = [{ epoch: epochOf(2), start: 1 }];
        await store.flip(1, { offset: 40, chain: entryChain(theirs[39].bytes), history, bytes: 1 }, [
          { key: counters, value: utf8('theirs') },
        ]);
      },
      async (store, done) => {
        const { tail, generation } = store.state(1);
        seen.add(tail);
        expect(done ? [40] : [30, 40]).toContain(tail);
        expect(store.openDamages()).toEqual([]);
        expect(store.row(counters)).toEqual(utf8(tail === 30 ? 'own' : 'theirs'));
        const rows = await store.rows(documentPrefix(generation, 1), undefined, 100);
        expect(rows).toHaveLength(tail === 30 ? 1 : 10);
        expect(await store.scrub(1, NEVER, 0)).toMatchObject({ entries: tail === 30 ? 30 : 10, damages: [] });
        await store.beginStage(1);
        const again = await store.reopen();
        expect(again.state(1).tail).toBe(tail);
        expect(again.openDamages()).toEqual([]);
      },
    );
    expect(seen).toEqual(new Set([30, 40]));
  }, 60_000);
});
