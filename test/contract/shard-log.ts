import type { Version } from '../../src/kernel/version.js';
import { CHAIN_ZERO, type EntryOp } from '../../src/modules/log/core/entry.js';
import { encodeEntry, entryChain } from '../../src/modules/log/core/entry-codec.js';
import type { AppendEntry, LogStore } from '../../src/modules/log/log-store.js';
import type { DocumentFields } from '../../src/modules/shard/core/document.js';
import { encodeDocument } from '../../src/modules/shard/core/document-codec.js';
import type { CollectionSpec } from '../../src/modules/shard/core/search.js';
import { nodeHasher } from '../../src/platform/crypto/node-hasher.js';

export function specOf(
  id: number,
  dimensions?: number,
  similarity: CollectionSpec['similarity'] = 'cosine',
): CollectionSpec {
  return { id, dimensions, similarity, hnsw: { m: 8, efConstruction: 60, efSearch: 50 } };
}

export function versionOf(ms: number, op = 1): Version {
  return { hlc: { ms, counter: 0 }, opId: new Uint8Array(16).fill(op) };
}

/** Writes entries about documents of one shard the way a primary does: dense offsets, linked chains, rising versions. */
export class ShardLog {
  #offset = 0;
  #chain: Uint8Array = CHAIN_ZERO;
  #epoch = 1;
  readonly entries: AppendEntry[] = [];

  constructor(readonly shard = 0) {}

  /** All entries, encoded. */
  get bytes(): Uint8Array[] {
    return this.entries.map(({ bytes }) => bytes);
  }

  upsert(id: string, fields: DocumentFields, version?: Version, collectionId = 1): Uint8Array {
    return this.#write('UPSERT', id, encodeDocument(fields), version, collectionId);
  }

  delete(id: string, version?: Version, collectionId = 1): Uint8Array {
    return this.#write('DELETE', id, new Uint8Array(0), version, collectionId);
  }

  barrier(): Uint8Array {
    return this.#write('BARRIER', '', new Uint8Array(0), undefined, 0);
  }

  purge(collectionId: number): Uint8Array {
    return this.#write('COLLECTION_PURGE', '', new Uint8Array(0), undefined, collectionId);
  }

  /** Another branch of this log, of the next epoch, from after `offset` on. */
  branch(offset: number): ShardLog {
    const branch = new ShardLog(this.shard);
    branch.entries.push(...this.entries.slice(0, offset));
    branch.#offset = offset;
    const last = branch.entries.at(-1);
    branch.#chain = last === undefined ? CHAIN_ZERO : entryChain(last.bytes);
    branch.#epoch = this.#epoch + 1;
    return branch;
  }

  /** Appends what a store does not have yet. */
  async store(log: LogStore): Promise<void> {
    const { tail } = log.state(this.shard);
    await log.append({ shard: this.shard, entries: this.entries.slice(tail), rows: [] });
  }

  #write(op: EntryOp, id: string, payload: Uint8Array, version: Version | undefined, collectionId: number): Uint8Array {
    const offset = ++this.#offset;
    const epoch = { num: this.#epoch, uuid: new Uint8Array(16).fill(1) };
    const { bytes, chain } = encodeEntry(
      {
        op,
        shard: this.shard,
        epoch,
        offset,
        version: version ?? versionOf(1_000_000 + offset),
        collectionId,
        id,
        payload,
      },
      this.#chain,
      nodeHasher,
    );
    this.#chain = Uint8Array.from(chain);
    this.entries.push({ offset, epoch, bytes });
    return bytes;
  }
}
