import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactVectorIndexes } from '../../../../test/contract/exact-vector-index.js';
import { ShardLog, specOf, versionOf } from '../../../../test/contract/shard-log.js';
import { Clusters } from '../../../../test/contract/vector-index.suite.js';
import { toHex } from '../../../kernel/bytes.js';
import { compareVersions, type Version } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { LiveDigest, liveTerm } from '../core/digest.js';
import type { DocumentFields } from '../core/document.js';
import { encodeFrames } from '../core/frames.js';
import type { ShardSearchAnswer } from '../core/search-answer.js';
import { CheckpointDamagedError, ShardNotOpenError, type CheckpointRef } from '../core/index-host.js';
import { EntryRefusedError } from '../core/shard-index.js';
import type { VectorIndexes } from '../core/vector-index.js';
import { hnswVectorIndexes } from './hnsw-vector-index.js';
import { idsOf, searched } from '../testing/written-answer.js';
import { LocalIndexHost } from './local-index-host.js';
import { vectorIndexes } from './vector-indexes.js';

const DIMENSIONS = 4;
const spec = specOf(1, DIMENSIONS);
const clock = { monotonicMs: () => performance.now() };

function hostOf(indexes: VectorIndexes = exactVectorIndexes): LocalIndexHost {
  return new LocalIndexHost({ hasher: nodeHasher, clock, indexes });
}

function opened(indexes?: VectorIndexes, shard = 0): LocalIndexHost {
  const host = hostOf(indexes);
  host.defineCollections([spec]);
  host.openShard(shard, undefined);
  return host;
}

function apply(host: LocalIndexHost, entries: readonly Uint8Array[], shard = 0): void {
  expect(host.apply(shard, encodeFrames(entries), Infinity)).toBe(true);
}

function vectorOf(...values: number[]): Float32Array {
  return Float32Array.from({ length: DIMENSIONS }, (_, i) => values[i] ?? 0);
}

/** All a host says about a shard, without regard to labels. */
function state(host: LocalIndexHost, terms: readonly string[], shard = 0): unknown {
  const { ids, offsets } = host.scroll(shard, 1, undefined, undefined, 10_000);
  const [answer] = searched(host, {
    collectionId: 1,
    shards: [shard],
    exact: true,
    vector: { values: vectorOf(1, 2, 3, 4), k: 1_000, ef: 10 },
    keyword: { terms, k: 1_000, statistics: host.keywordStatistics(shard, 1, terms) },
  });
  return {
    ids,
    offsets,
    answer: toHex(answer.bytes),
    applied: host.applied(shard),
    digest: toHex(host.digest(shard, false)),
    even: host.count(shard, 1, { must: [{ kind: 'match', key: 'even', any: [true] }], should: [], mustNot: [] }),
    keys: host.attributeKeys(shard, 1),
  };
}

const TERMS = ['blue', 'green', 'red'];

