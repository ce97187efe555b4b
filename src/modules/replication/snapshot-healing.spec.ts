import { beforeEach, describe, expect, it } from '@jest/globals';
import { NO_EPOCH, type Epoch } from '../../kernel/epoch.js';
import { HLC_ZERO } from '../../kernel/version.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { documentKey, shardKey } from '../log/core/keys.js';
import { LogDamagedError } from '../log/log-store.js';
import { decodeRow, looseRows } from '../shard/core/rows.js';
import type { Hello, HelloAnswer } from './core/protocol.js';
import { COUNTERS_ROW, ReplicaLog, rowNameOf, SCRUB_ROW } from './core/replica-log.js';
import { answerHello } from './core/welcome.js';
import type { ReplicaPeers } from './replica-peers.js';
import { NO_REPLICA_PEERS } from './replica-peers-none.js';
import { SnapshotHealing } from './snapshot-healing.js';
import { SnapshotSender } from './snapshot-sender.js';
import { SnapshotSource } from './snapshot-source.js';
import { storedCounters, storedEnd } from './stored-copy.js';
import { ManualTime } from './testing/manual-time.js';

const SHARD = 3;
const PRIMARY = 'b2'.repeat(16);
const NEVER = new AbortController().signal;
const epoch = (num: number): Epoch => ({ num, uuid: new Uint8Array(16).fill(num) });

/** Writes documents as a primary of that epoch does. */
async function write(store: MemoryLogStore, num: number, ids: readonly string[], ms: number): Promise<void> {
  for (const [i, id] of ids.entries()) {
    const log = copyOf(store);
    const [rowKey, rowName] = [log.rowKey(1, id), rowNameOf(1, id)];
    const version = { hlc: { ms: ms + i, counter: 0 }, opId: new Uint8Array(16).fill(num) };
    const what = { op: 'UPSERT', collectionId: 1, id, version } as const;
    const entry = log.append(epoch(num), { ...what, payload: new Uint8Array(20) });
    const rows = log.write(entry, { ...what, rowKey, rowName }, log.row(rowName, store.row(rowKey)));
    await store.append(log.batch([entry], rows));
  }
}

function copyOf(store: MemoryLogStore): ReplicaLog {
  return new ReplicaLog({ shard: SHARD, hasher: nodeHasher, lastHlc: HLC_ZERO, ...storedEnd(store, SHARD) });
}

