import { NodeError } from '../../kernel/errors.js';
import { compareVersions, versionText } from '../../kernel/version.js';
import { entryCollectionId, entryId, entryOp, entryPayload, entryVersion } from '../log/core/entry-codec.js';
import { LogDamagedError, OffsetCompactedError, type LogStore } from '../log/log-store.js';
import { looseEntry } from '../replication/loose-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { decodeDocument, documentSegments } from '../shard/core/document-codec.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { DocumentRow } from '../shard/core/rows.js';
import type { FieldSelection } from './core/requests.js';
import type { StoredSegments } from './core/shard-calls.js';

/** A live document as stored. */
export interface StoredDocument {
  readonly id: string;
  readonly version: string;
  readonly offset: number;
  readonly fields: DocumentFields;
}

/** How often a row may move on while its entry is fetched, before that is an error. */
const MOVES_MAX = 1_000;

/** Reads documents of this node's shards through their rows: the log is the document store (replication 2.5). */
export class DocumentReader {
  constructor(
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
  ) {}

  /** The live document, or undefined. @throws NodeError LOG_CORRUPT when its entry is damaged; the shard is faulted then */
  async read(shard: number, collectionId: number, id: string): Promise<StoredDocument | undefined> {
    const found = await this.#live(shard, collectionId, id);
    if (found === undefined) return undefined;
    const { row, entry } = found;
    return {
      id,
      version: versionText(row.version),
      offset: row.offset,
      fields: decodeDocument(entryPayload(entry)),
    };
  }

  /** As `read`, its JSON unparsed. @throws NodeError LOG_CORRUPT */
  async segments(
    shard: number,
    collectionId: number,
    id: string,
    fields: FieldSelection,
  ): Promise<StoredSegments | undefined> {
    const found = await this.#live(shard, collectionId, id);
    if (found === undefined) return undefined;
    return { id, version: versionText(found.row.version), ...documentSegments(entryPayload(found.entry), fields) };
  }

  /** The live row and its entry. */
  async #live(
    shard: number,
    collectionId: number,
    id: string,
  ): Promise<{ readonly row: DocumentRow; readonly entry: Uint8Array } | undefined> {
    let gone: DocumentRow | undefined;
    for (let moves = 0; moves < MOVES_MAX; moves++) {
      const row = this.replication.row(shard, collectionId, id);
      if (row === undefined || row.tombstone) return undefined;
      // A row can be seen a moment before its log says that it ends there, and may move on, or its branch be cut off, while
      // its entry is read: then it is asked again, in another turn of the loop.
      if (!row.loose && row.offset > this.log.state(shard).tail) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      const entry = row.loose ? looseEntry(this.log, shard, collectionId, id) : await this.entry(shard, row.offset);
      if (entry !== undefined && compareVersions(entryVersion(entry), row.version) === 0) return { row, entry };
      // Compaction deletes no entry that a row points at: one that is gone twice, while its row stays, is missing (2.12).
      if (entry === undefined && !row.loose && isSame(gone, row))
        throw this.damaged(shard, new LogDamagedError({ shard, offset: row.offset, problem: 'missing' }));
      gone = entry === undefined ? row : undefined;
    }
    throw new NodeError('OVERLOADED', `the document "${id}" changes faster than it can be read`, { retryAfterMs: 100 });
  }

  /**
   * The entry an index pointed at, also where it was cut off with a branch (replication 6.4); undefined when it was
   * superseded and compacted away. @throws NodeError LOG_CORRUPT
   */
  async indexed(shard: number, collectionId: number, id: string, offset: number): Promise<Uint8Array | undefined> {
    const logged = offset <= this.log.state(shard).tail ? await this.entry(shard, offset) : undefined;
    return isOf(logged, collectionId, id) ? logged : looseEntry(this.log, shard, collectionId, id);
  }

  /** The encoded entry, or undefined when it was superseded and compacted away. @throws NodeError LOG_CORRUPT */
  async entry(shard: number, offset: number): Promise<Uint8Array | undefined> {
    try {
      return await this.log.read(shard, offset);
    } catch (error) {
      if (error instanceof OffsetCompactedError) return undefined;
      throw this.damaged(shard, error);
    }
  }

  /** The error for a client; a damaged entry faults its shard (replication 2.6). */
  damaged(shard: number, error: unknown): unknown {
    if (!(error instanceof LogDamagedError)) return error;
    this.replication.faultShard(shard, error);
    return new NodeError('LOG_CORRUPT', error.message, { cause: error });
  }
}

function isSame(a: DocumentRow | undefined, b: DocumentRow): boolean {
  return a?.offset === b.offset && compareVersions(a.version, b.version) === 0;
}

/** Whether an entry is the image of a document: after a cut another one may be at its offset (replication 6.3). */
function isOf(entry: Uint8Array | undefined, collectionId: number, id: string): entry is Uint8Array {
  return (
    entry !== undefined &&
    entryOp(entry) === 'UPSERT' &&
    entryCollectionId(entry) === collectionId &&
    entryId(entry) === id
  );
}
