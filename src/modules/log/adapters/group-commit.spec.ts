import { describe, expect, it } from '@jest/globals';
import { utf8 } from '../../../kernel/bytes.js';
import { EMPTY_LOG } from '../core/log-state.js';
import type { RowChange, StorageFailedError } from '../log-store.js';
import { GroupCommit } from './group-commit.js';
import type { CommitPolicy, CommitUnit } from './group-commit.js';
import { MemoryTable } from './memory-table.js';

/** A table that notes what is asked of it and writes when let go. */
class HeldTable extends MemoryTable {
  readonly calls: string[] = [];
  private release: () => void = () => undefined;
  private held: Promise<void> | undefined;
  syncError: Error | undefined;

  hold(): void {
    this.held = new Promise((resolve) => (this.release = resolve));
  }

  letGo(): void {
    this.release();
    this.held = undefined;
  }

  override async write(changes: readonly RowChange[], sync: boolean): Promise<void> {
    this.calls.push(`${sync ? 'sync ' : ''}write ${changes.length}`);
    await this.held;
    await super.write(changes, sync);
  }

  override async sync(): Promise<void> {
    this.calls.push('sync');
    if (this.syncError !== undefined) throw this.syncError;
    await super.sync();
  }
}

function rig(policy: CommitPolicy) {
  const table = new HeldTable();
  const failures: StorageFailedError[] = [];
  const events: string[] = [];
  const commits = new GroupCommit(
    table,
    policy,
    {
      recordsOf: (shard, state) => [{ key: utf8(`tail-${shard}`), value: utf8(String(state.tail)) }],
      committed: (states) => events.push(...[...states].map(([shard, { tail }]) => `${shard}:${tail}`)),
      measured: () => undefined,
      synced: () => events.push('synced'),
      failed: (error) => failures.push(error),
    },
    () => Promise.resolve(),
  );
  return { table, failures, events, commits };
}

function unit(shard: number, tail: number, options: Partial<CommitUnit> = {}): CommitUnit {
  const changes = [{ key: utf8(`${shard}/${tail}`), value: utf8('entry') }];
  return { shard, changes, state: { ...EMPTY_LOG, tail }, entries: 1, bytes: 100, sync: false, ...options };
}

describe('GroupCommit', () => {
  it('has one batch in flight; what comes meanwhile shares the next one and its sync', async () => {
    const { table, commits, events } = rig({ kind: 'always' });
    table.hold();
    const first = [commits.commit(unit(1, 1)), commits.commit(unit(2, 1))];
    await Promise.resolve();
    await Promise.resolve();
    const rest = [commits.commit(unit(1, 2)), commits.commit(unit(1, 3)), commits.commit(unit(3, 1))];
    expect(table.calls).toEqual(['sync write 4']);
    expect(commits.stats()).toMatchObject({ batches: 0, pending: 5, pendingBytes: 500 });
    table.letGo();
    await Promise.all([...first, ...rest]);
    // Entries, then one record for each shard of the batch.
    expect(table.calls).toEqual(['sync write 4', 'sync write 5']);
    expect(table.getSync(utf8('tail-1'))).toEqual(utf8('3'));
    expect(events).toEqual(['1:1', '2:1', 'synced', '1:3', '3:1', 'synced']);
    expect(commits.stats()).toEqual({ batches: 2, entries: 5, bytes: 500, syncs: 2, pending: 0, pendingBytes: 0 });
  });

  it('bounds a batch by bytes and entries, but lets a larger unit through alone', async () => {
    const { table, commits } = rig({ kind: 'always' });
    const mebi = 1024 * 1024;
    await Promise.all([20, 5, 3, 1].map((size, i) => commits.commit(unit(i, 1, { bytes: size * mebi }))));
    expect(table.calls).toEqual(['sync write 2', 'sync write 4', 'sync write 2']);
    table.calls.length = 0;
    await Promise.all([4_000, 96, 1].map((entries, i) => commits.commit(unit(i, 2, { entries }))));
    expect(table.calls).toEqual(['sync write 4', 'sync write 2']);
  });

  it('syncs under `os` only when asked, and then before it answers', async () => {
    const { table, commits, events } = rig({ kind: 'os' });
    await commits.commit(unit(1, 1));
    expect(events).toEqual(['1:1']);
    await commits.sync();
    await commits.sync();
    await commits.commit(unit(1, 2, { sync: true }));
    expect(table.calls).toEqual(['write 2', 'sync', 'write 2', 'sync']);
    expect(events).toEqual(['1:1', 'synced', 'synced', '1:2', 'synced']);
  });

  it('syncs under `interval` after a while, once for all', async () => {
    const { table, commits } = rig({ kind: 'interval', ms: 5 });
    await commits.commit(unit(1, 1));
    await commits.commit(unit(1, 2));
    expect(commits.stats().syncs).toBe(0);
    while (commits.stats().syncs === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(table.calls).toEqual(['write 2', 'write 2', 'sync']);
    await commits.close();
    expect(table.calls).toHaveLength(3);
  });

  it('never goes on after a failed write', async () => {
    const { table, commits, failures, events } = rig({ kind: 'always' });
    table.failNextWrite(new Error('no space left on device'));
    const results = await Promise.allSettled([commits.commit(unit(1, 1)), commits.commit(unit(2, 1))]);
    await Promise.resolve();
    const later = await Promise.allSettled([commits.commit(unit(1, 2)), commits.sync()]);
    for (const result of [...results, ...later]) expect(result).toEqual({ status: 'rejected', reason: failures[0] });
    expect(failures).toHaveLength(1);
    expect(failures[0].message).toBe(
      'the log cannot be written (no space left on device); the node stops so that nothing is lost',
    );
    expect(table.calls).toHaveLength(1);
    expect(events).toEqual([]);
    await commits.close();
  });

  it('never retries a failed sync, also one nobody waits for', async () => {
    const { table, commits, failures } = rig({ kind: 'interval', ms: 1 });
    table.syncError = new Error('i/o error');
    await commits.commit(unit(1, 1));
    while (failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await expect(commits.commit(unit(1, 2))).rejects.toBe(failures[0]);
    await commits.close();
    expect(table.calls).toEqual(['write 2', 'sync']);
    expect(failures).toHaveLength(1);
  });

  it('closes after what was asked for, synced', async () => {
    const { table, commits } = rig({ kind: 'os' });
    const append = commits.commit(unit(1, 1));
    const closed = commits.close();
    await expect(commits.commit(unit(1, 2))).rejects.toThrow('the log is closed');
    await append;
    await closed;
    expect(table.calls).toEqual(['write 2', 'sync']);
  });
});
