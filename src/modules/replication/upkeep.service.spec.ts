import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fromUtf8, utf8 } from '../../kernel/bytes.js';
import { NO_EPOCH } from '../../kernel/epoch.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { LinkEvents } from '../../kernel/link.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { entryOffset, entryOp } from '../log/core/entry-codec.js';
import { shardKey } from '../log/core/keys.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import type { FollowerMessage } from './core/protocol.js';
import { SCRUB_ROW } from './core/replica-log.js';
import { rowKey } from './core/snapshot.js';
import { ReplicationService } from './replication.service.js';
import { ManualTime } from './testing/manual-time.js';
import { LONE_NODE } from './testing/lone-node.js';
import { UpkeepService } from './upkeep.service.js';

const KEPT = { copyGraceMs: 600_000, logRetentionBytes: 2 ** 18, logRetentionMs: 3_600_000 };
const LEARNER = 'b2'.repeat(16);
const DEMOTED = 'kept no more for the slowest replica';
const REFUSED = 'a dropped collection could not be purged; it is tried again';
const DAY_MS = 24 * 3_600_000;

describe('UpkeepService', () => {
  const ignore = () => undefined;
  const nothing = () => Promise.resolve();
  const applied = (entries: readonly Uint8Array[]) => Promise.resolve(entryOffset(entries[entries.length - 1]));
  let apply: (entries: readonly Uint8Array[]) => Promise<number>;
  let time: ManualTime;
  let log: MemoryLogStore;
  let service: ReplicationService;
  let upkeep: UpkeepService;
  let said: string[];
  let checkpoint: number;

  beforeEach(async () => {
    time = new ManualTime();
    log = await MemoryLogStore.open({ hasher: nodeHasher });
    said = [];
    checkpoint = 0;
    apply = applied;
    const say = (_: object, message: string): void => void said.push(message);
    const logger = { info: say, warn: say, error: say };
    service = new ReplicationService(LONE_NODE, {
      log,
      hasher: nodeHasher,
      clock: time,
      timers: time,
      random: { bytes: (length) => new Uint8Array(length).fill(7) },
      shards: {
        open: () => Promise.resolve({ replayed: 0, fromCheckpoint: false, offset: 0 }),
        dropShard: nothing,
        defineCollections: nothing,
        apply: (_, entries) => apply(entries),
        rewind: nothing,
        markFaulted: ignore,
      },
      logger,
      events: { streamed: ignore, copy: ignore },
    });
    await service.identify();
    await passing(service.openMap(true));
    await passing(service.found('c1'.repeat(16), 'node-1:7701'));
    await passing(service.openShards());
    upkeep = new UpkeepService(KEPT, service, { oldestLoadableCheckpoint: () => checkpoint }, log, time, logger);
  });
  afterEach(async () => {
    service.stop();
    await log.close();
  });

  /** What comes of something while time passes. */
  async function passing<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const end = (): void => void (done = true);
    void work.then(end, end);
    while (!done) await time.pass(10);
    return work;
  }

  it('reads the whole log every day, also when the clock was ahead when it was last read', async () => {
    const key = shardKey(META_SHARD, SCRUB_ROW);
    /** Whether it is read when that was done last at a time of the wall clock; and when it was, as is noted then. */
    async function scrubbedAfter(lastMs: number | undefined): Promise<[boolean, number]> {
      const value = lastMs === undefined ? undefined : utf8(String(lastMs));
      await log.append({ shard: META_SHARD, entries: [], rows: [{ key, value }] });
      said = [];
      await upkeep.round();
      return [said.includes('log scrubbed'), Number(fromUtf8(log.row(key) ?? new Uint8Array(0)))];
    }
    const now = time.wallMs();
    // The first time it counts from now on.
    expect(await scrubbedAfter(undefined)).toEqual([false, now]);
    expect(await scrubbedAfter(now - DAY_MS + 1)).toEqual([false, now - DAY_MS + 1]);
    expect(await scrubbedAfter(now - DAY_MS)).toEqual([true, now]);
    expect(await scrubbedAfter(now)).toEqual([false, now]);
    expect(await scrubbedAfter(now + 3_650 * DAY_MS)).toEqual([true, now]);
  });

  it('has the end of a dropped collection logged once its shard takes it, and once only', async () => {
    const [{ similarity, hnsw }] = service.map.current().collections;
    await passing(service.map.change({ kind: 'putCollection', name: 'words', similarity, hnsw }));
    const collectionId = service.map.current().collections.find(({ name }) => name === 'words')?.id ?? 0;
    const onTheWay: (() => void)[] = [];
    apply = (entries) => new Promise((resolve) => onTheWay.push(() => resolve(applied(entries))));
    const payload = encodeDocument({ content: 'text' });
    const written = service.write(0, { op: 'UPSERT', collectionId, id: 'a', payload, level: 'one' });
    // Its index is late by now: the shard refuses.
    await time.pass(1_500);
    await passing(service.map.change({ kind: 'dropCollection', name: 'words' }));
    await time.pass(0);
    const purges = () => [
      service.counters(0).collections.has(collectionId) ? 'to be purged' : 'purged',
      ...said.filter((message) => message === REFUSED),
    ];
    expect(purges()).toEqual(['to be purged', REFUSED]);
    // Refused again, which is not told again.
    await passing(upkeep.round());
    expect(purges()).toEqual(['to be purged', REFUSED]);
    expect(service.row(0, collectionId, 'a')).toBeDefined();

    apply = applied;
    for (const done of onTheWay) done();
    await passing(written);
    // The map may change in the same moment.
    service.purgeDropped();
    await passing(upkeep.round());
    expect(purges()).toEqual(['purged', REFUSED]);
    await passing(upkeep.round());
    expect(service.row(0, collectionId, 'a')).toBeUndefined();
    const entries = await log.scan(0, 1, 100, 2 ** 20);
    expect(entries.map(entryOp).filter((op) => op === 'COLLECTION_PURGE')).toHaveLength(1);
  });

  describe('of a log that is over its budget for good', () => {
    const end = { lastOffset: 0, lastEpoch: NO_EPOCH, chain: new Uint8Array(16), history: [], start: 0, agreed: 0 };
    const hello = { ...end, shard: 0, nodeUuid: LEARNER, bootCount: 1, mapEpoch: 0, promised: NO_EPOCH, loose: 0 };
    const payload = encodeDocument({ content: 'text '.repeat(50_000) });
    const demotions = (): number => said.filter((message) => message.includes(DEMOTED)).length;
    /** What the learner was sent: kinds of messages, and of answers. */
    let sent: string[];
    beforeEach(() => {
      sent = [];
    });

    /** All that is superseded is in the checkpoints. */
    async function overwrite(): Promise<void> {
      for (let i = 0; i < 10; i++)
        await passing(service.write(0, { op: 'UPSERT', collectionId: 1, id: 'a', payload, level: 'one' }));
      checkpoint = log.state(0).tail;
      await passing(upkeep.round());
    }

    function follow(): LinkEvents<FollowerMessage> | undefined {
      const drained = () => Promise.resolve();
      return service.replica(0)?.onFollow(LEARNER, {
        send: (message) => sent.push(message.kind === 'answer' ? message.answer.kind : message.kind) > 0,
        drained,
        close: ignore,
      });
    }

    it('demotes nobody for a snapshot that is on its way, nor whoever got it before that had its time', async () => {
      await overwrite();
      const { tail, chain, history, start } = log.state(0);
      expect(start.offset).toBe(tail);
      const stream = follow();
      stream?.message({ kind: 'hello', hello });
      await time.pass(100);
      expect(sent).toEqual(['snapshot']);
      for (let i = 0; i < 4; i++) {
        await overwrite();
        await time.pass(10_000);
      }
      expect([log.state(0).start.offset, demotions()]).toEqual([tail, 0]);

      // It goes on where the snapshot ends.
      stream?.ended(undefined);
      follow()?.message({ kind: 'hello', hello: { ...hello, lastOffset: tail, chain, history } });
      await time.pass(100);
      expect(sent.slice(0, 2)).toEqual(['snapshot', 'accept']);
      await overwrite();
      await time.pass(9_000);
      await overwrite();
      expect([log.state(0).start.offset, demotions()]).toEqual([tail, 0]);
      await time.pass(2_000);
      await overwrite();
      expect(demotions()).toBe(1);
      expect(log.state(0).start.offset).toBe(log.state(0).tail);
    });

    it.each([
      ['keeps what follows a snapshot whose stream breaks again and again, while it gets on', true],
      ['keeps it for a minute where nothing of that is staged', false],
    ])('%s', async (_, stages) => {
      await overwrite();
      const { tail, chain } = log.state(0);
      const partial = { offset: tail, chain, after: rowKey(0, 1, 'a') };
      async function attempt(): Promise<void> {
        const stream = follow();
        const ack = { durableOffset: 0, appliedOffset: 0, chain: new Uint8Array(16), creditBytes: 2 ** 20 };
        stream?.message({ kind: 'hello', hello: { ...hello, partial } });
        await time.pass(100);
        stream?.message({ kind: 'ack', ack });
        await time.pass(100);
        if (stages) stream?.message({ kind: 'ack', ack });
        stream?.ended(undefined);
        await time.pass(9_800);
      }
      for (let i = 0; i < 5; i++) {
        await attempt();
        await overwrite();
      }
      expect([sent.at(0), sent.at(-1), log.state(0).start.offset]).toEqual(['snapshot', 'chunk', tail]);
      for (let i = 0; i < 3; i++) {
        await attempt();
        await overwrite();
      }
      expect(log.state(0).start.offset > tail).toBe(!stages);
    });
  });
});
