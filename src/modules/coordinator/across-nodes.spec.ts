import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { turnTime } from '../../../test/contract/turn-time.js';
import { Clusters } from '../../../test/contract/vector-index.suite.js';
import { NodeError } from '../../kernel/errors.js';
import type { CallContext, SearchRequest } from './core/requests.js';
import { encodeScrollCursor } from './core/scroll-cursor.js';
import { SHARD_CALL_WIRE } from './core/shard-call-wire.js';
import { encodeWire } from '../../kernel/wire.js';
import { ShardReplica } from '../replication/shard-replica.js';
import { MemoryCluster } from './testing/memory-cluster.js';
import { Writer } from './writer.js';

const DIMENSIONS = 4;
const DOCUMENTS = 120;
const WORDS = ['red', 'green', 'blue', 'old', 'new', 'fast'];
const call = (extra: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, ...extra });
const options = { collection: 'default', consistency: 'auto' } as const;
const any = { collection: 'default', consistency: 'any' } as const;
const request = (changes: Partial<SearchRequest> = {}): SearchRequest => ({
  collection: 'default',
  mode: 'HYBRID',
  text: 'red fast',
  topK: 20,
  offset: 0,
  fields: { title: true, content: false, metadata: true, vector: false },
  exact: true,
  fusion: { method: 'rrf', k: 60, weights: { vector: 1, keyword: 1 } },
  consistency: 'any',
  explain: false,
  ...changes,
});