describe('LocalIndexHost', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'index-host-'));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  const checkpointOf = async (
    host: LocalIndexHost,
    name: string,
    previous?: CheckpointRef,
    shard = 0,
  ): Promise<CheckpointRef> => {
    const path = join(directory, name);
    await mkdir(path);
    const { seal } = await host.checkpoint(shard, path, previous);
    return { directory: path, manifest: await seal() };
  };

  it('replaces a document in every leg, and deletes it from every leg', () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [log.upsert('a', { title: 'red red', vector: vectorOf(1), metadata: { even: true } })]);
    apply(host, [log.upsert('a', { content: 'blue', vector: vectorOf(0, 1), metadata: { odd: 1 } })]);
    const [answer] = searched(host, {
      collectionId: 1,
      shards: [0],
      exact: false,
      vector: { values: vectorOf(1), k: 10, ef: 10 },
      keyword: { terms: ['blue', 'red'], k: 10 },
    });
    expect(answer.documents).toBe(1);
    expect(idsOf(answer.vector())).toEqual(['a']);
    expect(answer.vector()?.score(0)).toBe(0);
    expect(answer.vector()?.offset(0)).toBe(2);
    expect(answer.keyword()?.statistics).toEqual({ documents: 1, totalLength: 1, documentFrequencies: [1, 0] });
    expect(host.attributeKeys(0, 1)).toEqual(['odd']);
    apply(host, [log.delete('a')]);
    const [gone] = searched(host, {
      collectionId: 1,
      shards: [0],
      exact: false,
      vector: { values: vectorOf(1), k: 10, ef: 10 },
      keyword: { terms: ['blue'], k: 10 },
    });
    expect([gone.documents, idsOf(gone.vector()), idsOf(gone.keyword())]).toEqual([0, [], []]);
    expect(host.attributeKeys(0, 1)).toEqual([]);
    expect(toHex(host.digest(0, false))).toBe('0'.repeat(32));
  });

  it('keeps documents without text out of the keyword index, without vector out of the vectors', () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [
      log.upsert('t', { content: 'red' }),
      log.upsert('v', { vector: vectorOf(1) }),
      log.upsert('m', { metadata: { even: true } }),
    ]);
    expect(host.statistics().shards[0].collections).toEqual([
      { id: 1, documents: 3, vectors: 1, texts: 1, deadLabels: 0, tombstones: 0 },
    ]);
  });

  it('is a last-writer-wins map: any entries in any order and any number of times', () => {
    const id = fc.constantFrom('a', 'b', 'c', 'd');
    const version = fc.integer({ min: 1, max: 6 });
    const fields: fc.Arbitrary<DocumentFields> = fc.record(
      {
        content: fc.array(fc.constantFrom(...TERMS), { minLength: 1, maxLength: 4 }).map((words) => words.join(' ')),
        vector: fc
          .array(fc.integer({ min: -3, max: 3 }), { minLength: DIMENSIONS, maxLength: DIMENSIONS })
          .map((v) => vectorOf(...v)),
        metadata: fc.record({ even: fc.boolean() }),
      },
      { requiredKeys: ['metadata'] },
    );
    // A version stands for one write: the same one is always the same document, or always a delete.
    const writes = fc.uniqueArray(fc.record({ id, version, fields, isDelete: fc.boolean() }), {
      maxLength: 24,
      selector: (write) => `${write.id}@${write.version}`,
    });
    fc.assert(
      fc.property(writes, fc.array(fc.nat(), { maxLength: 12 }), fc.nat(), (unique, repeats, cut) => {
        const all = [...unique, ...repeats.flatMap((at) => (unique.length === 0 ? [] : [unique[at % unique.length]]))];
        const log = new ShardLog();
        const model = new Map<string, { version: Version; offset: number; live: boolean }>();
        all.forEach((write, i) => {
          const at = versionOf(write.version);
          if (write.isDelete) log.delete(write.id, at);
          else log.upsert(write.id, write.fields, at);
          const row = model.get(write.id);
          if (row !== undefined && compareVersions(at, row.version) < 0) return;
          model.set(write.id, { version: at, offset: i + 1, live: !write.isDelete });
        });
        const host = opened();
        apply(host, log.bytes);
        const live = [...model].filter(([, row]) => row.live).sort(([a], [b]) => (a < b ? -1 : 1));
        const digest = new LiveDigest();
        for (const [key, row] of live) digest.add(liveTerm(nodeHasher, 1, key, row.version));
        const page = host.scroll(0, 1, undefined, undefined, 100);
        expect(page.ids).toEqual(live.map(([key]) => key));
        expect(page.offsets).toEqual(live.map(([, row]) => row.offset));
        expect(toHex(host.digest(0, false))).toBe(toHex(digest.bytes()));
        expect(toHex(host.digest(0, true))).toBe(toHex(digest.bytes()));
        // Only the winners, in the order of their entries, make the same index: what compaction leaves.
        const kept = new Set([...model.values()].map(({ offset }) => offset));
        const compacted = opened();
        apply(
          compacted,
          log.bytes.filter((_, i) => kept.has(i + 1) || i === all.length - 1),
        );
        expect(state(compacted, TERMS)).toEqual(state(host, TERMS));
        // A prefix applied before, and applied again, changes nothing.
        const twice = opened();
        const first = log.bytes.slice(0, all.length === 0 ? 0 : cut % all.length);
        apply(twice, first);
        apply(twice, log.bytes);
        apply(twice, first);
        expect(state(twice, TERMS)).toEqual(state(host, TERMS));
      }),
      { numRuns: 150 },
    );
  });

  it('moves the offset for entries that are about no document', () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [log.barrier(), log.upsert('a', { content: 'red' }), log.barrier()]);
    expect([host.applied(0), host.count(0, 1, undefined)]).toEqual([3, 1]);
  });

  it('stops at the end of its slice and goes on later', () => {
    const log = new ShardLog();
    for (let i = 0; i < 50; i++) log.upsert(`id-${i}`, { content: 'red' });
    const host = opened();
    let done = host.apply(0, encodeFrames(log.bytes), 0);
    let slices = 1;
    expect(host.applied(0)).toBe(1);
    while (!done) {
      done = host.continueApply(0, 0);
      slices++;
    }
    expect(slices).toBeGreaterThanOrEqual(50);
    expect(host.count(0, 1, undefined)).toBe(50);
  });

  it('learns the dimension from the first vector, and faults its shard alone when another one comes', () => {
    const open = specOf(1);
    const log = new ShardLog();
    const host = hostOf();
    host.defineCollections([open]);
    host.openShard(0, undefined);
    host.openShard(1, undefined);
    apply(host, [log.upsert('a', { vector: Float32Array.of(1, 2, 3) })]);
    const wrong = log.upsert('b', { vector: Float32Array.of(1, 2) });
    expect(() => host.apply(0, encodeFrames([wrong]), Infinity)).toThrow(EntryRefusedError);
    const answers = searched(host, {
      collectionId: 1,
      shards: [0, 1, 2],
      exact: false,
      keyword: { terms: ['red'], k: 1 },
    });
    expect(answers.map(({ failed }) => failed)).toEqual(['FAULTED', undefined, 'NOT_READY']);
    expect([host.applied(0), host.statistics().shards[0].fault]).toEqual([1, expect.stringContaining('2 dimensions')]);
  });

  it('faults on a damaged entry, naming its problem', () => {
    const log = new ShardLog();
    const host = opened();
    const entry = log.upsert('a', { content: 'red' }).slice();
    entry[entry.length - 1] ^= 1;
    expect(() => host.apply(0, encodeFrames([entry]), Infinity)).toThrow(/crc/);
  });

  it('passes over entries of an unknown collection, and says who missed them when it becomes known', () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [log.upsert('a', { content: 'red' }, undefined, 7)]);
    expect(host.applied(0)).toBe(1);
    expect(host.defineCollections([spec])).toEqual([]);
    expect(host.defineCollections([specOf(7)])).toEqual([0]);
  });

  it('forgets a dropped collection and one that the log purges', () => {
    const log = new ShardLog();
    const host = opened();
    host.defineCollections([specOf(2)]);
    apply(host, [log.upsert('a', { content: 'red' }), log.upsert('b', { content: 'red' }, undefined, 2)]);
    apply(host, [log.purge(2), log.upsert('c', { content: 'red' }, undefined, 2)]);
    expect([host.count(0, 1, undefined), host.count(0, 2, undefined)]).toEqual([1, 0]);
    host.dropCollection(1);
    expect(host.count(0, 1, undefined)).toBe(0);
    expect(toHex(host.digest(0, false))).toBe('0'.repeat(32));
  });

  it('answers calls for a shard it does not have with ShardNotOpenError', () => {
    const host = opened();
    expect(() => host.count(9, 1, undefined)).toThrow(ShardNotOpenError);
    expect(() => host.apply(9, new Uint8Array(0), 1)).toThrow(ShardNotOpenError);
    host.closeShard(9);
    host.closeShard(0);
    expect(() => host.applied(0)).toThrow(ShardNotOpenError);
  });

  /** Documents of all kinds, some replaced, some deleted. */
  const busyLog = (documents: number): ShardLog => {
    const log = new ShardLog();
    const clusters = new Clusters(31, DIMENSIONS, 6);
    for (let i = 0; i < documents; i++) {
      log.upsert(`id-${i}`, {
        ...(i % 3 === 0 ? {} : { content: `${TERMS[i % 3]} ${TERMS[i % 2]}` }),
        ...(i % 4 === 0 ? {} : { vector: clusters.next() }),
        metadata: { even: i % 2 === 0 },
      });
    }
    for (let i = 0; i < documents; i += 5) log.delete(`id-${i}`);
    for (let i = 1; i < documents; i += 5) log.upsert(`id-${i}`, { content: 'red green', vector: clusters.next() });
    return log;
  };

  it.each([
    ['hnsw', hnswVectorIndexes],
    ['what a node uses', vectorIndexes],
    ['exact', exactVectorIndexes],
  ])('comes back from a checkpoint (%s) as it was, and goes on like one that never stopped', async (_, indexes) => {
    const log = busyLog(400);
    const host = opened(indexes);
    const cut = 500;
    apply(host, log.bytes.slice(0, cut));
    const ref = await checkpointOf(host, 'one');
    expect(ref.manifest.offset).toBe(cut);
    const loaded = hostOf(indexes);
    loaded.defineCollections([spec]);
    loaded.openShard(0, ref);
    expect(state(loaded, TERMS)).toEqual(state(host, TERMS));
    apply(host, log.bytes);
    apply(loaded, log.bytes);
    expect(state(loaded, TERMS)).toEqual(state(host, TERMS));
    const rebuilt = opened(indexes);
    apply(rebuilt, log.bytes);
    expect(state(rebuilt, TERMS)).toEqual(state(loaded, TERMS));
    expect(toHex(loaded.digest(0, true))).toBe(toHex(loaded.digest(0, false)));
  });

  it('remembers deletes over a checkpoint', async () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [log.upsert('a', { content: 'red' }, versionOf(10)), log.delete('a', versionOf(20))]);
    const ref = await checkpointOf(host, 'one');
    const loaded = hostOf();
    loaded.defineCollections([spec]);
    loaded.openShard(0, ref);
    apply(loaded, [log.upsert('a', { content: 'red' }, versionOf(15))]);
    expect(loaded.count(0, 1, undefined)).toBe(0);
    apply(loaded, [log.upsert('a', { content: 'red' }, versionOf(25))]);
    expect(loaded.count(0, 1, undefined)).toBe(1);
  });

  it('refuses a checkpoint with any file damaged, cut or missing', async () => {
    const log = busyLog(60);
    const host = opened();
    apply(host, log.bytes);
    const ref = await checkpointOf(host, 'one');
    const files = ref.manifest.collections[0].files.map(({ name }) => join(ref.directory, name));
    expect(files).toHaveLength(5);
    for (const file of files) {
      const whole = await readFile(file);
      const open = (): void => {
        const loaded = hostOf();
        loaded.defineCollections([spec]);
        loaded.openShard(0, ref);
      };
      for (const at of [0, Math.floor(whole.length / 2), whole.length - 1]) {
        const damaged = Buffer.from(whole);
        damaged[at] ^= 4;
        await writeFile(file, damaged);
        expect(open).toThrow(CheckpointDamagedError);
      }
      await writeFile(file, whole);
      await truncate(file, whole.length - 1);
      expect(open).toThrow(CheckpointDamagedError);
      await rm(file);
      expect(open).toThrow(CheckpointDamagedError);
      await writeFile(file, whole);
      expect(open).not.toThrow();
    }
  });

  it('refuses a checkpoint of another shard, without a digest, or older than a collection it met; checks its digest later', async () => {
    const log = new ShardLog();
    const host = opened();
    apply(host, [log.upsert('a', { content: 'red' }), log.upsert('b', { content: 'red' }, undefined, 7)]);
    const ref = await checkpointOf(host, 'one');
    const { manifest } = ref;
    const open = (shard: number, changed: CheckpointRef, collections = [spec]): (() => void) => {
      const loaded = hostOf();
      loaded.defineCollections(collections);
      return () => loaded.openShard(shard, changed);
    };
    expect(open(0, ref)).not.toThrow();
    expect(open(1, ref)).toThrow(/is of shard 0/);
    expect(open(0, ref, [spec, specOf(7)])).toThrow(/before collection 7 was known/);
    const [collection] = manifest.collections;
    const lying = { ...manifest, collections: [{ ...collection, digest: '1'.repeat(32) }] };
    expect(open(0, { ...ref, manifest: { ...manifest, collections: [{ ...collection, digest: '1' }] } })).toThrow(
      /no digest/,
    );
    // A digest is compared later, and what is applied meanwhile does not hide a difference.
    for (const [checkpoint, sound] of [
      [ref, true],
      [{ ...ref, manifest: lying }, false],
    ] as const) {
      const loaded = hostOf();
      loaded.defineCollections([spec]);
      loaded.openShard(0, checkpoint);
      expect(loaded.check(0, 0)).toBeUndefined();
      loaded.apply(0, encodeFrames([log.upsert('a', { content: 'blue' }), log.upsert('c', {})]), 1_000);
      expect(loaded.check(0, 1_000)).toBe(sound);
      expect(loaded.check(0, 1_000)).toBe(sound);
      expect(toHex(loaded.digest(0, true)) === toHex(loaded.digest(0, false))).toBe(sound);
    }
  });

  it('links what did not change', async () => {
    const log = new ShardLog();
    const host = opened();
    host.defineCollections([specOf(2)]);
    apply(host, [log.upsert('a', { content: 'red' }), log.upsert('b', { content: 'red' }, undefined, 2)]);
    const one = await checkpointOf(host, 'one');
    apply(host, [log.upsert('c', { content: 'blue' })]);
    const two = await checkpointOf(host, 'two', one);
    const inode = async (name: string, file: string): Promise<number> => (await stat(join(directory, name, file))).ino;
    expect(await inode('two', '2.labels')).toBe(await inode('one', '2.labels'));
    expect(await inode('two', '1.labels')).not.toBe(await inode('one', '1.labels'));
    await rm(one.directory, { recursive: true });
    const loaded = hostOf();
    loaded.defineCollections([spec, specOf(2)]);
    loaded.openShard(0, two);
    expect([loaded.count(0, 1, undefined), loaded.count(0, 2, undefined)]).toEqual([2, 1]);
    // What cannot be linked is written.
    const three = await checkpointOf(loaded, 'three', one);
    expect(await readdir(three.directory)).toHaveLength(6);
  });

  it('applies nothing while a checkpoint is written, answers searches, and lets go of what was closed meanwhile', async () => {
    const log = busyLog(40);
    const host = opened(vectorIndexes);
    apply(host, log.bytes.slice(0, 30));
    const path = join(directory, 'one');
    await mkdir(path);
    const writing = host.checkpoint(0, path, undefined);
    expect(host.apply(0, encodeFrames(log.bytes), Infinity)).toBe(false);
    expect(host.applied(0)).toBe(30);
    host.work(1);
    host.dropCollection(1);
    expect(
      searched(host, { collectionId: 1, shards: [0], exact: false, keyword: { terms: ['red'], k: 1 } })[0].documents,
    ).toBe(30);
    const { seal } = await writing;
    expect(host.count(0, 1, undefined)).toBe(0);
    // The shard goes on before the files are synced; what it does then is not in them.
    expect(host.continueApply(0, Infinity)).toBe(true);
    expect(host.applied(0)).toBe(log.entries.length);
    const manifest = await seal();
    expect([manifest.offset, manifest.collections.length]).toEqual([30, 1]);
    const loaded = hostOf(vectorIndexes);
    loaded.defineCollections([spec]);
    loaded.openShard(0, { directory: path, manifest });
    const asItWas = opened(vectorIndexes);
    apply(asItWas, log.bytes.slice(0, 30));
    expect(state(loaded, TERMS)).toEqual(state(asItWas, TERMS));
  });

  it('guesses the size of a checkpoint, not too low', async () => {
    const log = busyLog(300);
    const host = opened(vectorIndexes);
    apply(host, log.bytes);
    const guess = host.checkpointBytes(0);
    const { manifest } = await checkpointOf(host, 'one');
    const bytes = manifest.collections[0].files.reduce((sum, file) => sum + file.bytes, 0);
    expect(guess).toBeGreaterThan(bytes * 0.8);
    expect(guess).toBeLessThan(bytes * 20);
  });

  it('rebuilds a graph of many dead labels in slices, and reuses their numbers', () => {
    const log = new ShardLog();
    const clusters = new Clusters(37, DIMENSIONS, 6);
    const host = opened(vectorIndexes);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 1_500; i++) log.upsert(`id-${i}`, { vector: clusters.next() });
    }
    apply(host, log.bytes);
    expect(host.statistics().shards[0].collections[0]).toMatchObject({
      documents: 1_500,
      vectors: 1_500,
      deadLabels: 1_500,
    });
    expect(host.needsWork).toBe(true);
    const before = state(host, TERMS);
    let slices = 0;
    while (host.needsWork) {
      host.work(1);
      slices++;
    }
    expect(slices).toBeGreaterThan(1);
    expect(host.statistics().shards[0].collections[0]).toMatchObject({ vectors: 1_500, deadLabels: 0 });
    expect(state(host, TERMS)).toEqual(before);
    const [answer] = searched(host, {
      collectionId: 1,
      shards: [0],
      exact: false,
      vector: { values: clusters.next(), k: 10, ef: 50 },
    });
    expect(idsOf(answer.vector())).toHaveLength(10);
  });

  it.each([
    ['hnsw', hnswVectorIndexes],
    ['what a node uses', vectorIndexes],
  ])('leaves out of the answers of many shards what is beyond the best of them all (%s)', (_, indexes) => {
    const host = hostOf(indexes);
    host.defineCollections([spec]);
    const clusters = new Clusters(41, DIMENSIONS, 12);
    const shards = [0, 1, 2, 3];
    const words = ['red', 'green', 'blue'];
    for (const shard of shards) {
      const log = new ShardLog(shard);
      host.openShard(shard, undefined);
      // One shard is small enough to be scanned.
      const entries = Array.from({ length: shard === 3 ? 50 : 1_100 }, (__, i) =>
        log.upsert(`${shard}-${i}`, {
          title: words.filter((___, at) => i % (at + 2) === 0).join(' ') + ' more'.repeat(i % 7),
          vector: clusters.next(),
        }),
      );
      apply(host, entries, shard);
    }
    const terms = ['blue', 'green', 'red'];
    const sums = shards.map((shard) => host.keywordStatistics(shard, 1, terms));
    const statistics = {
      documents: sums.reduce((sum, { documents }) => sum + documents, 0),
      totalLength: sums.reduce((sum, { totalLength }) => sum + totalLength, 0),
      documentFrequencies: terms.map((__, t) => sums.reduce((sum, one) => sum + one.documentFrequencies[t], 0)),
    };
    const best = (answers: readonly ShardSearchAnswer[], leg: 'vector' | 'keyword', count: number) =>
      answers
        .flatMap((answer) => {
          const candidates = answer[leg]();
          return (idsOf(candidates) ?? []).map((id, row) => ({ id, score: candidates?.score(row) ?? NaN }));
        })
        .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
        .slice(0, count);
    const rows = (answers: readonly ShardSearchAnswer[], leg: 'vector' | 'keyword') =>
      answers.reduce((sum, answer) => sum + (answer[leg]()?.count ?? 0), 0);
    for (let i = 0; i < 20; i++) {
      const values = clusters.next();
      const ask = (of: { of?: number }) =>
        searched(host, {
          collectionId: 1,
          shards: [2, 7, 0, 1, 3],
          exact: false,
          vector: { values, k: 30, ef: 60, ...of },
          keyword: { terms, k: 30, statistics, ...of },
        });
      const [all, some] = [ask({}), ask({ of: 20 })];
      expect(some.map(({ shard, failed, documents }) => [shard, failed, documents])).toEqual(
        all.map(({ shard, failed, documents }) => [shard, failed, documents]),
      );
      for (const leg of ['vector', 'keyword'] as const) expect(best(some, leg, 20)).toEqual(best(all, leg, 20));
      expect(rows(all, 'vector')).toBe(120);
      expect(rows(all, 'keyword')).toBe(120);
      expect(rows(some, 'vector')).toBeLessThan(60);
      // Texts of equal scores are not told apart.
      expect(rows(some, 'keyword')).toBeLessThan(100);
      const worst = best(some, 'keyword', 20)[19].score;
      for (const [at, answer] of some.entries()) {
        const kept = answer.keyword();
        if (kept === undefined || kept.count === all[at].keyword()?.count) continue;
        expect(kept.bestLeftOut).toBeLessThan(worst);
      }
      // Without sums for all of them, scores do not compare.
      const own = searched(host, { collectionId: 1, shards, exact: false, keyword: { terms, k: 30, of: 20 } });
      expect(rows(own, 'keyword')).toBe(120);
    }
  });
});
