import { entryKey, entryKeyOffset } from '../core/keys.js';
import { TableReadError } from './table.js';
import type { Table } from './table.js';

/** What is stored at an offset; undefined bytes where the database cannot read it. */
export interface FoundEntry {
  readonly offset: number;
  readonly bytes: Uint8Array | undefined;
}

/** Which entries: a shard's, of one generation. */
export interface EntryPlace {
  readonly shard: number;
  readonly generation: number;
}

export interface EntryChunk {
  /** Ascending, unverified; offsets without a row are left out. */
  readonly found: readonly FoundEntry[];
  /** Everything up to here was looked at: the chunk after it starts at `end + 1`. */
  readonly end: number;
}

/** Offsets read one by one when a bulk read meets a part of the database that cannot be read. */
const SINGLE_READS = 256;

/** Reads entries of one shard in bulk, from offset `from` to offset `to`, both inclusive. */
export async function readEntries(
  table: Table,
  { shard, generation }: EntryPlace,
  from: number,
  to: number,
  limit: number,
  bytesMax: number,
): Promise<EntryChunk> {
  try {
    const rows = await table.range({
      from: entryKey(shard, from, generation),
      to: entryKey(shard, to + 1, generation),
      limit,
      bytesMax,
    });
    let bytes = 0;
    const found = rows.map(({ key, value }) => {
      bytes += key.length + value.length;
      return { offset: entryKeyOffset(key), bytes: value };
    });
    if (rows.length < limit && bytes < bytesMax) return { found, end: to };
    const end = found[found.length - 1].offset;
    // What is missing may only have been passed over.
    if (found.length <= end - from)
      await table.check(entryKey(shard, from, generation), entryKey(shard, end, generation));
    return { found, end };
  } catch (error) {
    if (error instanceof TableReadError) return readSingly(table, { shard, generation }, from, to, bytesMax);
    throw error;
  }
}

async function readSingly(
  table: Table,
  { shard, generation }: EntryPlace,
  from: number,
  to: number,
  bytesMax: number,
): Promise<EntryChunk> {
  const found: FoundEntry[] = [];
  const last = Math.min(to, from + SINGLE_READS - 1);
  let bytes = 0;
  let end = from - 1;
  while (end < last && bytes < bytesMax) {
    const offset = ++end;
    try {
      const entry = await table.get(entryKey(shard, offset, generation));
      if (entry !== undefined) found.push({ offset, bytes: entry });
      bytes += entry?.length ?? 0;
    } catch (error) {
      if (!(error instanceof TableReadError)) throw error;
      found.push({ offset, bytes: undefined });
    }
  }
  return { found, end };
}