describe('a coordinator across nodes', () => {
  let three: MemoryCluster;
  let one: MemoryCluster;
  let realTime: () => void;
  const query = new Clusters(3, DIMENSIONS, 5).next();

  beforeAll(async () => {
    realTime = turnTime();
    three = await MemoryCluster.start(3, 6, exactVectorIndexes, DIMENSIONS);
    one = await MemoryCluster.start(1, 1, exactVectorIndexes, DIMENSIONS);
    const vectors = new Clusters(3, DIMENSIONS, 5);
    for (let i = 0; i < DOCUMENTS; i++) {
      const content = WORDS.filter((_, at) => (i * (at + 3)) % 7 < 3).join(' ');
      const fields = {
        title: `doc ${i}`,
        content: content === '' ? 'old' : content,
        vector: vectors.next(),
        metadata: { n: i },
      };
      // Through any node.
      const answer = await three.nodes[i % 3].documents.ingest({ id: `id-${i}`, fields }, undefined, options, call());
      expect([answer.created, answer.indexed]).toEqual([true, true]);
      await one.nodes[0].documents.ingest({ id: `id-${i}`, fields }, undefined, options, call());
    }
  }, 30_000);

  afterAll(async () => {
    await three.stop();
    await one.stop();
    realTime();
  });

  it.each(['HYBRID', 'KEYWORD', 'VECTOR'] as const)(
    'ranks exactly as one node would, from every node: %s',
    async (mode) => {
      const asked = request({
        mode,
        ...(mode === 'KEYWORD' ? {} : { vector: query }),
      });
      const { text: _, ...vectorOnly } = asked;
      const wanted = mode === 'VECTOR' ? vectorOnly : asked;
      const expected = (await one.nodes[0].search.search(wanted, call())).results;
      for (const node of three.nodes) {
        const answer = await node.search.search(wanted, call());
        expect(answer.results.map(({ id, score, titleJson }) => [id, score, titleJson])).toEqual(
          expected.map(({ id, score, titleJson }) => [id, score, titleJson]),
        );
        expect(answer).toMatchObject({
          partial: false,
          coverage: 1,
          shards: { total: 6, ok: 6, stale: [], failed: [] },
        });
      }
      // Without `exact`, shards are ranked by their own sums first and asked again where that could matter.
      const ranked = await three.nodes[0].search.search({ ...wanted, exact: false, topK: 5 }, call());
      expect(ranked.results.map(({ id }) => id)).toEqual(expected.slice(0, 5).map(({ id }) => id));
    },
  );

  it('reads, counts, scrolls and patches through any node', async () => {
    for (const node of three.nodes) {
      expect((await node.documents.get('id-7', true, any, call())).title).toBe('doc 7');
      const many = await node.documents.getMany(['id-1', 'nope', 'id-2', 'id-3'], false, any, call());
      expect(many.documents.map(({ id }) => id)).toEqual(['id-1', 'id-2', 'id-3']);
      expect(many.missing).toEqual(['nope']);
      const counted = await node.documents.count(undefined, any, call());
      expect(counted).toMatchObject({ count: DOCUMENTS, shards: { total: 6, ok: 6 } });
      await expect(node.documents.get('nope', false, any, call())).rejects.toMatchObject({
        code: 'DOCUMENT_NOT_FOUND',
      });
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await three.nodes[seen.length % 3].documents.scroll(
        { ...any, limit: 17, fields: request().fields, ...(cursor === undefined ? {} : { cursor }) },
        call(),
      );
      seen.push(...page.documents.map(({ id }) => id));
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
    expect([...seen].sort()).toEqual(Array.from({ length: DOCUMENTS }, (_, i) => `id-${i}`).sort());
    const patched = await three.nodes[0].documents.patch('id-9', { title: 'patched' }, undefined, options, call());
    const read = await three.nodes[1].documents.get('id-9', false, any, call({ session: patched.session }));
    expect([read.title, read.version, read.metadata]).toEqual(['patched', patched.version, { n: 9 }]);
  });

  it('deletes by filter, in bulk, and each once', async () => {
    const items = (async function* () {
      for (let i = 0; i < 30; i++) {
        await Promise.resolve();
        yield { kind: 'upsert', id: `bulk-${i}`, fields: { metadata: { bulk: true } }, bytes: 10 } as const;
      }
    })();
    const stored = await three.nodes[1].documents.bulk(items, options, call());
    expect(stored.answer).toMatchObject({ total: 30, success: 30, failed: 0 });
    const filter = { must: [{ kind: 'exists', key: 'bulk', exists: true } as const], should: [], mustNot: [] };
    expect((await three.nodes[2].documents.count(filter, any, call())).count).toBe(30);
    expect(await three.nodes[2].documents.deleteByFilter(filter, options, call())).toMatchObject({
      deleted: 30,
      failed: 0,
    });
    expect((await three.nodes[0].documents.count(filter, any, call())).count).toBe(0);
  });

  it('says of a document that changes as often as a delete by filter looks at it that it was not deleted', async () => {
    const [one] = three.nodes;
    const fields = { metadata: { restless: true } };
    const store = () => one.documents.ingest({ id: 'restless', fields }, undefined, options, call());
    await store();
    const remove = Object.getOwnPropertyDescriptor(Writer.prototype, 'delete')?.value as Writer['delete'];
    const changing = jest.spyOn(Writer.prototype, 'delete').mockImplementation(async function (this: Writer, ...given) {
      await store();
      return remove.apply(this, given);
    });
    const filter = { must: [{ kind: 'exists', key: 'restless', exists: true } as const], should: [], mustNot: [] };
    const answer = await one.documents.deleteByFilter(filter, options, call());
    expect(changing.mock.calls.length).toBe(3);
    changing.mockRestore();
    const { errors } = answer;
    expect(answer).toMatchObject({ deleted: 0, failed: 1 });
    expect(errors).toMatchObject([{ id: 'restless', code: 'VERSION_CONFLICT' }]);
    expect(await one.documents.deleteByFilter(filter, options, call())).toMatchObject({ deleted: 1, failed: 0 });
  });

  it('counts the filterable keys of all nodes, whichever admitted them', async () => {
    const keys = (prefix: string, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}${i}`, i]));
    const store = (node: number, id: string, metadata: Record<string, number>) =>
      three.nodes[node].documents.ingest({ id, fields: { metadata } }, undefined, options, call());
    await store(0, 'many-keys', keys('first', 200));
    await store(1, 'same-keys', keys('first', 200));
    for (const node of [1, 2])
      await expect(store(node, 'other-keys', keys('other', 100))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    await store(2, 'few-keys', keys('first', 3));
    for (const id of ['many-keys', 'same-keys', 'few-keys'])
      await three.nodes[0].documents.delete(id, undefined, options, call());
  });

  it('does not take a primary for one whose index lacks what was logged before its reign, but what the log has', async () => {
    const behind = jest.spyOn(ShardReplica.prototype, 'indexBehindMs', 'get').mockReturnValue(7);
    const [one] = three.nodes;
    const late = await one.search.search(request({ consistency: 'any' }), call());
    expect(late.shards.failed).toEqual([]);
    expect(new Set(late.shards.stale.map(({ lagMs }) => lagMs))).toEqual(new Set([7]));
    const timeoutMs = 300;
    await expect(one.search.search(request({ consistency: 'primary' }), call({ timeoutMs }))).rejects.toMatchObject({
      code: 'SHARD_UNAVAILABLE',
    });
    const filter = { must: [{ kind: 'ids', ids: ['id-1'] } as const], should: [], mustNot: [] };
    await expect(one.documents.deleteByFilter(filter, options, call({ timeoutMs }))).rejects.toMatchObject({
      code: 'SHARD_UNAVAILABLE',
    });
    const primary = { collection: 'default', consistency: 'primary' } as const;
    expect(await one.documents.get('id-1', false, primary, call())).toMatchObject({ id: 'id-1' });
    // What a session wrote is read from there as well.
    const { session } = await one.documents.ingest({ id: 'late', fields: { title: 'x' } }, undefined, options, call());
    const unapplied = jest.spyOn(ShardReplica.prototype, 'position', 'get');
    unapplied.mockReturnValue({ tail: 1_000, durable: 1_000, applied: 0 });
    const own = { collection: 'default', consistency: 'session' } as const;
    expect(await one.documents.get('late', false, own, call({ session }))).toMatchObject({ id: 'late' });
    unapplied.mockRestore();
    await one.documents.delete('late', undefined, options, call());
    behind.mockRestore();
    expect((await one.search.search(request({ consistency: 'primary' }), call())).shards.stale).toEqual([]);
  });

  it('streams the changes of all shards, wherever they are', async () => {
    const ids = new Set<string>();
    let cursor = '';
    for await (const change of three.nodes[1].streams.changes(undefined, undefined, false, call().signal)) {
      if (change.op === 'upsert') ids.add(change.id);
      cursor = change.cursor;
    }
    expect(ids.size).toBe(DOCUMENTS + 35);
    const stop = new AbortController();
    const following = three.nodes[1].streams.changes(cursor, undefined, true, stop.signal);
    const next = following.next();
    await three.nodes[0].documents.patch('id-5', { title: 'new' }, undefined, options, call());
    expect((await next).value).toMatchObject({ op: 'upsert', id: 'id-5' });
    stop.abort();
    await following.return(undefined);
    const lines: number[] = [];
    for await (const line of three.nodes[0].streams.log(1, 1, 3, false, call().signal)) lines.push(line.offset);
    expect(lines).toEqual([1, 2, 3]);
  });

  it('tells through any node that a document to be patched is not there, and repeats what a key was answered by', async () => {
    for (const [n, node] of three.nodes.entries()) {
      for (let i = 0; i < 6; i++) {
        const patching = node.documents.patch(`gone-${i}`, { title: 'x' }, undefined, options, call());
        await expect(patching).rejects.toMatchObject({ code: 'DOCUMENT_NOT_FOUND' });
        const version = '1'.repeat(48);
        const matching = node.documents.patch(
          `gone-${i}`,
          { title: 'x' },
          { kind: 'version', version },
          options,
          call(),
        );
        await expect(matching).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
        const keyed = { ...options, idempotencyKey: `gone-${n}-${i}` };
        const again = node.documents.patch(`gone-${i}`, { title: 'x' }, undefined, keyed, call());
        await expect(again).rejects.toMatchObject({ code: 'DOCUMENT_NOT_FOUND' });
      }
    }
    for (let i = 0; i < 3; i++) {
      const id = `keyed-${i}`;
      await three.nodes[0].documents.ingest({ id, fields: { title: 'a' } }, undefined, options, call());
      const keyed = { ...options, idempotencyKey: `patch-${i}` };
      const patched = await three.nodes[1].documents.patch(id, { title: 'b' }, undefined, keyed, call());
      await three.nodes[2].documents.delete(id, undefined, options, call());
      for (const node of three.nodes) {
        const { version } = await node.documents.patch(id, { title: 'b' }, undefined, keyed, call());
        expect(version).toBe(patched.version);
        await expect(node.documents.get(id, false, any, call())).rejects.toMatchObject({ code: 'DOCUMENT_NOT_FOUND' });
      }
    }
  });

  it('gives no answer larger than it may be, from here or elsewhere, and a shorter page of a scroll', async () => {
    const [node] = three.nodes;
    const ring = node.replication.map.ring();
    const ids = Array.from({ length: 400 }, (_, i) => `large-${i}`);
    const ofNode = (index: number): string[] =>
      ids.filter((id) => three.primaries[ring.shardOf(id)] === index).slice(0, 36);
    const content = 'x'.repeat(1_000_000);
    const all = [...ofNode(0), ...ofNode(1)];
    for (const id of all)
      await node.documents.ingest({ id, fields: { content, metadata: { large: true } } }, undefined, options, call());
    for (const large of [ofNode(0), ofNode(1)]) {
      const many = node.documents.getMany(large, false, any, call());
      await expect(many).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
      expect((await node.documents.getMany(large.slice(0, 30), false, any, call())).documents).toHaveLength(30);
    }
    const filter = { must: [{ kind: 'exists', key: 'large', exists: true } as const], should: [], mustNot: [] };
    const seen: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const page = await node.documents.scroll(
        {
          ...any,
          limit: 1_000,
          filter,
          fields: { ...request().fields, content: true },
          ...(cursor === undefined ? {} : { cursor }),
        },
        call(),
      );
      seen.push(...page.documents.map(({ id }) => id));
      cursor = page.cursor ?? undefined;
      pages++;
    } while (cursor !== undefined);
    expect(seen.sort()).toEqual([...all].sort());
    expect(pages).toBeGreaterThan(1);
  }, 60_000);

  it('bounds a page of a scroll by what asks for it, and reads not much more than it gives', async () => {
    const bound = { bytesMax: 500, bytesOf: ({ id }: { readonly id: string }) => (id.endsWith('7') ? 60 : 20) };
    const scroll = { ...any, limit: 1_000, fields: request().fields };
    const all = (await three.nodes[0].documents.scroll(scroll, call())).documents.map(({ id }) => id);
    const asked = jest.spyOn(three.nodes[0].local, 'call');
    const seen: string[] = [];
    let pages = 0;
    let cursor: string | undefined;
    do {
      const page = await three.nodes[0].documents.scroll(
        { ...scroll, bound, ...(cursor === undefined ? {} : { cursor }) },
        call(),
      );
      expect(page.documents.reduce((sum, document) => sum + bound.bytesOf(document), 0)).toBeLessThanOrEqual(500);
      seen.push(...page.documents.map(({ id }) => id));
      cursor = page.cursor ?? undefined;
      pages++;
    } while (cursor !== undefined);
    expect(seen).toEqual(all);
    // 24 bytes each, in pages that are nearly full.
    expect(pages).toBeLessThanOrEqual(Math.ceil((24 * all.length) / 440));
    const limits = asked.mock.calls.flatMap(([, ask]) => ('limit' in ask ? [ask.limit] : []));
    asked.mockRestore();
    expect(limits.length).toBeGreaterThan(0);
    expect(Math.max(...limits)).toBeLessThanOrEqual(25);
  });

  it('makes a write once although its connection broke before it was answered', async () => {
    const id = Array.from({ length: 50 }, (_, i) => `once-${i}`).find(
      (candidate) => three.primaries[three.nodes[0].replication.map.ring().shardOf(candidate)] === 1,
    );
    if (id === undefined) throw new Error('one of fifty ids is on the second node');
    const shard = three.nodes[0].replication.map.ring().shardOf(id);
    const before = three.nodes[1].log.state(shard).tail;
    three.nodes[1].health = 'breaks';
    const answer = await three.nodes[0].documents.ingest(
      { id, fields: { content: 'once' } },
      undefined,
      options,
      call(),
    );
    expect(three.nodes[1].log.state(shard).tail).toBe(before + 1);
    expect((await three.nodes[2].documents.get(id, false, any, call())).version).toBe(answer.version);
    await three.nodes[0].documents.delete(id, undefined, options, call());
    // Also when it is sent again while the first sending is on its way to the disk: it does not conflict with itself.
    three.writeMs = 50;
    three.nodes[1].health = 'breaks';
    const { version } = await three.nodes[0].documents.ingest(
      { id, fields: { content: 'again' } },
      { kind: 'absent' },
      options,
      call(),
    );
    three.writeMs = 0;
    expect((await three.nodes[2].documents.get(id, false, any, call())).version).toBe(version);
    expect(three.nodes[1].log.state(shard).tail).toBe(before + 3);
    await three.nodes[0].documents.delete(id, undefined, options, call());
  });

  it('passes a write on over a copy when its primary cannot be reached, makes it once, and passes nothing on twice', async () => {
    const id = Array.from({ length: 50 }, (_, i) => `passed-${i}`).find(
      (candidate) => three.primaries[three.nodes[0].replication.map.ring().shardOf(candidate)] === 1,
    );
    if (id === undefined) throw new Error('one of fifty ids is on the second node');
    const shard = three.nodes[0].replication.map.ring().shardOf(id);
    const tail = (): number => three.nodes[1].log.state(shard).tail;
    const before = tail();
    three.followers.set(shard, 2);
    three.cut.add('0>1');
    const write = (title: string) =>
      three.nodes[0].documents.ingest({ id, fields: { title } }, undefined, options, call({ timeoutMs: 2_000 }));
    for (const link of [...three.nodes[1].links]) link.break('RESET');
    expect((await write('one')).shard).toBe(shard);
    expect((await write('two')).shard).toBe(shard);
    // What the first sendings carried arrives nowhere any more, and was made once each.
    expect(tail()).toBe(before + 2);
    // The copy cannot reach it either: it does not ask another one.
    three.cut.add('2>1');
    for (const link of [...three.nodes[1].links]) link.break('RESET');
    const startedMs = performance.now();
    await expect(write('three')).rejects.toBeInstanceOf(NodeError);
    expect(performance.now() - startedMs).toBeLessThan(2_500);
    three.cut.clear();
    three.followers.clear();
    await three.nodes[1].documents.delete(id, undefined, options, call());
  });

  it('does not wait for a primary that fell silent once there is another', async () => {
    const id = Array.from({ length: 50 }, (_, i) => `silent-${i}`).find(
      (candidate) => three.primaries[three.nodes[0].replication.map.ring().shardOf(candidate)] === 1,
    );
    if (id === undefined) throw new Error('one of fifty ids is on the second node');
    const shard = three.nodes[0].replication.map.ring().shardOf(id);
    three.nodes[1].health = 'silent';
    const writing = three.nodes[0].documents.ingest({ id, fields: { title: 'one' } }, undefined, options, call());
    setTimeout(() => (three.primaries[shard] = 2), 150);
    const { offset } = await writing;
    expect(offset).toBe(three.nodes[2].log.state(shard).tail);
    await three.nodes[0].documents.delete(id, undefined, options, call());
    three.nodes[1].health = 'well';
    three.primaries[shard] = 1;
  });

  it('waits for a primary that is found in time, and says when there is none', async () => {
    const id = 'id-1';
    const shard = three.nodes[0].replication.map.ring().shardOf(id);
    const home = three.primaries[shard];
    three.primaries[shard] = undefined;
    const writing = three.nodes[0].documents.patch(id, { title: 'late' }, undefined, options, call());
    await expect(writing).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    const ingesting = three.nodes[0].documents.ingest({ id, fields: { title: 'late' } }, undefined, options, call());
    setTimeout(() => (three.primaries[shard] = home), 100);
    expect((await ingesting).shard).toBe(shard);
    three.primaries[shard] = undefined;
    const timeoutMs = 150;
    await expect(
      three.nodes[0].documents.ingest({ id, fields: { title: 'never' } }, undefined, options, call({ timeoutMs })),
    ).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    three.primaries[shard] = home;
  });

  it('counts of a scroll the shards that answered for its page', async () => {
    const page = (limit: number, cursor?: string, timeoutMs?: number) =>
      three.nodes[0].documents.scroll(
        { ...any, limit, fields: request().fields, ...(cursor === undefined ? {} : { cursor }) },
        call(timeoutMs === undefined ? {} : { timeoutMs }),
      );
    const first = await page(1);
    expect(first.shards).toEqual({ total: 6, ok: 1, stale: [], failed: [] });
    expect((await page(1_000, first.cursor ?? '')).shards).toMatchObject({ total: 6, ok: 6 });
    const behind = encodeScrollCursor({ shard: 4, after: undefined });
    expect((await page(1_000, behind)).shards).toEqual({ total: 6, ok: 2, stale: [], failed: [] });
    three.nodes[1].health = 'silent';
    const partial = await page(1_000, behind, 1_000);
    three.nodes[1].health = 'well';
    expect(partial.shards).toMatchObject({ total: 6, ok: 1, failed: [{ shard: 4 }] });
  });

  it.each([
    ['whose shards come first', 1, 0],
    ['whose shards come last', 0, 2],
  ])('scrolls to every document of the others while a node is silent %s', async (_, asking, silent) => {
    const ring = three.nodes[asking].replication.map.ring();
    const wanted = Array.from({ length: DOCUMENTS }, (_, i) => `id-${i}`).filter(
      (id) => three.primaries[ring.shardOf(id)] !== silent,
    );
    three.nodes[silent].health = 'silent';
    const seen: string[] = [];
    const failed = new Set<number>();
    let cursor: string | undefined;
    do {
      const page = await three.nodes[asking].documents.scroll(
        { ...any, limit: 1_000, fields: request().fields, ...(cursor === undefined ? {} : { cursor }) },
        call({ timeoutMs: 400 }),
      );
      seen.push(...page.documents.map(({ id }) => id));
      for (const { shard } of page.shards.failed) failed.add(shard);
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
    three.nodes[silent].health = 'well';
    expect(seen.filter((id) => id.startsWith('id-')).sort()).toEqual(wanted.sort());
    expect([...failed].sort()).toEqual([silent, silent + 3]);
  });

  it('ends a scroll at last shards that do not answer as at others, whatever page begins there', async () => {
    const [asking, , silent] = three.nodes;
    silent.health = 'silent';
    const last = await asking.documents.scroll(
      { ...any, limit: 1, fields: request().fields, cursor: encodeScrollCursor({ shard: 5, after: undefined }) },
      call({ timeoutMs: 300 }),
    );
    silent.health = 'well';
    expect(last).toMatchObject({ documents: [], cursor: null });
    expect(last.shards).toMatchObject({ total: 6, ok: 0, failed: [{ shard: 5, reason: 'TIMEOUT' }] });
    // Where all of them fail, nothing answers.
    const homes = three.primaries.splice(0, 6, ...Array.from({ length: 6 }, () => undefined));
    const none = asking.documents.scroll({ ...any, limit: 1, fields: request().fields }, call({ timeoutMs: 2_000 }));
    await expect(none).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    three.primaries.splice(0, 6, ...homes);
  });

  it('counts a shard of which it was told nothing as one like the others', async () => {
    const [asking, , silent] = three.nodes;
    silent.health = 'silent';
    const known = asking.routes.shards();
    const routes = jest
      .spyOn(asking.routes, 'shards')
      .mockReturnValue(
        known.map((route) => (three.primaries[route.shard] === 2 ? { ...route, documents: undefined } : route)),
      );
    const asked = (minCoverage: number) =>
      asking.search.search({ ...request({ vector: query }), minCoverage }, call({ timeoutMs: 300 }));
    expect((await asked(0.5)).coverage).toBeCloseTo(4 / 6);
    await expect(asked(0.9)).rejects.toMatchObject({ code: 'COVERAGE_TOO_LOW' });
    routes.mockRestore();
    silent.health = 'well';
  });

  it('lists collections by the deadline of who asks, naming the shards that did not tell their documents', async () => {
    const [asking, , silent] = three.nodes;
    silent.health = 'silent';
    const startedMs = performance.now();
    const [listed] = await asking.catalog.listCollections(200);
    expect(performance.now() - startedMs).toBeLessThan(400);
    expect(listed).toMatchObject({ name: 'default', missingShards: [2, 5] });
    silent.health = 'well';
  });

  it('has the digest and the conflicts of a shard from no copy that is being built, or moved away', async () => {
    const [asking] = three.nodes;
    const known = asking.routes.shards();
    const wanted = await asking.operator.digest(1);
    expect(wanted.replicas).toMatchObject([{ node: 'node-2' }]);
    expect(await asking.operator.conflicts(1)).toEqual([]);
    const built = known.map((route) => ({
      ...route,
      primary: undefined,
      copies: route.copies.map((copy) => ({ ...copy, role: 'learner' as const })),
    }));
    const routes = jest.spyOn(asking.routes, 'shards').mockReturnValue(built);
    await expect(asking.operator.digest(1)).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    await expect(asking.operator.conflicts(1)).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' });
    routes.mockRestore();
  });

  it.each(['gone', 'silent'] as const)(
    'answers partially by the deadline when a node is %s, naming its shards',
    async (health) => {
      if (health === 'gone') three.nodes[2].vanish();
      else three.nodes[2].health = health;
      const startedMs = performance.now();
      const answer = await three.nodes[0].search.search(request({ vector: query }), call({ timeoutMs: 300 }));
      expect(performance.now() - startedMs).toBeLessThan(550);
      const reason = health === 'gone' ? 'UNREACHABLE' : 'TIMEOUT';
      expect(answer.partial).toBe(true);
      expect(answer.shards).toEqual({
        total: 6,
        ok: 4,
        stale: [],
        failed: [
          { shard: 2, node: 'node-3', reason },
          { shard: 5, node: 'node-3', reason },
        ],
      });
      expect(answer.coverage).toBeLessThan(1);
      const ring = three.nodes[0].replication.map.ring();
      for (const { id } of answer.results) expect([2, 5]).not.toContain(ring.shardOf(id));
      three.nodes[2].health = 'well';
      const again = await three.nodes[0].search.search(request({ vector: query }), call());
      expect(again.partial).toBe(false);
    },
  );

  it('refuses what it cannot read, and goes on', async () => {
    const [asking, asked] = three.nodes;
    const events = asked.server.onQuery(asking.uuid, {
      send: () => true,
      drained: () => Promise.resolve(),
      close: () => undefined,
    });
    const part = { id: 1, timeoutMs: 100, more: false, body: Uint8Array.of(1, 2, 255) };
    const rubbish = { generation: 2 ** 40, calls: [{ ...part, kind: 'search' as const }], cancelled: [] };
    expect(() => events.message(rubbish)).toThrow('cannot be read');
    expect(asked.refused).toHaveLength(1);
    // Whoever was heard of on a newer stream is not heard on an older one.
    expect(() => events.message({ ...rubbish, generation: 3, calls: [] })).toThrow('newer');
  });

  it('does nothing any more that a node sent before its write came over another one', () => {
    const [asking, asked, over] = three.nodes;
    const link = { send: () => true, drained: () => Promise.resolve(), close: () => undefined };
    const [shutAt, newest] = [2 ** 41, 2 ** 42];
    const relay = { from: asking.uuid, generation: shutAt };
    const body = encodeWire(SHARD_CALL_WIRE.write.ask, { mapEpoch: 1, writes: [], relay });
    const call = { id: 1, kind: 'write' as const, timeoutMs: 100, more: false, body };
    asked.server.onQuery(over.uuid, link).message({ generation: newest, calls: [call], cancelled: [] });
    const nothing = { calls: [], cancelled: [] };
    const direct = asked.server.onQuery(asking.uuid, link);
    expect(() => direct.message({ ...nothing, generation: shutAt - 1 })).toThrow('newer');
    direct.message({ ...nothing, generation: shutAt });
    // On the first leg it is the asking node's own stream that carries it.
    const first = asked.server.onQuery(asking.uuid, link);
    first.message({ generation: shutAt + 1, calls: [call], cancelled: [] });
    first.message({ ...nothing, generation: shutAt + 1 });
  });
});
