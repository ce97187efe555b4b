import type { Hasher } from '../../../kernel/hasher.js';
import { verifyEntry } from '../core/entry-codec.js';
import { entryKey } from '../core/keys.js';
import { LogDamagedError, OffsetCompactedError } from '../log-store.js';
import type { LogState } from '../log-store.js';
import { TableReadError } from './table.js';
import type { Table } from './table.js';

/** Single entries as the table has them, none handed out unverified. */
export class WholeEntries {
  constructor(
    private readonly table: Table,
    private readonly hasher: Hasher,
    private readonly state: (shard: number) => LogState,
  ) {}

  /** See `LogStore.read`. */
  async read(shard: number, offset: number): Promise<Uint8Array> {
    let bytes;
    try {
      bytes = await this.table.get(this.#keyOf(shard, offset));
    } catch (error) {
      throw entryError(shard, offset, error);
    }
    return this.#whole(shard, offset, bytes);
  }

  /** See `LogStore.readSync`. */
  readSync(shard: number, offset: number): Uint8Array {
    let bytes;
    try {
      bytes = this.table.getSync(this.#keyOf(shard, offset));
    } catch (error) {
      throw entryError(shard, offset, error);
    }
    return this.#whole(shard, offset, bytes);
  }

  #keyOf(shard: number, offset: number): Uint8Array {
    return entryKey(shard, offset, this.state(shard).generation);
  }

  /** The entry read for `offset`, or the reason why it cannot be served. */
  #whole(shard: number, offset: number, bytes: Uint8Array | undefined): Uint8Array {
    const { start, tail } = this.state(shard);
    // Above the tail lies at most what a truncation is about to delete.
    if (bytes === undefined || offset > tail) {
      if (offset <= start.offset) throw new OffsetCompactedError(shard, offset, start.offset);
      throw new LogDamagedError({ shard, offset, problem: 'missing' });
    }
    const problem = verifyEntry(bytes, this.hasher, { shard, offset });
    if (problem !== undefined) throw new LogDamagedError({ shard, offset, problem });
    return bytes;
  }
}

function entryError(shard: number, offset: number, error: unknown): unknown {
  return error instanceof TableReadError ? new LogDamagedError({ shard, offset, problem: 'unreadable' }, error) : error;
}
