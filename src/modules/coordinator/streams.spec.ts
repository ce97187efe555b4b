import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import { entryCollectionId, entryId, entryOffset } from '../log/core/entry-codec.js';
import { documentKey } from '../log/core/keys.js';
import { LogDamagedError } from '../log/log-store.js';
import { decodeRow } from '../shard/core/rows.js';
import { decodeCursor } from './core/change-cursor.js';
import { clusterTag, encodePositions } from './core/positions.js';
import type { ChangeView } from './core/requests.js';
import type { EntryPage, ShardAnswer, ShardAsk } from './core/shard-calls.js';
import { MemoryCluster, type ClusterNode } from './testing/memory-cluster.js';

const SHARD = 0;
const options = { collection: 'default', consistency: 'auto' } as const;
const call = { signal: new AbortController().signal };

describe('the change stream of a log that is compacted', () => {
  let cluster: MemoryCluster;
  let node: ClusterNode;
  /** What each document is: its title; not there when it was deleted. */
  const documents = new Map<string, string>();
  let writes = 0;
  let realTime: () => void;

  beforeAll(async () => {
    realTime = turnTime();
    cluster = await MemoryCluster.start(1, 1, exactVectorIndexes, 4);
    [node] = cluster.nodes;
  });
  afterAll(async () => {
    await cluster.stop();
    realTime();
  });
  beforeEach(async () => {
    for (const id of [...documents.keys()]) await remove(id);
  });

  async function put(id: string, content = ''): Promise<void> {
    const title = `${++writes}`;
    await node.documents.ingest({ id, fields: { title, content } }, undefined, options, call);
    documents.set(id, title);
  }

  async function remove(id: string): Promise<void> {
    if (documents.delete(id)) await node.documents.delete(id, undefined, options, call);
  }

  const tail = (): number => node.log.state(SHARD).tail;
  const start = (): number => node.log.state(SHARD).start.offset;

  /** As the upkeep does it. */
  async function compact(upTo: number): Promise<void> {
    const isLive = (offset: number, entry: Uint8Array): boolean => {
      const { generation } = node.log.state(SHARD);
      const row = node.log.row(documentKey(generation, SHARD, entryCollectionId(entry), entryId(entry)));
      return row !== undefined && decodeRow(row).offset === offset;
    };
    await node.log.compact(SHARD, upTo, isLive, call.signal, 0);
  }

  /** The lines after a cursor, of which the reader takes so many before its connection ends. */
  async function read(cursor?: string, atMost = Infinity): Promise<ChangeView[]> {
    const lines: ChangeView[] = [];
    if (atMost === 0) return lines;
    for await (const line of node.streams.changes(cursor, undefined, false, call.signal))
      if (lines.push(line) >= atMost) break;
    return lines;
  }

  function follow(state: Map<string, string>, lines: readonly ChangeView[]): void {
    for (const { op, id, document } of lines)
      if (op === 'upsert') state.set(id, document?.title ?? '');
      else state.delete(id);
  }

  const placeOf = (cursor: string) =>
    decodeCursor(cursor, clusterTag(node.replication.map.current().clusterId))?.places.get(SHARD);

  it('goes on from every cursor of a pass that began with nothing, and stays whole behind it', async () => {
    for (let round = 0; round < 3; round++) for (let i = 0; i < 8; i++) await put(`doc-${i}`);
    await remove('doc-2');
    await compact(tail());
    await put('doc-5');
    const lines = await read();
    for (const [i, { cursor }] of lines.entries()) {
      const rest = await read(cursor);
      expect(rest.map(({ id, version }) => [id, version])).toEqual(
        lines.slice(i + 1).map(({ id, version }) => [id, version]),
      );
      // As do those of the pass that went on.
      for (const line of rest) expect((await read(line.cursor)).length).toBeLessThan(rest.length);
    }
  });

  it('goes on though the log was compacted again, with all that changed ahead, deletes and what was shown before', async () => {
    for (let round = 0; round < 2; round++) for (let i = 0; i < 8; i++) await put(`doc-${i}`);
    await compact(tail());
    const state = new Map<string, string>();
    let cursor: string | undefined;
    // Cut off after every line; each time the log is compacted up to its end before the reader is back.
    for (const change of [() => put('doc-0'), () => remove('doc-1'), () => put('doc-6'), () => remove('doc-7')]) {
      const lines = await read(cursor, 1);
      follow(state, lines);
      cursor = lines[0].cursor;
      await change();
      await compact(tail());
    }
    follow(state, await read(cursor));
    expect(state).toEqual(documents);
  });

  it('refuses a cursor that stands for every write after it, once some of them are gone', async () => {
    await put('a');
    await compact(tail());
    await put('b');
    const { cursor } = (await read()).at(-1) ?? { cursor: '' };
    await put('b');
    await put('b');
    expect(await read(cursor)).toHaveLength(2);
    await compact(tail());
    await expect(read(cursor)).rejects.toMatchObject({ code: 'OFFSET_COMPACTED', extra: { start: start() } });
    // So does one of before there were any that do not.
    const place = { epoch: 0, reign: 0, offset: 1 };
    const { clusterId } = node.replication.map.current();
    const old = encodePositions(new Map([[SHARD, place]]), clusterTag(clusterId));
    await expect(read(old)).rejects.toMatchObject({ code: 'OFFSET_COMPACTED' });
    follow(documents, await read());
  });

  it('gives what was written since a cursor of that moment', async () => {
    await put('doc-1');
    const cursor = await node.streams.latest(call.signal);
    expect(await read(cursor)).toEqual([]);
    await put('doc-2');
    expect((await read(cursor)).map(({ id }) => id)).toEqual(['doc-2']);
  });

  it('goes on for who is overtaken by the compaction while reading, and from the cursors of that', async () => {
    for (let i = 0; i < 4; i++) await put(`doc-${i}`);
    const { cursor } = (await read()).at(-1) ?? { cursor: '' };
    // More than a page.
    for (let round = 0; round < 3; round++) for (let i = 0; i < 4; i++) await put(`doc-${i}`, 'x'.repeat(200_000));
    const lines: ChangeView[] = [];
    for await (const line of node.streams.changes(cursor, undefined, false, call.signal)) {
      // The first page is read.
      if (lines.length === 0) await compact(tail());
      lines.push(line);
    }
    expect(lines.length).toBeLessThan(12);
    const state = new Map<string, string>();
    follow(state, lines);
    expect(state).toEqual(documents);
    const last = lines.at(-3)?.cursor;
    expect(await read(last)).toHaveLength(2);
  });

  it('goes on from cursors of a page that was read while the log was compacted', async () => {
    for (let round = 0; round < 3; round++) for (let i = 0; i < 4; i++) await put(`doc-${i}`);
    const scan = node.log.scan.bind(node.log);
    const scanning = jest.spyOn(node.log, 'scan').mockImplementationOnce(async (...range) => {
      await compact(tail());
      return scan(...range);
    });
    const lines = await read();
    scanning.mockRestore();
    for (const [i, { cursor }] of lines.entries()) expect(await read(cursor)).toHaveLength(lines.length - 1 - i);
  });

  it('ends with what was there when it began, however fast others write', async () => {
    // More than a page.
    for (let i = 0; i < 8; i++) await put(`doc-${i}`, 'x'.repeat(200_000));
    const { cursor } = (await read()).at(-1) ?? { cursor: '' };
    for (let i = 0; i < 8; i++) await put(`doc-${i}`, 'x'.repeat(200_000));
    const there = tail();
    const lines: string[] = [];
    for await (const { id } of node.streams.changes(cursor, undefined, false, call.signal)) {
      lines.push(id);
      if (lines.length > 20) break;
      await put(`new-${lines.length}`);
    }
    expect(lines).toEqual(Array.from({ length: 8 }, (_, i) => `doc-${i}`));
    const offsets: number[] = [];
    for await (const { offset } of node.streams.log(SHARD, there - 7, Infinity, false, call.signal)) {
      offsets.push(offset);
      if (offsets.length > 40) break;
      await put(`newer-${offsets.length}`);
    }
    expect(offsets).toEqual(Array.from({ length: 16 }, (_, i) => there - 7 + i));
    // The reader that is back gets the rest.
    const { cursor: last } = (await read(cursor)).at(-1) ?? { cursor: '' };
    expect(await read(last)).toEqual([]);
  });

  it('has every document that was there, also one whose entry went with a compaction meanwhile', async () => {
    // More than a page.
    for (let i = 0; i < 8; i++) await put(`doc-${i}`, 'x'.repeat(200_000));
    await compact(tail());
    const state = new Map<string, string>();
    for await (const line of node.streams.changes(undefined, undefined, false, call.signal)) {
      if (state.size === 0) {
        await put('doc-7');
        await compact(tail());
      }
      follow(state, [line]);
    }
    expect(state).toEqual(documents);
  });

  it('shows every reader that starts over when it is told to the newest state, and tells none that is passing', async () => {
    const id = fc.nat(5).map((i) => `doc-${i}`);
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ put: id }) },
      { weight: 2, arbitrary: fc.record({ remove: id }) },
      { weight: 2, arbitrary: fc.record({ compact: fc.nat(100) }) },
      { weight: 3, arbitrary: fc.record({ read: fc.nat(4) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const state = new Map<string, string>();
        let cursor: string | undefined;
        let startThen = 0;
        const go = async (atMost?: number): Promise<void> => {
          try {
            const lines = await read(cursor, atMost);
            follow(state, lines);
            if (lines.length === 0) return;
            cursor = lines[lines.length - 1].cursor;
            startThen = start();
          } catch (error) {
            expect(error).toMatchObject({ code: 'OFFSET_COMPACTED' });
            // It had all up to the start behind it, and promised was every write from there on.
            expect(placeOf(cursor ?? '')?.offset).toBeGreaterThanOrEqual(startThen);
            expect(start()).toBeGreaterThan(startThen);
            cursor = undefined;
            state.clear();
            await go(atMost);
          }
        };
        for (const one of steps) {
          if ('put' in one) await put(one.put);
          else if ('remove' in one) await remove(one.remove);
          else if ('compact' in one) await compact(Math.ceil(start() + ((tail() - start()) * one.compact) / 100));
          else await go(one.read);
        }
        await go();
        expect(state).toEqual(documents);
      }),
      { seed: 30, numRuns: 60 },
    );
  });
});

