import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ClassicLevel } from 'classic-level';
import { makeDirectory } from '../../../platform/resources/make-directory.js';
import { StorageFailedError } from '../log-store.js';
import type { Row, RowChange } from '../log-store.js';
import { TableReadError } from './table.js';
import type { Table, TableRange, TableView } from './table.js';

/** Settings of LevelDB; sizes in bytes. */
export interface LevelSettings {
  readonly compression: boolean;
  /** For tables beyond the 1 000 that LevelDB maps into memory, or compressed ones: mapped ones are not cached twice. */
  readonly cacheBytes: number;
  /** Twice this is in memory while a full buffer becomes a table. */
  readonly writeBufferBytes: number;
  readonly fileBytesMax: number;
  readonly openFilesMax: number;
}

/**
 * No compression: entries are mostly vectors, which do not shrink, and a flipped bit then damages one entry that the log can
 * name, where it would take a whole compressed block. Larger buffers and tables than LevelDB's own mean fewer rewrites.
 */
export const LEVEL_SETTINGS: LevelSettings = {
  compression: false,
  cacheBytes: 32 * 1024 * 1024,
  writeBufferBytes: 16 * 1024 * 1024,
  fileBytesMax: 8 * 1024 * 1024,
  openFilesMax: 500,
};

/** The table on disk, in LevelDB. */
export class LevelTable implements Table {
  private constructor(
    private readonly db: ClassicLevel<Uint8Array, Uint8Array>,
    private readonly directory: string,
  ) {}

  /**
   * Opens or makes the database in `directory`.
   * @throws StorageFailedError that says what to do
   */
  static async open(directory: string, settings: LevelSettings): Promise<LevelTable> {
    await makeDirectory(directory);
    await refuseHalfDatabase(directory);
    const db = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
      keyEncoding: 'view',
      valueEncoding: 'view',
      compression: settings.compression,
      cacheSize: settings.cacheBytes,
      writeBufferSize: settings.writeBufferBytes,
      maxFileSize: settings.fileBytesMax,
      maxOpenFiles: settings.openFilesMax,
    });
    try {
      await db.open();
    } catch (error) {
      throw openError(directory, error);
    }
    return new LevelTable(db, directory);
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    try {
      return plain(this.db.getSync(key));
    } catch (error) {
      throw readError(error);
    }
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.getFrom(key, undefined);
  }

  range(range: TableRange): Promise<readonly Row[]> {
    return this.rangeFrom(range, undefined);
  }

  async keys({ from, to, limit }: Pick<TableRange, 'from' | 'to' | 'limit'>): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    try {
      const keys = this.db.keys({ gte: from, lt: to, limit, fillCache: false, highWaterMarkBytes: CHECK_BYTES });
      try {
        while (found.length < limit) {
          const more = await keys.nextv(Math.min(limit - found.length, ROWS_PER_CALL));
          if (more.length === 0) break;
          for (const key of more) found.push(view(key));
        }
      } finally {
        await keys.close();
      }
    } catch (error) {
      throw readError(error);
    }
    return found;
  }

  view(): TableView {
    const snapshot = this.db.snapshot();
    return {
      get: (key) => this.getFrom(key, snapshot),
      range: (range) => this.rangeFrom(range, snapshot),
      close: () => snapshot.close(),
    };
  }

  async check(from: Uint8Array, last: Uint8Array): Promise<void> {
    try {
      const keys = this.db.keys({ gte: from, lte: last, fillCache: false, highWaterMarkBytes: CHECK_BYTES });
      try {
        // LevelDB tells of what it skipped when it reaches the end of the range.
        while ((await keys.nextv(ROWS_PER_CALL)).length > 0);
      } finally {
        await keys.close();
      }
    } catch (error) {
      throw readError(error);
    }
  }

  async write(changes: readonly RowChange[], sync: boolean): Promise<void> {
    const batch = this.db.batch();
    let gathered = 0;
    for (const { key, value } of changes) {
      if (value === undefined) batch.del(key);
      else batch.put(key, value);
      // A truncation may change a row for each entry it cuts: others get their turns meanwhile.
      if (++gathered % CHANGES_PER_TURN === 0) await setImmediate();
    }
    await batch.write({ sync });
  }

  /**
   * LevelDB has no such call, and a synced write covers only its current log file: when it starts a new one it closes
   * the one before without a sync. So every log file still there is synced here; one that is gone is in a table, synced.
   */
  async sync(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      if (name.endsWith('.log')) await syncFile(join(this.directory, name));
    }
    await syncFile(this.directory);
  }

  close(): Promise<void> {
    return this.db.close();
  }

  private async getFrom(key: Uint8Array, snapshot: Snapshot | undefined): Promise<Uint8Array | undefined> {
    try {
      return plain(await this.db.get(key, snapshot === undefined ? {} : { snapshot }));
    } catch (error) {
      throw readError(error);
    }
  }

  private async rangeFrom(
    { from, to, limit, bytesMax, reverse = false }: TableRange,
    snapshot: Snapshot | undefined,
  ): Promise<readonly Row[]> {
    const rows: Row[] = [];
    let bytes = 0;
    try {
      // One sweep must not push what searches read out of the cache.
      const iterator = this.db.iterator({
        gte: from,
        lt: to,
        reverse,
        fillCache: false,
        highWaterMarkBytes: Math.min(bytesMax, U32_MAX),
        ...(snapshot === undefined ? {} : { snapshot }),
      });
      try {
        while (rows.length < limit && bytes < bytesMax) {
          const more = await iterator.nextv(Math.min(limit - rows.length, ROWS_PER_CALL));
          if (more.length === 0) break;
          for (const [key, value] of more) {
            rows.push({ key: view(key), value: view(value) });
            bytes += key.length + value.length;
          }
        }
      } finally {
        await iterator.close();
      }
    } catch (error) {
      throw readError(error);
    }
    return rows;
  }
}

