import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Hasher } from '../../../kernel/hasher.js';
import { makeDirectory } from '../../../platform/resources/make-directory.js';
import { StorageFailedError } from '../log-store.js';
import type { CommitMeasure, CommitPolicy } from './group-commit.js';
import { LEVEL_SETTINGS, LevelTable } from './level-table.js';
import type { LevelSettings } from './level-table.js';
import { openLog, refuseStepsBackwards, stepsBackwards } from './open-log.js';
import { NODE_PACE } from './pace.js';
import type { Pace } from './pace.js';
import { SideFile } from './side-file.js';
import { TableLogStore } from './table-log-store.js';
import type { TableLogOptions } from './table-log-store.js';
import type { OpenedLog } from './open-log.js';

export interface LevelLogOptions {
  /** Made when missing. Holds the database (`db/`) and the side file (`tail.side`). */
  readonly directory: string;
  readonly fsync: CommitPolicy;
  readonly hasher: Hasher;
  /** Called once, when a write or sync failed: the node must stop with exit code 74 (replication 2.6). */
  readonly onFailure: (error: StorageFailedError) => void;
  /** A sentence for the operator about something that does not stop the log. */
  readonly onWarning: (message: string) => void;
  /** For the metrics: a batch went down, its sync included. */
  readonly onCommit?: (batch: CommitMeasure) => void;
  /**
   * What to do with a log that ends before the offset its side file remembers (replication 2.6): a node alone refuses to
   * start, a node of a cluster is told by `regressions` and retires its uuid (5.8). Default `refuse`.
   */
  readonly regressed?: 'refuse' | 'report';
  readonly settings?: Partial<LevelSettings>;
  readonly pace?: Pace;
}

/** The log on disk: one LevelDB for all shards of a node. */
export class LevelLogStore extends TableLogStore {
  private constructor(options: TableLogOptions, opened: OpenedLog) {
    super(options, opened);
  }

  /**
   * Opens the log, checking the end of every shard. Damage there fails its shard (`openDamages`), not the node.
   * @throws StorageFailedError when the database is in use, cannot be opened, or went back behind its side file
   */
  static async open(options: LevelLogOptions): Promise<LevelLogStore> {
    const { directory, hasher } = options;
    const table = await openTable(directory, options);
    let side: SideFile | undefined;
    try {
      const opened = await openLog(table, hasher);
      side = await SideFile.open(join(directory, 'tail.side'), hasher, options.onWarning);
      const regressions = stepsBackwards(opened, side.records());
      if (options.regressed !== 'report') refuseStepsBackwards(regressions, side.path);
      // What survived until now was written into tables and synced when the database was opened.
      for (const [shard, state] of opened.states) side.note(shard, state.tail);
      return new LevelLogStore(
        {
          table,
          hasher,
          side,
          regressions,
          policy: options.fsync,
          pace: options.pace ?? NODE_PACE,
          onFailure: options.onFailure,
          onCommit: options.onCommit,
          turn: () => setImmediate(),
        },
        opened,
      );
    } catch (error) {
      await side?.abandon();
      await table.close();
      throw error instanceof StorageFailedError ? error : unusable(directory, error);
    }
  }
}

async function openTable(directory: string, options: LevelLogOptions): Promise<LevelTable> {
  try {
    await makeDirectory(directory);
    return await LevelTable.open(join(directory, 'db'), { ...LEVEL_SETTINGS, ...options.settings });
  } catch (error) {
    throw error instanceof StorageFailedError ? error : unusable(directory, error);
  }
}

function unusable(directory: string, error: unknown): StorageFailedError {
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageFailedError(
    `the log in ${directory} cannot be opened: ${reason}. Check that the directory can be written by this user and that its disk is sound.`,
    { cause: error },
  );
}
