import { toHex } from '../../kernel/bytes.js';
import type { Version } from '../../kernel/version.js';
import { entryEpoch, entryOffset, entryVersion } from '../log/core/entry-codec.js';
import type { LogStore } from '../log/log-store.js';
import { encodeOperation } from '../replication/core/operation-row.js';
import { looseEntry } from '../replication/loose-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { ShardWrite } from './core/shard-calls.js';
import type { DocumentReader } from './document-reader.js';

/** Entries that are searched for a repeated write, the newest, and at once; more were written since than a retry can be late. */
const REPEATED_ENTRIES_MAX = 50_000;
const REPEATED_PAGE = 1_000;
const REPEATED_PAGE_BYTES = 4 * 1024 * 1024;

/** Writes without a client's key that may have been made before their connection broke: so each is made once (replication 3). */
export class EarlierWrites {
  constructor(
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
    private readonly reader: DocumentReader,
  ) {}

  /**
   * The stored result of a write that was sent before, without a client's key: its entry, if the log has it, carries its
   * opId. So a repetition after a connection broke is made once (replication 3).
   */
  async find({ shard, opId, id, collectionId, condition }: ShardWrite, from: number): Promise<Uint8Array | undefined> {
    const name = toHex(opId);
    const row = this.replication.row(shard, collectionId, id);
    if (row !== undefined && toHex(row.version.opId) === name) {
      const entry = row.loose
        ? looseEntry(this.log, shard, collectionId, id)
        : await this.reader.entry(shard, row.offset);
      if (entry !== undefined) return operationOf(entry, row.version, condition?.kind === 'absent');
    }
    const { start, tail } = this.log.state(shard);
    let next = repeatedFrom(from, start.offset, tail);
    for (let looked = 0; looked < REPEATED_ENTRIES_MAX;) {
      const entries = await this.log.scan(shard, next, REPEATED_PAGE, REPEATED_PAGE_BYTES);
      if (entries.length === 0) return undefined;
      for (const entry of entries) {
        const version = entryVersion(entry);
        if (toHex(version.opId) === name) return operationOf(entry, version, condition?.kind === 'absent');
      }
      looked += entries.length;
      next = entryOffset(entries[entries.length - 1]) + 1;
    }
    return undefined;
  }
}

function operationOf(entry: Uint8Array, version: Version, created: boolean): Uint8Array {
  return encodeOperation({
    offset: entryOffset(entry),
    epoch: entryEpoch(entry).num,
    version,
    created,
    fingerprint: new Uint8Array(16),
    writtenMs: version.hlc.ms,
  });
}

/** The first entry that may be a repeated write's: of what came after `from`, where the log ended when it was sent first, the newest. */
export function repeatedFrom(from: number, start: number, tail: number): number {
  return Math.max(from, start, tail - REPEATED_ENTRIES_MAX) + 1;
}
