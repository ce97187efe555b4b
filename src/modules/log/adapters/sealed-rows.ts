import { assert } from '../../../kernel/assert.js';
import { readU32 } from '../../../kernel/big-endian.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { shardKey } from '../core/keys.js';
import { openRow, RECORD_NAMES, sealRow } from '../core/log-records.js';
import { LogDamagedError, StorageFailedError } from '../log-store.js';
import type { Damage, Row, RowChange } from '../log-store.js';
import { keyAfter, prefixEnd, TableReadError } from './table.js';
import type { Table } from './table.js';

const TAG_ENTRY = 0x65;
const TAG_LATER_ENTRY = 0x66;
/** `d!`, `f!`, `j!`: a generation comes before the shard. */
const TAGS_OF_GENERATIONS = [0x64, TAG_LATER_ENTRY, 0x6a];
const TAG_NODE = 0x6e;
const TAG_SHARD = 0x6d;

/** Rows and records beside the entries: each is sealed when it is written and opened when it is read (replication 2.2). */
export class SealedRows {
  constructor(
    private readonly table: Table,
    private readonly hasher: Hasher,
  ) {}

  /** See `LogStore.row`. */
  row(key: Uint8Array): Uint8Array | undefined {
    let sealed;
    try {
      sealed = this.table.getSync(key);
    } catch (error) {
      throw error instanceof TableReadError ? rowError(key, 'unreadable', error) : error;
    }
    return sealed === undefined ? undefined : this.#opened(key, sealed);
  }

  /** See `LogStore.rows`. */
  async rows(prefix: Uint8Array, after: Uint8Array | undefined, limit: number): Promise<readonly Row[]> {
    const from = after === undefined ? prefix : keyAfter(after);
    let rows;
    try {
      rows = await this.table.range({ from, to: prefixEnd(prefix), limit, bytesMax: Number.MAX_SAFE_INTEGER });
      if (rows.length === limit) await this.table.check(from, rows[rows.length - 1].key);
    } catch (error) {
      throw error instanceof TableReadError ? rowError(from, 'unreadable', error) : error;
    }
    return rows.map(({ key, value }) => ({ key, value: this.#opened(key, value) }));
  }

  /** The changes that write a caller's rows. */
  sealed(rows: readonly RowChange[]): RowChange[] {
    const changes: RowChange[] = [];
    this.sealInto(changes, rows);
    return changes;
  }

  /** @returns bytes of keys and values */
  sealInto(changes: RowChange[], rows: readonly RowChange[]): number {
    let bytes = 0;
    for (const { key, value } of rows) {
      assertCallersRow(key);
      changes.push({ key, value: value === undefined ? undefined : sealRow(key, value, this.hasher) });
      bytes += key.length + (value?.length ?? 0);
    }
    return bytes;
  }

  /** The change that writes one of the log's own records of a shard. */
  record(shard: number, name: string, value: Uint8Array): RowChange {
    const key = shardKey(shard, name);
    return { key, value: sealRow(key, value, this.hasher) };
  }

  #opened(key: Uint8Array, sealed: Uint8Array): Uint8Array {
    const value = openRow(key, sealed, this.hasher);
    if (value === undefined) throw rowError(key, 'crc');
    return value;
  }
}

/** A damaged row fails its shard (offset 0: no entry's); one of the node's own fails the node. */
function rowError(key: Uint8Array, problem: Damage['problem'], cause?: unknown): Error {
  if (key[0] === TAG_NODE) {
    return new StorageFailedError(
      `a record of the node itself is damaged (${problem}). Restore the data directory from a backup, or start with an empty one and let another replica fill it.`,
      { cause },
    );
  }
  const at = TAGS_OF_GENERATIONS.includes(key[0]) ? 6 : 2;
  const shard = key.length < at + 4 ? 0 : readU32(key, at);
  return new LogDamagedError({ shard, offset: 0, problem }, cause);
}

/** Callers write their own rows only: entries and the log's records change together, in the store. */
export function assertCallersRow(key: Uint8Array): void {
  assert(key[0] !== TAG_ENTRY && key[0] !== TAG_LATER_ENTRY, 'entries are appended, not written as rows');
  if (key[0] !== TAG_SHARD) return;
  const name = String.fromCharCode(...key.subarray(6, 18));
  assert(!(Object.values(RECORD_NAMES) as string[]).includes(name), `the record ${name} of a shard belongs to the log`);
}
