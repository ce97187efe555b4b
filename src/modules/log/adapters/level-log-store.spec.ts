import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { fork } from 'node:child_process';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EntryWriter } from '../../../../test/contract/log-entries.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { documentKey, documentPrefix } from '../core/keys.js';
import type { Damage, StorageFailedError } from '../log-store.js';
import { copyLiving } from '../testing/living-copy.js';
import type { CommitPolicy } from './group-commit.js';
import { LevelLogStore } from './level-log-store.js';
import type { LevelSettings } from './level-table.js';

const NEVER = new AbortController().signal;

describe('LevelLogStore', () => {
  let root: string;
  let stores: LevelLogStore[];
  let warnings: string[];
  const failures: StorageFailedError[] = [];

  const openStore = async (
    name: string,
    fsync: CommitPolicy = { kind: 'always' },
    settings: Partial<LevelSettings> = {},
  ) => {
    const store = await LevelLogStore.open({
      directory: join(root, name),
      fsync,
      hasher: nodeHasher,
      onFailure: (error) => failures.push(error),
      onWarning: (message) => warnings.push(message),
      settings: { writeBufferBytes: 1024 * 1024, ...settings },
    });
    stores.push(store);
    return store;
  };
  const files = async (name: string, end: string): Promise<string[]> => {
    const names = (await readdir(join(root, name, 'db'))).filter((file) => file.endsWith(end)).sort();
    return names.map((file) => join(root, name, 'db', file));
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spector-level-'));
    stores = [];
    warnings = [];
    failures.length = 0;
  });
  afterEach(async () => {
    for (const store of stores) await store.close();
    await rm(root, { recursive: true });
  });

  it('merges what is asked for at once into few batches with one sync each', async () => {
    const store = await openStore('a');
    const writers = [0, 1, 2, 3].map((shard) => new EntryWriter(shard));
    await Promise.all(
      Array.from({ length: 400 }, (_, i) => {
        const writer = writers[i % 4];
        return store.append({ shard: writer.shard, entries: [writer.next()], rows: [] });
      }),
    );
    const { batches, syncs, entries, bytes } = store.stats();
    expect(entries).toBe(400);
    expect(batches).toBeLessThanOrEqual(2);
    expect(syncs).toBe(batches);
    expect(bytes).toBe([0, 1, 2, 3].reduce((sum, shard) => sum + store.state(shard).bytes, 0));
  });

  it('keeps every durable entry wherever its log file is cut at or after the last synced size', async () => {
    const store = await openStore('a', { kind: 'os' });
    const writers = [0, 1].map((shard) => new EntryWriter(shard));
    const fill = async (batches: number): Promise<void> => {
      for (let i = 0; i < batches; i++) {
        for (const writer of writers) await store.append({ shard: writer.shard, entries: writer.take(3), rows: [] });
      }
    };
    await fill(20);
    await store.sync();
    const durable = store.state(0).tail;
    const [log] = await files('a', '.log');
    const { size: synced } = await stat(log);
    await fill(10);
    const { size } = await stat(log);
    expect(size).toBeGreaterThan(synced + 10_000);

    const tails = new Set<number>();
    for (let cut = synced; cut <= size; cut += Math.max(1, Math.floor((size - synced) / 12))) {
      const name = `cut-${cut}`;
      await copyLiving(join(root, 'a'), join(root, name));
      await truncate((await files(name, '.log'))[0], cut);
      const copy = await openStore(name);
      expect(copy.openDamages()).toEqual([]);
      for (const { shard } of writers) {
        const { tail } = copy.state(shard);
        tails.add(tail);
        expect(tail).toBeGreaterThanOrEqual(durable);
        expect(tail % 3).toBe(0);
        expect(await copy.scrub(shard, NEVER, 0)).toMatchObject({ entries: tail, damages: [] });
        const writer = new EntryWriter(shard).continueFrom(copy.state(shard));
        await copy.append({ shard, entries: writer.take(1), rows: [] });
      }
      await copy.close();
    }
    // The cuts did take something.
    expect(tails.has(durable)).toBe(true);
    expect(tails.size).toBeGreaterThan(5);
  }, 30_000);

  it('refuses a log that went back behind what was on disk, until the side file is deleted', async () => {
    const store = await openStore('a');
    const writer = new EntryWriter(3);
    await store.append({ shard: 3, entries: writer.take(5), rows: [] });
    await store.append({ shard: 4, entries: new EntryWriter(4).take(2), rows: [] });
    await copyLiving(join(root, 'a', 'db'), join(root, 'old'));
    await store.append({ shard: 3, entries: writer.take(7), rows: [] });
    await store.close();
    await rm(join(root, 'a', 'db'), { recursive: true });
    await cp(join(root, 'old'), join(root, 'a', 'db'), { recursive: true });

    const side = join(root, 'a', 'tail.side');
    await expect(openStore('a')).rejects.toMatchObject({
      name: 'StorageFailedError',
      message:
        'shard 3 went back from offset 12 to 5: entries that were on this disk are gone. ' +
        `Restore the newest backup of the data directory, or delete ${side} to accept the loss.`,
    });
    // Refusing must not forget.
    await expect(openStore('a')).rejects.toThrow('shard 3 went back from offset 12 to 5');
    await rm(side);
    const accepted = await openStore('a');
    expect(accepted.state(3).tail).toBe(5);
    await accepted.append({ shard: 3, entries: new EntryWriter(3).continueFrom(accepted.state(3)).take(1), rows: [] });
    await accepted.close();
    expect((await openStore('a')).state(3).tail).toBe(6);
  });

  it('refuses a database that was wiped beside its side file', async () => {
    const store = await openStore('a');
    await store.append({ shard: 3, entries: new EntryWriter(3).take(5), rows: [] });
    await store.close();
    await rm(join(root, 'a', 'db'), { recursive: true });
    await expect(openStore('a')).rejects.toThrow('shard 3 went back from offset 5 to 0');
  });

  it('does not take unsynced entries lost in a crash for a step backwards', async () => {
    const store = await openStore('a', { kind: 'os' });
    const writer = new EntryWriter(0);
    await store.append({ shard: 0, entries: writer.take(5), rows: [] });
    await store.sync();
    const [log] = await files('a', '.log');
    const { size } = await stat(log);
    await store.append({ shard: 0, entries: writer.take(5), rows: [] });
    await copyLiving(join(root, 'a'), join(root, 'crashed'));
    await truncate((await files('crashed', '.log'))[0], size);
    expect((await openStore('crashed')).state(0).tail).toBe(5);
  });

  it('finds flipped bits in the tables of the database, whatever they hit', async () => {
    const store = await openStore('a', { kind: 'os' }, { writeBufferBytes: 64 * 1024 });
    const writer = new EntryWriter(0);
    for (let i = 0; i < 60; i++) await store.append({ shard: 0, entries: writer.take(10), rows: [] });
    await store.close();
    const [table] = await files('a', '.ldb');
    const { size } = await stat(table);
    let found = 0;
    const flips = 16;
    for (let i = 0; i < flips; i++) {
      const name = `flip-${i}`;
      await cp(join(root, 'a'), join(root, name), { recursive: true });
      await flip((await files(name, '.ldb'))[0], Math.floor(((i + 0.5) * size) / flips));
      const copy = await openStore(name).catch((error: unknown) => error);
      if (!(copy instanceof LevelLogStore)) {
        expect(copy).toMatchObject({ name: 'StorageFailedError' });
        found++;
        continue;
      }
      const { damages } = await copy.scrub(0, NEVER, 0);
      const open = copy.openDamages();
      if (damages.length + open.length > 0) found++;
      await expectNeverServed(copy, damages);
      await copy.close();
    }
    // A flip may hit bytes nobody reads: filters, or a key's restart point.
    expect(found).toBeGreaterThan(flips / 2);
  }, 30_000);

  it('names what an unreadable block held, entry by entry, and serves what lies around it', async () => {
    const store = await openStore('a', { kind: 'os' }, { writeBufferBytes: 64 * 1024 });
    const writer = new EntryWriter(0);
    for (let i = 0; i < 60; i++) await store.append({ shard: 0, entries: writer.take(10), rows: [] });
    await store.close();
    await overwriteBlock((await files('a', '.ldb'))[0]);
    const copy = await openStore('a');
    const { damages, entries } = await copy.scrub(0, NEVER, 0);
    expect(damages.length).toBeGreaterThan(5);
    expect(entries).toBe(600 - damages.length);
    expect(damages).toEqual(
      damages.map((_, i) => ({ shard: 0, offset: damages[0].offset + i, problem: 'unreadable' })),
    );
    await expectNeverServed(copy, damages);
    await expect(copy.scan(0, 1, 1_000, 10_000_000)).rejects.toMatchObject({ damage: damages[0] });
    expect(await copy.scan(0, 1, damages[0].offset - 1, 10_000_000)).toHaveLength(damages[0].offset - 1);
  });

  it('never leaves out rows of an unreadable block', async () => {
    const store = await openStore('a', { kind: 'os' }, { writeBufferBytes: 64 * 1024 });
    for (let i = 0; i < 40; i++) {
      const rows = Array.from({ length: 50 }, (_, j) => ({
        key: documentKey(1, 2, 3, `${i}-${j}`),
        value: new Uint8Array(100),
      }));
      await store.append({ shard: 2, entries: [], rows });
    }
    await store.close();
    await overwriteBlock((await files('a', '.ldb'))[0]);
    const copy = await openStore('a');
    const all = async (): Promise<number> => {
      let count = 0;
      for (let after: Uint8Array | undefined; ;) {
        const page = await copy.rows(documentPrefix(1, 2), after, 30);
        count += page.length;
        if (page.length < 30) return count;
        after = page[page.length - 1].key;
      }
    };
    await expect(all()).rejects.toMatchObject({ damage: { shard: 2, offset: 0, problem: 'unreadable' } });
  });

  it('finds flipped bits in the log file of the database: entries lost between others, or a step backwards', async () => {
    const store = await openStore('a');
    const writer = new EntryWriter(0);
    for (let i = 0; i < 100; i++) await store.append({ shard: 0, entries: writer.take(5), rows: [] });
    await copyLiving(join(root, 'a'), join(root, 'crashed'));
    await store.close();
    await cp(join(root, 'a', 'tail.side'), join(root, 'crashed', 'tail.side'));
    const [log] = await files('crashed', '.log');
    const { size } = await stat(log);
    for (let i = 0; i < 12; i++) {
      const name = `flip-${i}`;
      await cp(join(root, 'crashed'), join(root, name), { recursive: true });
      await flip((await files(name, '.log'))[0], Math.floor(((i + 0.5) * size) / 12));
      const copy = await openStore(name).catch((error: unknown) => error);
      if (!(copy instanceof LevelLogStore)) {
        expect(copy).toMatchObject({
          name: 'StorageFailedError',
          message: expect.stringContaining('shard 0 went back'),
        });
        continue;
      }
      const { damages } = await copy.scrub(0, NEVER, 0);
      expect(damages.length + copy.openDamages().length).toBeGreaterThan(0);
      await expectNeverServed(copy, damages);
      await copy.close();
    }
  }, 30_000);

  it('says that another process uses the directory', async () => {
    await openStore('a');
    await expect(openStore('a')).rejects.toThrow(/^another process uses this data directory \(.*a\/db is locked\)/);
    await mkdir(join(root, 'b'));
    const holder = fork(join(import.meta.dirname, '../../../../test/contract/hold-level.mjs'), [join(root, 'b', 'db')]);
    try {
      await new Promise((resolve, reject) => {
        holder.once('message', resolve);
        holder.once('exit', (code) => reject(new Error(`the holder ended with ${code}`)));
      });
      await expect(openStore('b')).rejects.toMatchObject({
        name: 'StorageFailedError',
        message: expect.stringContaining('another process uses this data directory'),
      });
    } finally {
      holder.removeAllListeners('exit');
      const gone = new Promise((resolve) => holder.once('exit', resolve));
      holder.kill('SIGKILL');
      await gone;
    }
    await openStore('b');
  });

  it('says what to do when the database is damaged beyond opening', async () => {
    const store = await openStore('a');
    await store.append({ shard: 0, entries: new EntryWriter(0).take(3), rows: [] });
    await store.close();
    const current = join(root, 'a', 'db', 'CURRENT');
    const before = await readFile(current);
    await writeFile(current, 'MANIFEST-999999\n');
    await expect(openStore('a')).rejects.toThrow(/db cannot be opened: .*Restore the data directory from a backup/);
    await rm(current);
    await expect(openStore('a')).rejects.toThrow(/lacks its file CURRENT but holds data/);
    await writeFile(current, before);
    expect((await openStore('a')).state(0).tail).toBe(3);
  });

  it('says what to check when the directory cannot be used', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(openStore('file')).rejects.toMatchObject({
      name: 'StorageFailedError',
      message: expect.stringContaining('Check that the directory can be written'),
    });
  });

  it('warns of a damaged side file and goes on', async () => {
    const store = await openStore('a');
    await store.append({ shard: 0, entries: new EntryWriter(0).take(3), rows: [] });
    await store.close();
    await writeFile(join(root, 'a', 'tail.side'), Buffer.alloc(128 * 1024, 1));
    expect((await openStore('a')).state(0).tail).toBe(3);
    expect(warnings).toEqual([expect.stringContaining('is damaged')]);
  });

  /** What the scrub names is never served; all else reads well. */
  async function expectNeverServed(store: LevelLogStore, damages: readonly Damage[]): Promise<void> {
    const bad = new Set(damages.map(({ offset }) => offset));
    const { tail } = store.state(0);
    for (let offset = 1; offset <= tail; offset++) {
      if (bad.has(offset)) {
        // A broken link damages the log, not the entry.
        if (damages.some((damage) => damage.offset === offset && damage.problem === 'chain')) continue;
        await expect(store.read(0, offset)).rejects.toMatchObject({ name: 'LogDamagedError' });
      } else if (bad.size < 100) {
        expect(store.readSync(0, offset)).toHaveLength((await store.read(0, offset)).length);
      }
    }
  }
});

/** Fills the space of about one block in the middle of a table with what is no block. */
async function overwriteBlock(path: string): Promise<void> {
  const { size } = await stat(path);
  const file = await open(path, 'r+');
  try {
    await file.write(new Uint8Array(6_000).fill(0xff), 0, 6_000, Math.floor(size / 2));
  } finally {
    await file.close();
  }
}

async function flip(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = new Uint8Array(1);
    await file.read(byte, 0, 1, at);
    byte[0] ^= 0x04;
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}