describe('SnapshotHealing', () => {
  let here: MemoryLogStore;
  let there: MemoryLogStore;
  let time: ManualTime;
  let hellos: Hello[];
  /** What the primary says, when not what it should. */
  let instead: HelloAnswer | 'nothing' | 'ends' | undefined;
  /** How often the disk still has room when it is asked. */
  let roomFor: number;

  beforeEach(async () => {
    time = new ManualTime();
    hellos = [];
    instead = undefined;
    roomFor = Infinity;
    [here, there] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    for (const store of [here, there]) await write(store, 1, ['a', 'b'], 1_000);
    // Each goes on by itself.
    await write(here, 1, ['a', 'mine'], 2_000);
    await write(there, 2, ['a', 'theirs'], 3_000);
    expect(here.tamper(documentKey(1, SHARD, 1, 'b'), 2)).toBe(true);
    expect(here.tamper(shardKey(SHARD, COUNTERS_ROW), 0)).toBe(true);
  });

  const peers = (): ReplicaPeers => ({
    ...NO_REPLICA_PEERS,
    follow: (_to, _shard, events) => {
      let sender: SnapshotSender | undefined;
      return {
        send: (message) => {
          if (message.kind === 'ack') sender?.credit(message.ack.creditBytes);
          if (message.kind !== 'hello') return true;
          hellos.push(message.hello);
          if (instead === 'ends') events.ended(undefined);
          else if (instead === 'nothing') return true;
          else void answer(message.hello);
          return true;
        },
        drained: () => Promise.resolve(),
        close: () => sender?.close(),
      };

      async function answer(hello: Hello): Promise<void> {
        const usual = answerHello(copyOf(there), epoch(2), hello, undefined);
        const source = await SnapshotSource.open(there, nodeHasher, SHARD);
        if (source === undefined || usual.kind !== 'snapshot') throw new Error('a snapshot was to be sent');
        events.message({ kind: 'answer', answer: (instead as HelloAnswer | undefined) ?? { ...usual, at: source.at } });
        const link = {
          send: (message: Parameters<typeof events.message>[0]) => {
            events.message(message);
            return true;
          },
          drained: () => Promise.resolve(),
          close: () => undefined,
        };
        sender = new SnapshotSender(
          link,
          source,
          () => undefined,
          () => undefined,
          () => undefined,
          undefined,
        );
        await sender.run();
      }
    },
  });

  const heal = (): Promise<boolean> =>
    new SnapshotHealing({
      log: here,
      hasher: nodeHasher,
      timers: time,
      peers,
      self: () => ({ node: 'a1'.repeat(16), bootCount: 4 }),
      hasRoom: () => roomFor-- > 0,
    }).heal(SHARD, PRIMARY, NEVER);

  it('makes the copy what its primary has; what only it has is loose', async () => {
    await here.append({
      shard: SHARD,
      entries: [],
      rows: [{ key: shardKey(SHARD, SCRUB_ROW), value: new Uint8Array(1) }],
    });
    here.tamper(shardKey(SHARD, SCRUB_ROW), 0);
    expect(await heal()).toBe(true);
    expect(hellos).toMatchObject([{ damaged: true, lastOffset: 4, bootCount: 4 }]);
    const { generation, tail, chain } = here.state(SHARD);
    expect({ tail, chain }).toEqual({ tail: 4, chain: there.state(SHARD).chain });
    const rowOf = (id: string) => {
      const row = here.row(documentKey(generation, SHARD, 1, id));
      return row === undefined ? undefined : decodeRow(row);
    };
    expect(['a', 'b', 'theirs'].map((id) => rowOf(id)?.loose)).toEqual([false, false, false]);
    expect(rowOf('a')?.version.hlc.ms).toBe(3_000);
    expect(rowOf('mine')).toMatchObject({ loose: true, version: { hlc: { ms: 2_001 } } });
    expect(looseRows(storedCounters(here, SHARD))).toBe(1);
    expect(here.promised(SHARD)).toEqual(epoch(2));
    expect(here.row(shardKey(SHARD, SCRUB_ROW))).toBeUndefined();
    expect(storedEnd(here, SHARD).branches.cut).toEqual([{ epoch: epoch(1), end: 4, fork: 2 }]);
  });

  it('leaves the copy as it is when there is no snapshot to be had', async () => {
    const rejected: HelloAnswer = { kind: 'reject', reason: 'BUSY' };
    for (const each of [rejected, { kind: 'accept', epoch: epoch(2), from: 5 } as const, 'ends' as const]) {
      instead = each;
      expect(await heal()).toBe(false);
    }
    instead = 'nothing';
    const silent = heal();
    const said = hellos.length;
    while (hellos.length === said) await new Promise(setImmediate);
    await time.pass(6_000);
    expect(await silent).toBe(false);
    expect(() => here.row(documentKey(1, SHARD, 1, 'b'))).toThrow(LogDamagedError);
    expect(here.state(SHARD)).toMatchObject({ tail: 4, generation: 1 });
    expect(here.promised(SHARD)).toEqual(epoch(1));
  });

  it('takes nothing, and no more of it, when the disk has no room', async () => {
    roomFor = 0;
    expect(await heal()).toBe(false);
    expect(hellos).toEqual([]);
    roomFor = 1;
    expect(await heal()).toBe(false);
    expect(hellos).toHaveLength(1);
    expect(here.state(SHARD).generation).toBe(1);
  });

  it('takes none of a lower epoch than was promised', async () => {
    await here.append({ shard: SHARD, entries: [], rows: [], promise: epoch(7) });
    expect(await heal()).toBe(false);
    expect(here.state(SHARD).generation).toBe(1);
    expect(here.promised(SHARD)).not.toEqual(NO_EPOCH);
  });
});
