import { compareBytes } from '../../../kernel/bytes.js';
import { StorageFailedError } from '../log-store.js';
import type { Row, RowChange } from '../log-store.js';
import type { Table, TableRange, TableView } from './table.js';

/** Waits for as long as a write takes; a simulator gives its own. */
export type WriteDelay = () => Promise<void>;

/** The table in memory: a sorted list, and the undo of every write that no sync followed yet. */
export class MemoryTable implements Table {
  private sorted: Uint8Array[] = [];
  private values: Uint8Array[] = [];
  private unsynced: (readonly RowChange[])[] = [];
  private failNext: Error | undefined;
  private state: 'open' | 'closed' | 'crashed' = 'open';

  constructor(private readonly delay: WriteDelay = () => Promise.resolve()) {}

  getSync(key: Uint8Array): Uint8Array | undefined {
    this.assertOpen();
    const at = this.find(key);
    return this.holds(at, key) ? new Uint8Array(this.values[at]) : undefined;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    await this.turn();
    return this.getSync(key);
  }

  async range(range: TableRange): Promise<readonly Row[]> {
    await this.turn();
    this.assertOpen();
    return rangeOf(this.sorted, this.values, range);
  }

  async keys({ from, to, limit }: Pick<TableRange, 'from' | 'to' | 'limit'>): Promise<readonly Uint8Array[]> {
    await this.turn();
    this.assertOpen();
    return rangeOf(this.sorted, this.values, { from, to, limit, bytesMax: Infinity }).map(({ key }) => key);
  }

  /** Values are replaced, never changed, so that copies of the lists are a view. */
  view(): TableView {
    const keys = [...this.sorted];
    const values = [...this.values];
    const read = async <T>(what: () => T): Promise<T> => {
      await this.turn();
      this.assertOpen();
      return what();
    };
    return {
      get: (key) =>
        read(() => {
          const at = firstNotBelow(keys, key);
          return holds(keys, at, key) ? new Uint8Array(values[at]) : undefined;
        }),
      range: (range) => read(() => rangeOf(keys, values, range)),
      close: () => Promise.resolve(),
    };
  }

  async check(): Promise<void> {
    await this.turn();
    this.assertOpen();
  }

  async write(changes: readonly RowChange[], sync: boolean): Promise<void> {
    await this.delay();
    await this.turn();
    this.assertOpen();
    const failure = this.failNext;
    if (failure !== undefined) {
      this.failNext = undefined;
      throw failure;
    }
    this.unsynced.push(changes.map(({ key, value }) => this.put(key, value)));
    if (sync) this.unsynced = [];
  }

  async sync(): Promise<void> {
    await this.delay();
    await this.turn();
    this.assertOpen();
    this.unsynced = [];
  }

  async close(): Promise<void> {
    await this.turn();
    if (this.state === 'open') this.state = 'closed';
  }

  /** The table as the next process finds it. A closed one keeps everything, being synced. */
  reopen(): MemoryTable {
    return this.image().table(this.delay);
  }

  /** A copy of what is stored now, synced or not. */
  image(): MemoryImage {
    const keys = [...this.sorted];
    const values = [...this.values];
    return {
      table: (delay) => {
        const table = new MemoryTable(delay);
        table.sorted = [...keys];
        table.values = [...values];
        return table;
      },
    };
  }

  /** The process is gone, and with it every write not synced but the first `kept` of them. Calls in flight never end. */
  crash(kept = 0): MemoryTable {
    for (const undo of this.unsynced.splice(kept).reverse()) {
      for (const { key, value } of [...undo].reverse()) this.put(key, value);
    }
    this.state = 'crashed';
    return this.reopen();
  }

  failNextWrite(error: Error): void {
    this.failNext = error;
  }

  /** Flips one bit of byte `at` of a value; false when there is no such row. */
  flipByte(key: Uint8Array, at: number): boolean {
    const index = this.find(key);
    if (!this.holds(index, key) || at >= this.values[index].length) return false;
    const value = new Uint8Array(this.values[index]);
    value[at] ^= 1;
    this.values[index] = value;
    return true;
  }

  /** Loses a row; false when there is none. */
  drop(key: Uint8Array): boolean {
    return this.put(key, undefined).value !== undefined;
  }

  /** Makes one change and returns the change that undoes it. */
  private put(key: Uint8Array, value: Uint8Array | undefined): RowChange {
    const at = this.find(key);
    const found = this.holds(at, key);
    const undo = { key, value: found ? this.values[at] : undefined };
    if (value === undefined) {
      if (found) {
        this.sorted.splice(at, 1);
        this.values.splice(at, 1);
      }
    } else if (found) {
      this.values[at] = new Uint8Array(value);
    } else {
      this.sorted.splice(at, 0, new Uint8Array(key));
      this.values.splice(at, 0, new Uint8Array(value));
    }
    return undo;
  }

  private find(key: Uint8Array): number {
    return firstNotBelow(this.sorted, key);
  }

  private holds(at: number, key: Uint8Array): boolean {
    return holds(this.sorted, at, key);
  }

  /** What a process that is gone asked for is never answered. */
  private turn(): Promise<void> {
    return this.state === 'crashed' ? new Promise(() => undefined) : Promise.resolve();
  }

  private assertOpen(): void {
    if (this.state !== 'open') throw new StorageFailedError('the database cannot be read: it is not open');
  }
}

/** The content of a table, kept. */
export interface MemoryImage {
  table(delay?: WriteDelay): MemoryTable;
}

function rangeOf(
  keys: readonly Uint8Array[],
  values: readonly Uint8Array[],
  { from, to, limit, bytesMax, reverse = false }: TableRange,
): readonly Row[] {
  const first = firstNotBelow(keys, from);
  const end = firstNotBelow(keys, to);
  const rows: Row[] = [];
  let bytes = 0;
  for (let i = 0; first + i < end && rows.length < limit && bytes < bytesMax; i++) {
    const at = reverse ? end - 1 - i : first + i;
    rows.push({ key: new Uint8Array(keys[at]), value: new Uint8Array(values[at]) });
    bytes += keys[at].length + values[at].length;
  }
  return rows;
}

/** Index of the first key not below `key`. */
function firstNotBelow(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function holds(keys: readonly Uint8Array[], at: number, key: Uint8Array): boolean {
  return at < keys.length && compareBytes(keys[at], key) === 0;
}
