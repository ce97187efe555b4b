import type { Hasher } from '../../../kernel/hasher.js';
import { verifyEntry } from '../core/entry-codec.js';
import { entryKey } from '../core/keys.js';
import { openRow } from '../core/log-records.js';
import { LogDamagedError, OffsetCompactedError } from '../log-store.js';
import type { Damage, LogState, LogView, Row } from '../log-store.js';
import { readRecords } from './open-log.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table, TableView } from './table.js';

/** One shard's part of a view of the table; takes the view over. */
export async function openLogView(view: TableView, table: Table, hasher: Hasher, shard: number): Promise<LogView> {
  try {
    const records = await named(shard, 0, () => readRecords(view, hasher, shard));
    if ('problem' in records) throw new LogDamagedError(records);
    return new TableLogView(view, table, hasher, shard, records.state);
  } catch (error) {
    await view.close();
    throw error;
  }
}

class TableLogView implements LogView {
  constructor(
    private readonly view: TableView,
    private readonly table: Table,
    private readonly hasher: Hasher,
    private readonly shard: number,
    readonly state: LogState,
  ) {}

  async row(key: Uint8Array): Promise<Uint8Array | undefined> {
    const sealed = await named(this.shard, 0, () => this.view.get(key));
    return sealed === undefined ? undefined : this.opened(key, sealed);
  }

  async rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]> {
    const from = after === undefined ? prefix : keyAfter(after);
    const rows = await named(this.shard, 0, async () => {
      const found = await this.view.range({ from, to: prefixEnd(prefix), limit, bytesMax: Number.MAX_SAFE_INTEGER });
      if (found.length === limit) await this.table.check(from, found[found.length - 1].key);
      return found;
    });
    return rows.map(({ key, value }) => ({ key, value: this.opened(key, value) }));
  }

  async read(offset: number): Promise<Uint8Array> {
    const { shard, state } = this;
    const bytes = await named(shard, offset, () => this.view.get(entryKey(shard, offset, state.generation)));
    if (bytes === undefined) {
      if (offset <= state.start.offset) throw new OffsetCompactedError(shard, offset, state.start.offset);
      throw damaged(shard, offset, 'missing');
    }
    const problem = verifyEntry(bytes, this.hasher, { shard, offset });
    if (problem !== undefined) throw damaged(shard, offset, problem);
    return bytes;
  }

  close(): Promise<void> {
    return this.view.close();
  }

  private opened(key: Uint8Array, sealed: Uint8Array): Uint8Array {
    const value = openRow(key, sealed, this.hasher);
    if (value === undefined) throw damaged(this.shard, 0, 'crc');
    return value;
  }
}

function damaged(shard: number, offset: number, problem: Damage['problem'], cause?: unknown): LogDamagedError {
  return new LogDamagedError({ shard, offset, problem }, cause);
}

/** What cannot be read is damage of this shard. */
async function named<T>(shard: number, offset: number, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof TableReadError ? damaged(shard, offset, 'unreadable', error) : error;
  }
}