describe('the streams of a shard that no copy can be read of', () => {
  let cluster: MemoryCluster;
  let realTime: () => void;

  beforeAll(async () => {
    realTime = turnTime();
    cluster = await MemoryCluster.start(2, 2, exactVectorIndexes, 4);
    const writing = { collection: 'default', consistency: 'one' } as const;
    for (let i = 0; i < 8; i++)
      await cluster.nodes[0].documents.ingest({ id: `doc-${i}`, fields: { title: 'x' } }, undefined, writing, call);
  });
  afterAll(async () => {
    await cluster.stop();
    realTime();
  });
  afterEach(() => {
    cluster.nodes[1].health = 'well';
  });

  const damage = new LogDamagedError({ shard: 1, offset: 3, problem: 'crc' });

  async function end(lines: AsyncIterable<unknown>): Promise<void> {
    for await (const line of lines) expect(line).toBeDefined();
  }

  function reads({ streams }: ClusterNode): readonly (() => Promise<unknown>)[] {
    return [
      () => end(streams.changes(undefined, undefined, false, call.signal)),
      () => streams.latest(call.signal),
      () => end(streams.log(1, 1, 100, false, call.signal)),
    ];
  }

  it('say that it is out of reach', async () => {
    cluster.nodes[1].vanish();
    for (const read of reads(cluster.nodes[0]))
      await expect(read()).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
  });

  it('say that it is damaged, and where, when the copy is here', async () => {
    const [, node] = cluster.nodes;
    const scanning = jest.spyOn(node.log, 'scan').mockRejectedValue(damage);
    const [changes, latest, log] = reads(node);
    // Found on this read: the routes do not know of it yet.
    for (const read of [changes, log, latest])
      await expect(read()).rejects.toMatchObject({ code: 'LOG_CORRUPT', message: expect.stringMatching(/offset 3/) });
    scanning.mockRestore();
    // And elsewhere, by what the node of the copy answers.
    for (const read of reads(cluster.nodes[0])) await expect(read()).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
  });
});

