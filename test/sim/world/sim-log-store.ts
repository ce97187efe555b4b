import type { Hasher } from '../../../src/kernel/hasher.js';
import { openLog, stepsBackwards } from '../../../src/modules/log/adapters/open-log.js';
import type { SideMemory } from '../../../src/modules/log/adapters/side-memory.js';
import type { Table } from '../../../src/modules/log/adapters/table.js';
import { TableLogStore } from '../../../src/modules/log/adapters/table-log-store.js';
import type { StorageFailedError } from '../../../src/modules/log/log-store.js';

export interface SimLogOptions {
  readonly hasher: Hasher;
  /** What the disk remembers beside its database. */
  readonly side: SideMemory;
  readonly onFailure: (error: StorageFailedError) => void;
}

/** The production log over a simulated disk. */
export class SimLogStore extends TableLogStore {
  static async open(table: Table, options: SimLogOptions): Promise<SimLogStore> {
    const opened = await openLog(table, options.hasher);
    for (const [shard, { tail }] of opened.states) options.side.note(shard, tail);
    return new SimLogStore(table, options, opened);
  }

  private constructor(table: Table, options: SimLogOptions, opened: Awaited<ReturnType<typeof openLog>>) {
    super(
      {
        table,
        hasher: options.hasher,
        policy: { kind: 'always' },
        pace: { monotonicMs: () => 0, sleep: () => Promise.resolve() },
        onFailure: options.onFailure,
        side: options.side,
        regressions: stepsBackwards(opened, options.side.records()),
        turn: () => Promise.resolve(),
      },
      opened,
    );
  }
}