type Snapshot = ReturnType<ClassicLevel<Uint8Array, Uint8Array>['snapshot']>;

const ROWS_PER_CALL = 4_096;
const CHANGES_PER_TURN = 16_384;
const U32_MAX = 0xffff_ffff;
const CHECK_BYTES = 1024 * 1024;

async function syncFile(path: string): Promise<void> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** LevelDB takes a directory without CURRENT for a new one and deletes the tables it finds there. */
async function refuseHalfDatabase(directory: string): Promise<void> {
  const names = await readdir(directory);
  if (names.includes('CURRENT') || !names.some((name) => /\.(?:ldb|sst|log)$/.test(name))) return;
  throw new StorageFailedError(
    `the database in ${directory} lacks its file CURRENT but holds data: it is damaged. ${WHAT_TO_DO}`,
  );
}

const WHAT_TO_DO =
  'Restore the data directory from a backup, or start with an empty one and let another replica fill it.';

/** What LevelDB says of the system's refusals: nothing is known against the data. */
const OF_THE_SYSTEM = /permission denied|not permitted|read-only|no space|too many open files/i;
const WHAT_TO_CHECK =
  'Check the owner and the rights of the directory, the room on its disk and the limit of open files; the data in it may well be sound.';

function openError(directory: string, error: unknown): StorageFailedError {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  if (codeOf(cause) === 'LEVEL_LOCKED') {
    return new StorageFailedError(
      `another process uses this data directory (${directory} is locked). Stop it, or give this node a directory of its own.`,
      { cause },
    );
  }
  const problem = messageOf(cause);
  const advice = OF_THE_SYSTEM.test(problem) ? WHAT_TO_CHECK : WHAT_TO_DO;
  return new StorageFailedError(`the database in ${directory} cannot be opened: ${problem}. ${advice}`, { cause });
}

/** A corrupt block or a failing read concerns what was asked for; anything else, such as a closed database, does not. */
function readError(error: unknown): Error {
  const code = codeOf(error);
  if (code === 'LEVEL_CORRUPTION' || code === 'LEVEL_IO_ERROR')
    return new TableReadError(messageOf(error), { cause: error });
  return new StorageFailedError(`the database cannot be read: ${messageOf(error)}`, { cause: error });
}

// The addon's errors may come from another realm than ours, so their class says nothing.

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}

function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}

/** LevelDB hands out Buffers, whose `slice` is a view and which compare unequal to plain bytes. */
function view(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function plain(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes === undefined ? undefined : view(bytes);
}
