import type { Row, RowChange } from '../log-store.js';

/**
 * An ordered table of bytes: what the log needs of a database. LevelTable keeps it on disk, MemoryTable in memory,
 * so that everything above it is one and the same code.
 */
export interface Table {
  /** The value, a private copy, or undefined. Throws TableReadError when it cannot be read. */
  getSync(key: Uint8Array): Uint8Array | undefined;
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Rows of a range in key order; ends early at `limit` rows or once the rows have `bytesMax` bytes. Only a range read to
   * its end is sure to throw TableReadError where a part of it cannot be read: one that ended early may have passed over it,
   * see `check`.
   */
  range(range: TableRange): Promise<readonly Row[]>;
  /** Throws TableReadError when a row from key `from` to key `last`, both inclusive, cannot be read. */
  check(from: Uint8Array, last: Uint8Array): Promise<void>;
  /** Keys of a range in order, at most `limit`. Reads no values. */
  keys(range: Pick<TableRange, 'from' | 'to' | 'limit'>): Promise<readonly Uint8Array[]>;
  /** The table as it is now, whatever is written later; must be closed. */
  view(): TableView;
  /** Writes all changes or none; `sync`: they are on disk when it resolves. One at a time. */
  write(changes: readonly RowChange[], sync: boolean): Promise<void>;
  /** Brings everything written before to the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A table as it was at one moment; reads as Table does. */
export interface TableView extends Pick<Table, 'get' | 'range'> {
  close(): Promise<void>;
}

export interface TableRange {
  /** First key, inclusive. */
  readonly from: Uint8Array;
  /** Last key, exclusive. */
  readonly to: Uint8Array;
  readonly limit: number;
  readonly bytesMax: number;
  /** From the end, in descending order. */
  readonly reverse?: boolean;
}

/** A part of the table cannot be read: a corrupt block or a failing disk. */
export class TableReadError extends Error {
  override readonly name = 'TableReadError';
}

/** The first key after all keys with `prefix`, which must not be all 0xff. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  const end = new Uint8Array(prefix);
  let at = end.length - 1;
  while (at > 0 && end[at] === 0xff) at--;
  end[at]++;
  return end.subarray(0, at + 1);
}

/** The first key after `key`. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
