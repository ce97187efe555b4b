import type { MemoryTable } from '../../../src/modules/log/adapters/memory-table.js';
import type { Table, TableRange, TableView } from '../../../src/modules/log/adapters/table.js';
import type { Row, RowChange } from '../../../src/modules/log/log-store.js';

/** How a disk treats one write or sync. */
export interface DiskTurn {
  /** Resolves when the bytes are down; never for a process that died meanwhile. */
  before(): Promise<void>;
  /** Resolves when the process hears of it: a crash in between leaves a write nobody was told of. */
  after(): Promise<void>;
  /** Throws what the disk answers instead. */
  fail(changes: readonly RowChange[]): void;
  /** The changes are in the table. */
  written(changes: readonly RowChange[]): void;
  /** The disk says it is down, and it is not: a lie that only a crash shows. */
  liesAboutSync(): boolean;
}

/** A memory table that takes virtual time and fails as told; reads are instant. */
export class SimTable implements Table {
  constructor(
    private readonly memory: MemoryTable,
    private readonly turn: DiskTurn,
  ) {}

  getSync(key: Uint8Array): Uint8Array | undefined {
    return this.memory.getSync(key);
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.memory.get(key);
  }

  range(range: TableRange): Promise<readonly Row[]> {
    return this.memory.range(range);
  }

  keys(range: Pick<TableRange, 'from' | 'to' | 'limit'>): Promise<readonly Uint8Array[]> {
    return this.memory.keys(range);
  }

  view(): TableView {
    return this.memory.view();
  }

  check(): Promise<void> {
    return this.memory.check();
  }

  async write(changes: readonly RowChange[], sync: boolean): Promise<void> {
    await this.turn.before();
    this.turn.fail(changes);
    await this.memory.write(changes, sync && !this.turn.liesAboutSync());
    this.turn.written(changes);
    await this.turn.after();
  }

  async sync(): Promise<void> {
    await this.turn.before();
    this.turn.fail([]);
    if (!this.turn.liesAboutSync()) await this.memory.sync();
    await this.turn.after();
  }

  close(): Promise<void> {
    return this.memory.close();
  }
}