describe('the streams of a shard whose copies are not equally far', () => {
  const DOCUMENTS = Array.from({ length: 8 }, (_, i) => `doc-${i}`);
  let cluster: MemoryCluster;
  let primary: ClusterNode;
  /** Its own copy is asked first. */
  let reader: ClusterNode;
  /** The offset before the documents. */
  let before: number;
  let realTime: () => void;
  let pageOf: (ask: ShardAsk<'entries'>) => Promise<ShardAnswer<'entries'>>;

  beforeAll(async () => {
    realTime = turnTime();
    cluster = await MemoryCluster.start(2, 1, exactVectorIndexes, 4);
    [primary, reader] = cluster.nodes;
    cluster.followers.set(SHARD, 1);
    before = primary.log.state(SHARD).tail;
    // More than a page.
    for (const id of DOCUMENTS) {
      const fields = { content: 'x'.repeat(200_000) };
      await primary.documents.ingest({ id, fields }, undefined, { ...options, consistency: 'one' }, call);
    }
    const local = primary.local.call.bind(primary.local);
    pageOf = (ask) => local('entries', ask, { timeoutMs: 1_000 });
  });
  afterEach(() => {
    jest.restoreAllMocks();
    primary.health = 'well';
  });
  afterAll(async () => {
    await cluster.stop();
    realTime();
  });

  /** A node has of the primary's log what `reaches` says, by how often it was asked. */
  function reaches({ local }: ClusterNode, end: (asked: number) => number): void {
    let asked = 0;
    jest.spyOn(local, 'call').mockImplementation((async (_: 'entries', ask: ShardAsk<'entries'>) => {
      const tail = end(asked++);
      const reply = await pageOf(ask);
      return reply.refusal === undefined ? { ...reply, value: upTo(tail, reply.value, ask) } : reply;
    }) as typeof local.call);
  }

  /** The page that a log of the same epoch gives which ends at `tail`. */
  function upTo(tail: number, page: EntryPage, { after }: ShardAsk<'entries'>): EntryPage {
    if (tail >= page.tail) return page;
    const entries = page.entries.filter((entry) => entryOffset(entry) <= tail);
    const isBeyond = after.epoch > 0 && after.offset > tail;
    return { ...page, entries, tail, ...(isBeyond ? { fork: tail } : {}) };
  }

  const changes = async (): Promise<ChangeView[]> => {
    const lines: ChangeView[] = [];
    for await (const line of reader.streams.changes(undefined, undefined, false, call.signal)) lines.push(line);
    return lines;
  };
  const log = async (): Promise<number[]> => {
    const offsets: number[] = [];
    for await (const { offset } of reader.streams.log(SHARD, before + 1, Infinity, false, call.signal))
      offsets.push(offset);
    return offsets;
  };
  const all = (): number[] => DOCUMENTS.map((_, i) => before + 1 + i);
  const idsOf = (lines: readonly ChangeView[]): string[] => lines.map(({ id }) => id);
  /** Where a first page ends. */
  const pageEnd = async (): Promise<number> => {
    const after = { epoch: 0, reign: 0, offset: before };
    const { mapEpoch } = reader.routes;
    const reply = await pageOf({ mapEpoch, shard: SHARD, after, limit: 500, bytesMax: 1024 * 1024, waitMs: 0 });
    return entryOffset((reply.refusal === undefined ? reply.value.entries.at(-1) : undefined) ?? new Uint8Array());
  };

  it.each([
    ['less than was read', -2],
    ['what was read', 0],
  ])('go on with the next copy where one has only %s', async (_, less) => {
    const tail = (await pageEnd()) + less;
    reaches(reader, (asked) => (asked === 0 ? Infinity : tail));
    const lines = await changes();
    expect(idsOf(lines)).toEqual(DOCUMENTS);
    expect(lines.filter(({ restarted }) => restarted !== undefined)).toEqual([]);
    reaches(reader, (asked) => (asked === 0 ? Infinity : tail));
    expect(await log()).toEqual(all());
  });

  it('wait for a copy that is behind when no other can be reached', async () => {
    const tail = (await pageEnd()) - 2;
    primary.vanish();
    reaches(reader, (asked) => (asked === 0 || asked > 3 ? Infinity : tail));
    expect(idsOf(await changes())).toEqual(DOCUMENTS);
    reaches(reader, (asked) => (asked === 0 || asked > 3 ? Infinity : tail));
    expect(await log()).toEqual(all());
  });

  it('are no whole ones when the copy stays behind', async () => {
    const tail = (await pageEnd()) - 2;
    primary.vanish();
    for (const read of [changes, log]) {
      reaches(reader, (asked) => (asked === 0 ? Infinity : tail));
      await expect(read()).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    }
  });

  /** Behind the first page the log goes on from `fork` on; it ends at `tail` then, and later where `end` says. */
  function goesBack(fork: number, tail: number, end: number): void {
    let asked = 0;
    const answer = async (_: 'entries', ask: ShardAsk<'entries'>): Promise<ShardAnswer<'entries'>> => {
      const turn = asked++;
      const reply = await pageOf(turn === 1 ? { ...ask, after: { ...ask.after, offset: fork } } : ask);
      if (turn === 0 || reply.refusal !== undefined) return reply;
      const value = upTo(turn === 1 ? tail : end, reply.value, ask);
      return { ...reply, value: turn === 1 ? { ...value, fork } : value };
    };
    for (const { local } of [reader, primary])
      jest.spyOn(local, 'call').mockImplementation(answer as typeof local.call);
  }

  it('go on with a copy that caught up while it answered', async () => {
    const end = await pageEnd();
    goesBack(end - 2, end + 1, Infinity);
    expect([...new Set(idsOf(await changes()))]).toEqual(DOCUMENTS);
    goesBack(end - 2, end + 1, Infinity);
    expect([...new Set(await log())]).toEqual(all());
  });

  it('end where the primary does, when the log is shorter than it was, and say where they went back', async () => {
    const end = await pageEnd();
    const [fork, tail] = [end - 2, end + 1];
    goesBack(fork, tail, tail);
    const lines = await changes();
    const first = DOCUMENTS.slice(0, end - before);
    const branch = DOCUMENTS.slice(fork - before, tail - before);
    expect(idsOf(lines)).toEqual([...first, ...branch]);
    expect(lines[first.length].restarted).toEqual({ shard: SHARD, offset: fork });
    goesBack(fork, tail, tail);
    expect(await log()).toEqual([...all().slice(0, end - before), ...all().slice(fork - before, tail - before)]);
  });
});
