import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LevelLogStore } from '../../src/modules/log/adapters/level-log-store.js';
import { LEVEL_SETTINGS, LevelTable } from '../../src/modules/log/adapters/level-table.js';
import { copyLiving } from '../../src/modules/log/testing/living-copy.js';
import { MemoryLogStore } from '../../src/modules/log/adapters/memory-log-store.js';
import type { MemoryImage } from '../../src/modules/log/adapters/memory-table.js';
import type { LogStore } from '../../src/modules/log/log-store.js';
import { nodeHasher } from '../../src/platform/crypto/node-hasher.js';
import { logStoreContract } from './log-store.suite.js';
import { logBranchContract, type BranchHarness } from './log-branches.suite.js';
import type { OpenOptions } from './log-store.suite.js';

class MemoryHarness implements BranchHarness {
  readonly many = 6_000;
  private readonly stores: MemoryLogStore[] = [];

  async open({ fsync = 'always', ...options }: OpenOptions = {}): Promise<LogStore> {
    return this.keep(await MemoryLogStore.open({ ...options, hasher: nodeHasher, fsync: { kind: fsync } }));
  }

  async reopen(store: LogStore): Promise<LogStore> {
    await store.close();
    return this.keep(await this.own(store).reopen());
  }

  async crash(store: LogStore): Promise<LogStore> {
    return this.keep(await this.own(store).crash());
  }

  async damage(store: LogStore, key: Uint8Array, at: number | undefined): Promise<LogStore> {
    // What it still does in the background would write over the damage.
    await store.close();
    if (!this.own(store).tamper(key, at)) throw new Error('there is nothing to damage');
    return this.reopen(store);
  }

  image(store: LogStore): Promise<MemoryImage> {
    return Promise.resolve(this.own(store).image());
  }

  async goBack(store: LogStore, image: unknown): Promise<LogStore> {
    return this.keep(await this.own(store).goBack(image as MemoryImage));
  }

  breakDisk(store: LogStore): Promise<void> {
    this.own(store).failNextAppend();
    return Promise.resolve();
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }

  private keep(store: MemoryLogStore): MemoryLogStore {
    this.stores.push(store);
    return store;
  }

  private own(store: LogStore): MemoryLogStore {
    const own = this.stores.find((candidate) => candidate === store);
    if (own === undefined) throw new Error('not a store of this harness');
    return own;
  }
}

/** Every store has a directory of its own; a crash copies it away from under the living store. */
class LevelHarness implements BranchHarness {
  readonly many = 100_000;
  private readonly opened = new Map<LogStore, { directory: string; options: OpenOptions }>();
  private root: string | undefined;
  private made = 0;

  async open(options: OpenOptions = {}): Promise<LogStore> {
    return this.openAt(await this.directory(), options);
  }

  async reopen(store: LogStore): Promise<LogStore> {
    const { directory, options } = this.find(store);
    await store.close();
    return this.openAt(directory, options);
  }

  async crash(store: LogStore): Promise<LogStore> {
    const { directory, options } = this.find(store);
    const copy = await this.directory();
    await copyLiving(directory, copy);
    return this.openAt(copy, options);
  }

  async damage(store: LogStore, key: Uint8Array, at: number | undefined): Promise<LogStore> {
    const { directory, options } = this.find(store);
    await store.close();
    const table = await LevelTable.open(join(directory, 'db'), LEVEL_SETTINGS);
    const value = table.getSync(key);
    if (value === undefined) throw new Error('there is nothing to damage');
    if (at !== undefined) value[at] ^= 1;
    await table.write([{ key, value: at === undefined ? undefined : value }], true);
    await table.close();
    return this.openAt(directory, options);
  }

  async image(store: LogStore): Promise<string> {
    const copy = await this.directory();
    await copyLiving(join(this.find(store).directory, 'db'), copy);
    return copy;
  }

  async goBack(store: LogStore, image: unknown): Promise<LogStore> {
    const { directory, options } = this.find(store);
    await store.close();
    await rm(join(directory, 'db'), { recursive: true });
    await cp(image as string, join(directory, 'db'), { recursive: true });
    return this.openAt(directory, options);
  }

  /** Without its directory LevelDB fails as soon as it needs a new file. */
  async breakDisk(store: LogStore): Promise<void> {
    await rm(join(this.find(store).directory, 'db'), { recursive: true });
  }

  async dispose(): Promise<void> {
    for (const store of this.opened.keys()) await store.close();
    if (this.root !== undefined) await rm(this.root, { recursive: true });
  }

  private async openAt(directory: string, options: OpenOptions): Promise<LogStore> {
    const store = await LevelLogStore.open({
      directory,
      fsync: { kind: options.fsync ?? 'always' },
      hasher: nodeHasher,
      onFailure: options.onFailure ?? ((error) => expectNone(error)),
      onWarning: expectNone,
      settings: { writeBufferBytes: 64 * 1024 },
      ...(options.pace === undefined ? {} : { pace: options.pace }),
      ...(options.regressed === undefined ? {} : { regressed: options.regressed }),
    });
    this.opened.set(store, { directory, options });
    return store;
  }

  private async directory(): Promise<string> {
    this.root ??= await mkdtemp(join(tmpdir(), 'spector-log-'));
    return join(this.root, String(this.made++));
  }

  private find(store: LogStore): { directory: string; options: OpenOptions } {
    const found = this.opened.get(store);
    if (found === undefined) throw new Error('not a store of this harness');
    return found;
  }
}

function expectNone(unexpected: unknown): void {
  throw unexpected instanceof Error ? unexpected : new Error(String(unexpected));
}

logStoreContract('MemoryLogStore', () => new MemoryHarness());
logStoreContract('LevelLogStore', () => new LevelHarness());
logBranchContract('MemoryLogStore', () => new MemoryHarness());
logBranchContract('LevelLogStore', () => new LevelHarness());
