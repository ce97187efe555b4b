import type { Hasher } from '../../../src/kernel/hasher.js';
import { openLog } from '../../../src/modules/log/adapters/open-log.js';
import type { Table } from '../../../src/modules/log/adapters/table.js';
import { TableLogStore } from '../../../src/modules/log/adapters/table-log-store.js';
import type { StorageFailedError } from '../../../src/modules/log/log-store.js';

export interface SimLogOptions {
  readonly hasher: Hasher;
  readonly onFailure: (error: StorageFailedError) => void;
}

/** The production log over a simulated disk. */
export class SimLogStore extends TableLogStore {
  static async open(table: Table, options: SimLogOptions): Promise<SimLogStore> {
    return new SimLogStore(table, options, await openLog(table, options.hasher));
  }

  private constructor(table: Table, options: SimLogOptions, opened: Awaited<ReturnType<typeof openLog>>) {
    super(
      {
        table,
        hasher: options.hasher,
        policy: { kind: 'always' },
        pace: { monotonicMs: () => 0, sleep: () => Promise.resolve() },
        onFailure: options.onFailure,
        side: undefined,
        turn: () => Promise.resolve(),
      },
      opened,
    );
  }
}
