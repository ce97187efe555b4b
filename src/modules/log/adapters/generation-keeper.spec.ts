import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { entryPrefix } from '../core/keys.js';
import { FIRST_GENERATIONS } from '../core/log-records.js';
import type { RowChange } from '../log-store.js';
import { GenerationKeeper } from './generation-keeper.js';
import { GroupCommit } from './group-commit.js';
import { MemoryTable } from './memory-table.js';
import { prefixEnd } from './table.js';

const SHARD = 3;

/** A table whose writes wait until they are let go. */
class HeldTable extends MemoryTable {
  held: Promise<void> | undefined;

  override async write(changes: readonly RowChange[], sync: boolean): Promise<void> {
    await this.held;
    await super.write(changes, sync);
  }
}

describe('GenerationKeeper', () => {
  it('clears nothing of a generation that begins meanwhile, and all of it once it is discarded', async () => {
    const table = new HeldTable();
    const commits = new GroupCommit(
      table,
      { kind: 'always' },
      {
        recordsOf: () => [],
        committed: () => undefined,
        measured: () => undefined,
        synced: () => undefined,
        failed: (error) => {
          throw error;
        },
      },
      () => Promise.resolve(),
    );
    const keeper = new GenerationKeeper(table, commits, nodeHasher, new Map([[SHARD, FIRST_GENERATIONS]]));
    await keeper.begin(SHARD);
    await keeper.discard(SHARD);
    // Its clearing runs while the record of the next one is on its way to the disk.
    let letGo: () => void = () => undefined;
    table.held = new Promise((resolve) => (letGo = resolve));
    const beginning = keeper.begin(SHARD);
    for (let i = 0; i < 100; i++) await Promise.resolve();
    table.held = undefined;
    letGo();
    const generation = await beginning;
    await keeper.idle();
    const key = new Uint8Array([...entryPrefix(SHARD, generation), 1]);
    const changes = [{ key, value: new Uint8Array(1) }];
    await commits.commit({ shard: SHARD, changes, state: undefined, entries: 0, bytes: 1, sync: true });
    expect(keeper.staged(SHARD)).toBe(generation);
    const left = (): Promise<readonly Uint8Array[]> => {
      const from = entryPrefix(SHARD, generation);
      return table.keys({ from, to: prefixEnd(from), limit: 9 });
    };
    expect(await left()).toHaveLength(1);
    await keeper.discard(SHARD);
    await keeper.idle();
    expect(await left()).toHaveLength(0);
  });
});
