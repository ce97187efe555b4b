import { concatBytes, utf8 } from '../../kernel/bytes.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { utf8Length } from '../../kernel/ids.js';
import { LIMITS } from '../../kernel/limits.js';
import { OP_ID_BYTES } from '../../kernel/version.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { WriteOutcome } from '../replication/core/write.js';
import type { WriteRequest } from '../replication/shard-replica.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { AttributeKeys } from './attribute-keys.js';
import type { DocumentReader } from './document-reader.js';
import { mergePatch } from './core/merge-patch.js';
import { EqualWaits } from './equal-waits.js';
import type { DocumentPatch, WriteCondition, WriteConsistency } from './core/requests.js';
import { checkVector } from './vector-check.js';
import type { WriteAdmission } from './write-admission.js';

/** A write that is known to be stored: durable at its level (replication 3). */
export type Written = Extract<WriteOutcome, { kind: 'written' }> & { readonly shard: number };

/** What one write is asked with. */
export interface WriteCall {
  readonly collection: string;
  readonly consistency: WriteConsistency;
  /** Idempotency key; in bulk with the line's number. */
  readonly key: string | undefined;
  readonly condition: WriteCondition | undefined;
}

/** A write that is neither durable nor refused by then may or may not have happened (replication 2.8). */
export const WRITE_WAIT_MS = 5_000;
/** A patch is read, merged and written under the version it was read at; so often it is tried again. */
const PATCH_TRIES = 100;
const PATCH_PAUSE_MS = 2;

/** Routes one write to its shard, checks what only the map knows, and keeps the deadline. */
export class Writer {
  readonly #overdue = new EqualWaits(WRITE_WAIT_MS);

  constructor(
    private readonly replication: ReplicationService,
    private readonly reader: DocumentReader,
    private readonly hasher: Hasher,
    private readonly admission: WriteAdmission,
    private readonly keys: AttributeKeys,
    private readonly metrics: Metrics,
  ) {}

  /** Stores a document. @throws NodeError */
  async upsert(id: string, fields: DocumentFields, call: WriteCall): Promise<Written> {
    const collection = this.#readyFor(fields, call.collection) ?? (await this.#collectionFor(fields, call.collection));
    const payload = this.#encode(fields);
    return this.#write(id, {
      op: 'UPSERT',
      collectionId: collection.id,
      id,
      payload,
      ...this.#conditionAndKey(call, id, collection.id, 'upsert', payload),
    });
  }

  /** Merges into a document (RFC 7386). @throws NodeError DOCUMENT_NOT_FOUND */
  async patch(id: string, patch: DocumentPatch, call: WriteCall): Promise<Written> {
    const collection = await this.#collectionFor(
      patch.vector instanceof Float32Array ? { vector: patch.vector } : {},
      call.collection,
    );
    const shard = this.replication.map.ring().shardOf(id);
    const asked = utf8(
      JSON.stringify({
        ...patch,
        vector: patch.vector instanceof Float32Array ? Array.from(patch.vector) : patch.vector,
      }),
    );
    const common = this.#conditionAndKey(call, id, collection.id, 'patch', asked);
    for (let attempt = 1; ; attempt++) {
      const current = await this.reader.read(shard, collection.id, id);
      const merged = current === undefined ? undefined : mergePatch(current.fields, patch);
      if (merged !== undefined) this.#checkMerged(merged, collection);
      const request: WriteRequest = {
        ...common,
        op: 'UPSERT',
        collectionId: collection.id,
        id,
        payload: merged === undefined ? new Uint8Array(0) : this.#encode(merged),
        condition: current === undefined ? { kind: 'present' } : { kind: 'version', version: current.version },
      };
      const wantsVersion = call.condition?.kind === 'version' ? call.condition.version : undefined;
      if (
        wantsVersion !== undefined &&
        current !== undefined &&
        current.version !== wantsVersion &&
        call.key === undefined
      ) {
        throw new NodeError('VERSION_CONFLICT', `the document has version "${current.version}"; read it again`);
      }
      try {
        return await this.#write(
          id,
          wantsVersion === undefined ? request : { ...request, condition: { kind: 'version', version: wantsVersion } },
        );
      } catch (error) {
        const raced = error instanceof NodeError && error.code === 'VERSION_CONFLICT' && wantsVersion === undefined;
        const appeared =
          error instanceof NodeError &&
          error.code === 'DOCUMENT_NOT_FOUND' &&
          this.replication.row(shard, collection.id, id)?.tombstone === false;
        if ((!raced && !appeared) || attempt === PATCH_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, PATCH_PAUSE_MS));
      }
    }
  }

  /** Deletes a document. @throws NodeError DOCUMENT_NOT_FOUND */
  delete(id: string, call: WriteCall): Promise<Written> {
    const collection = this.#collection(call.collection);
    const common = this.#conditionAndKey(call, id, collection.id, 'delete', new Uint8Array(0));
    return this.#write(id, {
      condition: { kind: 'present' },
      ...common,
      op: 'DELETE',
      collectionId: collection.id,
      id,
      payload: new Uint8Array(0),
    });
  }

  #collection(name: string): Collection {
    const collection = findCollection(this.replication.map.current(), name, false);
    if (collection === undefined)
      throw new NodeError(
        'COLLECTION_NOT_FOUND',
        `there is no collection "${name}"; create it with PUT /api/v1/collections/${name}`,
      );
    return collection;
  }

  /** The collection, when it can hold the fields as it is; undefined when the first vector must fix its dimension. */
  #readyFor(fields: DocumentFields, name: string): Collection | undefined {
    const collection = this.#collection(name);
    if (fields.metadata !== undefined) this.keys.admit(collection, fields.metadata);
    if (fields.vector !== undefined) checkVector(fields.vector, collection);
    return fields.vector !== undefined && collection.dimensions === undefined ? undefined : collection;
  }

  /** The collection, once it can hold the fields: the first vector proposes the dimension to the map before it is logged. */
  async #collectionFor(fields: DocumentFields, name: string): Promise<Collection> {
    for (;;) {
      const ready = this.#readyFor(fields, name);
      if (ready !== undefined || fields.vector === undefined) return ready ?? this.#collection(name);
      await this.replication.map.change({
        kind: 'setDimensions',
        collectionId: this.#collection(name).id,
        dimensions: fields.vector.length,
      });
    }
  }

  #checkMerged(fields: DocumentFields, collection: Collection): void {
    if (fields.metadata !== undefined) {
      this.keys.admit(collection, fields.metadata);
      if (utf8Length(JSON.stringify(fields.metadata)) > LIMITS.metadataBytesMax) {
        throw new NodeError(
          'LIMIT_EXCEEDED',
          `the merged metadata would be larger than ${LIMITS.metadataBytesMax} bytes`,
        );
      }
    }
    if (
      fields.title === undefined &&
      fields.content === undefined &&
      fields.metadata === undefined &&
      fields.vector === undefined
    ) {
      throw new NodeError('INVALID_REQUEST', 'the patch would leave the document empty; delete it instead');
    }
  }

  #encode(fields: DocumentFields): Uint8Array {
    const payload = encodeDocument(fields);
    if (payload.length > LIMITS.documentBytesMax) {
      throw new NodeError(
        'PAYLOAD_TOO_LARGE',
        `the document takes ${payload.length} bytes encoded; at most ${LIMITS.documentBytesMax} are allowed: split it`,
      );
    }
    const refusal = this.admission.refusal(payload.length);
    if (refusal !== undefined) throw refusal;
    return payload;
  }

  #conditionAndKey(
    call: WriteCall,
    id: string,
    collectionId: number,
    kind: string,
    asked: Uint8Array,
  ): Pick<WriteRequest, 'level' | 'key' | 'fingerprint' | 'condition'> {
    const level = this.replication.level(call.consistency);
    const condition = call.condition === undefined ? {} : { condition: call.condition };
    if (call.key === undefined) return { level, ...condition };
    const what = utf8(JSON.stringify([kind, collectionId, id, call.condition ?? null]));
    const fingerprint = this.hasher.sha256(concatBytes([what, asked])).slice(0, OP_ID_BYTES);
    const key = this.hasher.sha256(utf8(call.key)).slice(0, OP_ID_BYTES);
    return { level, ...condition, key, fingerprint };
  }

  async #write(id: string, request: WriteRequest): Promise<Written> {
    const shard = this.replication.map.ring().shardOf(id);
    if (request.key !== undefined && this.replication.usedElsewhere(shard, request.key)) {
      throw new NodeError('IDEMPOTENCY_CONFLICT', 'this idempotency key was used for another request; take a new key');
    }
    const outcome = await this.#inTime(this.replication.write(shard, request));
    this.metrics.write({ op: request.op === 'DELETE' ? 'delete' : 'upsert', outcome: outcomeName(outcome) });
    if (outcome.kind === 'refused') {
      throw new NodeError(
        outcome.code,
        outcome.detail,
        outcome.retryAfterMs === undefined ? {} : { retryAfterMs: outcome.retryAfterMs },
      );
    }
    return { ...outcome, shard };
  }

  /** The outcome, or UNKNOWN when it takes too long. */
  #inTime(write: Promise<WriteOutcome>): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const wait = this.#overdue.begin(() =>
        resolve({
          kind: 'refused',
          code: 'WRITE_OUTCOME_UNKNOWN',
          detail:
            'the write was not acknowledged in time and may or may not be stored; retry with the same idempotency key',
        }),
      );
      void write.then((outcome) => {
        this.#overdue.end(wait);
        resolve(outcome);
      });
    });
  }
}

function outcomeName(outcome: WriteOutcome): 'stored' | 'refused' | 'unknown' {
  if (outcome.kind === 'written') return 'stored';
  return outcome.code === 'WRITE_OUTCOME_UNKNOWN' ? 'unknown' : 'refused';
}
