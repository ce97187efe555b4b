import { utf8 } from '../../kernel/bytes.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { sortedMembers, type JsonValue } from '../../kernel/json.js';
import { utf8Length } from '../../kernel/ids.js';
import { LIMITS } from '../../kernel/limits.js';
import { OP_ID_BYTES, versionText } from '../../kernel/version.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { Collection } from '../ring/core/map.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { ClusterKeys } from './cluster-keys.js';
import { mergePatch } from './core/merge-patch.js';
import { neverMade } from './core/never-made.js';
import type { Positions } from './core/positions.js';
import type { DocumentPatch, WriteCondition, WriteConsistency } from './core/requests.js';
import type { MadeOrRefused, ShardWrite } from './core/shard-calls.js';
import { checkVector } from './vector-check.js';
import { Deadline } from './deadline.js';
import { fieldsOf } from './document-view.js';
import type { FanOut } from './fan-out.js';
import type { MapChanges } from './map-changes.js';
import { shardError } from './shard-error.js';
import { WRITE_WAIT_MS, type WriteRouter } from './write-router.js';

/** A write that is known to be stored: durable at its level (replication 3). */
export type Written = Extract<MadeOrRefused, { kind: 'written' }> & { readonly shard: number };

/** What one write is asked with. */
export interface WriteCall {
  readonly collection: string;
  readonly consistency: WriteConsistency;
  /** Idempotency key; in bulk with the line's number. Bytes: the operation id that is made of one, 16 of them. */
  readonly key: string | Uint8Array | undefined;
  readonly condition: WriteCondition | undefined;
  /** The caller's own deadline, if it has one. */
  readonly timeoutMs: number | undefined;
}

/** What a keyed request of several writes begins with. */
export interface KeyedRequest {
  readonly consistency: WriteConsistency;
  readonly key: string;
  /** Equal for equal requests, whatever the order of members. */
  readonly asked: JsonValue;
  readonly timeoutMs: number | undefined;
}

/** Where such a request begins in a shard, and the ids of the operations that are its own there. */
export interface Begun extends Written {
  /** What all of them begin with. */
  readonly prefix: Uint8Array;
  readonly operationOf: (id: string) => Uint8Array;
}

const PREFIX_BYTES = OP_ID_BYTES / 2;

/** A patch is read, merged and written under the version it was read at; so often it is tried again. */
const PATCH_TRIES = 100;
const PATCH_PAUSE_MS = 2;
const ALL_FIELDS = { title: true, content: true, metadata: true, vector: true };
const NO_SESSION: Positions = new Map();
const NEVER = new AbortController().signal;
const NOTHING = new Uint8Array(0);
const NO_FIELDS = encodeDocument({});
/** What is wrong with a write by its collection, its document or its size. */
const INVALID: ReadonlySet<string> = new Set([
  'INVALID_REQUEST',
  'DIMENSION_MISMATCH',
  'LIMIT_EXCEEDED',
  'PAYLOAD_TOO_LARGE',
]);
/** What a write that is never made is answered when its key has no result. */
const UNANSWERED: ReadonlySet<string> = new Set(['VERSION_CONFLICT', 'INSUFFICIENT_STORAGE']);

/** A write before its sendings are told apart. */
type WriteWish = Omit<ShardWrite, 'opId' | 'repeatedFrom'>;

/** Routes one write to its shard, checks what only the map knows, and keeps the deadline. */
export class Writer {
  /** Dimensions that are being proposed to the map. */
  readonly #proposals = new Map<string, Promise<unknown>>();

  constructor(
    private readonly replication: ReplicationService,
    private readonly router: WriteRouter,
    private readonly fanOut: FanOut,
    private readonly changes: MapChanges,
    private readonly hasher: Hasher,
    private readonly keys: ClusterKeys,
    private readonly metrics: Metrics,
  ) {}

  /** Stores a document. @throws NodeError */
  upsert(id: string, fields: DocumentFields, call: WriteCall): Promise<Written> {
    return this.#evenIfRemade(call, (again) => this.#upsert(id, fields, again));
  }

  #upsert(id: string, fields: DocumentFields, call: WriteCall): Promise<Written> {
    const endsMs = performance.now() + Math.min(WRITE_WAIT_MS, call.timeoutMs ?? WRITE_WAIT_MS);
    const collection = this.#collection(call.collection);
    const payload = this.#encode(fields);
    const { id: collectionId } = collection;
    const shard = this.replication.map.ring().shardOf(id);
    const rest = this.#conditionAndKey(call, id, collectionId, 'upsert', () => this.#encode(inOrder(fields)));
    const write = { shard, op: 'UPSERT' as const, collectionId, id, payload, ...rest };
    return this.#store(write, fields, collection, endsMs);
  }

  /** Merges into a document (RFC 7386). @throws NodeError DOCUMENT_NOT_FOUND */
  patch(id: string, patch: DocumentPatch, call: WriteCall): Promise<Written> {
    return this.#evenIfRemade(call, (again) =>
      this.#within(again.timeoutMs, (deadline) => this.#patch(id, patch, again, deadline)),
    );
  }

  async #patch(id: string, patch: DocumentPatch, call: WriteCall, deadline: Deadline): Promise<Written> {
    const endsMs = performance.now() + deadline.remainingMs;
    const collection = this.#collection(call.collection);
    const { id: collectionId } = collection;
    const shard = this.replication.map.ring().shardOf(id);
    const asked = (): Uint8Array =>
      utf8(
        JSON.stringify({
          ...inOrder(patch),
          vector: patch.vector instanceof Float32Array ? Array.from(patch.vector) : patch.vector,
        }),
      );
    const common = this.#conditionAndKey(call, id, collectionId, 'patch', asked);
    const wish = { ...common, shard, op: 'UPSERT' as const, collectionId, id, payload: NO_FIELDS };
    const wantsVersion = call.condition?.kind === 'version' ? call.condition.version : undefined;
    try {
      if (patch.vector instanceof Float32Array) checkVector(patch.vector, collection);
    } catch (error) {
      return this.#unlessAnswered(error, wish, endsMs);
    }
    for (let attempt = 1; ; attempt++) {
      const current = await this.#current(shard, collectionId, id, deadline);
      // What a key was answered by is answered again, whatever became of the document.
      if (call.key === undefined && current === undefined && wantsVersion === undefined) throw missing(id);
      const isWanted = current !== undefined && (wantsVersion ?? current.version) === current.version;
      if (call.key === undefined && current !== undefined && !isWanted) throw changed(current.version);
      try {
        // What was not merged onto the version that is wanted is not to be made.
        if (!isWanted) return await this.#write(neverMade(wish), deadline.remainingMs);
        const merged = mergePatch(current.fields, patch);
        const condition = { kind: 'version' as const, version: current.version };
        let payload: Uint8Array;
        try {
          payload = this.#encodeMerged(merged);
        } catch (error) {
          return await this.#unlessAnswered(error, wish, endsMs);
        }
        return await this.#store({ ...wish, payload, condition }, merged, collection, endsMs);
      } catch (error) {
        const raced = error instanceof NodeError && error.code === 'VERSION_CONFLICT' && wantsVersion === undefined;
        if (!raced) throw error;
        if (current === undefined && (await this.#current(shard, collectionId, id, deadline)) === undefined)
          throw missing(id);
        if (attempt === PATCH_TRIES || deadline.expired) throw error;
        await new Promise((resolve) => setTimeout(resolve, PATCH_PAUSE_MS));
      }
    }
  }

  /** Deletes a document. @throws NodeError DOCUMENT_NOT_FOUND */
  delete(id: string, call: WriteCall): Promise<Written> {
    return this.#evenIfRemade(call, (again) => this.#delete(id, again));
  }

  #delete(id: string, call: WriteCall): Promise<Written> {
    const collection = this.#collection(call.collection);
    const common = this.#conditionAndKey(call, id, collection.id, 'delete', () => new Uint8Array(0));
    const shard = this.replication.map.ring().shardOf(id);
    const place = { shard, op: 'DELETE' as const, collectionId: collection.id, id, payload: NOTHING };
    return this.#write({ condition: { kind: 'present' }, ...common, ...place }, call.timeoutMs ?? WRITE_WAIT_MS);
  }

  /**
   * Logs the place where a keyed request of several writes begins in a shard; the same one for the same request, whenever it
   * is asked for (replication 2.10). @throws NodeError IDEMPOTENCY_CONFLICT when the key stands for another request
   */
  async begin(shard: number, request: KeyedRequest): Promise<Begun> {
    const level = this.replication.level(request.consistency);
    const key = this.#opIdOf(request.key);
    const fingerprint = this.hasher.sha256Head(utf8(JSON.stringify(sortedMembers(request.asked))));
    const place = { shard, op: 'BARRIER' as const, collectionId: 0, id: '', payload: NOTHING };
    const write = { ...place, level, key, fingerprint };
    const begun = made(shard, await this.router.write(write, request.timeoutMs ?? WRITE_WAIT_MS));
    // Of this place and not of the key alone: once the key is forgotten, what is left of its writes counts no more.
    const from = utf8(versionText(begun.version));
    const prefix = this.hasher.sha256Head(from).subarray(0, PREFIX_BYTES);
    const operationOf = (id: string): Uint8Array => {
      const bytes = new Uint8Array(OP_ID_BYTES);
      bytes.set(prefix);
      bytes.set(this.hasher.sha256Head(from, utf8(id)).subarray(PREFIX_BYTES), PREFIX_BYTES);
      return bytes;
    };
    return { ...begun, prefix, operationOf };
  }

  /**
   * Does a write, and does it again when its collection was dropped and another one of that name made, both over other nodes
   * and a moment ago: the map here has the dropped one still.
   */
  async #evenIfRemade(call: WriteCall, write: (call: WriteCall) => Promise<Written>): Promise<Written> {
    const startedMs = performance.now();
    const meant = findCollection(this.replication.map.current(), call.collection, false)?.id;
    try {
      return await write(call);
    } catch (error) {
      if (!(error instanceof NodeError) || error.code !== 'COLLECTION_NOT_FOUND' || meant === undefined) throw error;
      const leftMs = (): number => (call.timeoutMs ?? WRITE_WAIT_MS) - (performance.now() - startedMs);
      const remade = findCollection(await this.changes.newest(leftMs()), call.collection, false);
      if (remade === undefined || remade.id === meant || leftMs() <= 0) throw error;
      return this.#evenIfRemade({ ...call, timeoutMs: leftMs() }, write);
    }
  }

  /** The document as its primary has it. @throws NodeError when that cannot be asked */
  async #current(
    shard: number,
    collectionId: number,
    id: string,
    deadline: Deadline,
  ): Promise<{ readonly version: string; readonly fields: DocumentFields } | undefined> {
    const { epoch: mapEpoch } = this.replication.map.current();
    const answer = await this.fanOut.ask(
      'read',
      [shard],
      (gates) => ({ mapEpoch, gates, collectionId, ids: [[id]], fields: ALL_FIELDS }),
      { deadline, session: NO_SESSION, primary: true },
    );
    const found = answer.values.get(shard);
    if (found === undefined) throw shardError(shard, answer.failed.get(shard));
    const [document] = found.value;
    return document === undefined ? undefined : { version: document.version, fields: fieldsOf(document) };
  }

  #collection(name: string): Collection {
    const collection = findCollection(this.replication.map.current(), name, false);
    if (collection === undefined) throw unknownCollection(name);
    return collection;
  }

  /** Does the work of one write, with the time it has. */
  async #within<T>(timeoutMs: number | undefined, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline({ signal: NEVER, ...(timeoutMs === undefined ? {} : { timeoutMs }) }, WRITE_WAIT_MS);
    try {
      return await work(deadline);
    } finally {
      deadline.end();
    }
  }

  /** Makes a write, once its collection can hold the fields. @throws NodeError when it was refused */
  async #store(write: WriteWish, fields: DocumentFields, collection: Collection, endsMs: number): Promise<Written> {
    try {
      if (!this.#isReady(fields, collection)) {
        const answered = await this.#within(leftMs(endsMs), (deadline) =>
          this.#makeReady(write, fields, collection, deadline),
        );
        if (answered !== undefined) return answered;
      }
    } catch (error) {
      return this.#unlessAnswered(error, write, endsMs);
    }
    const outcome = await this.router.write(write, leftMs(endsMs));
    if (fields.metadata !== undefined && isNotMade(outcome)) this.keys.release(collection, fields.metadata);
    return this.#written(write, outcome);
  }

  /**
   * Refuses a write, unless its key was answered before: then by that, whatever became of its document, its collection and the
   * memory of its node since (replication 2.10).
   */
  async #unlessAnswered(error: unknown, write: WriteWish, endsMs: number): Promise<Written> {
    if (write.key === undefined || !(error instanceof NodeError) || !INVALID.has(error.code)) throw error;
    const outcome = await this.router.write({ ...neverMade(write), payload: NO_FIELDS }, leftMs(endsMs));
    if (outcome.kind === 'refused' && UNANSWERED.has(outcome.code)) throw error;
    return this.#written(write, outcome);
  }

  /** Whether the collection can hold the fields as it is: its dimension is fixed, and no key is new. @throws NodeError */
  #isReady({ vector, metadata }: DocumentFields, collection: Collection): boolean {
    if (vector !== undefined) checkVector(vector, collection);
    if (vector !== undefined && collection.dimensions === undefined) return false;
    return metadata === undefined || this.keys.admitKnown(collection, metadata);
  }

  /**
   * Has the collection hold the fields: the first vector proposes the dimension to the map before it is logged, and only once
   * nothing is known to be in the way of that. Answered: the stored result, if the key of the write has one.
   */
  async #makeReady(
    write: WriteWish,
    { vector, metadata }: DocumentFields,
    collection: Collection,
    deadline: Deadline,
  ): Promise<Written | undefined> {
    if (metadata !== undefined) await inTime(this.keys.admit(collection, metadata), deadline);
    if (vector === undefined || collection.dimensions !== undefined) return undefined;
    try {
      const answered = await this.#lookAhead(write, deadline);
      if (answered === undefined) await this.#fixDimensions(vector, collection, deadline);
      return answered;
    } catch (error) {
      if (metadata !== undefined) this.keys.release(collection, metadata);
      throw error;
    }
  }

  /**
   * Looks whether a write would be made now: its primary has room and copies for it, its key is free and its condition holds.
   * What changes until it is sent is seen then. @throws NodeError when it would be refused
   */
  async #lookAhead(write: WriteWish, deadline: Deadline): Promise<Written | undefined> {
    const outcome = await this.router.write(neverMade(write), deadline.remainingMs);
    if (outcome.kind === 'written' || outcome.code !== 'VERSION_CONFLICT') return this.#written(write, outcome);
    const { shard, collectionId, id, condition } = write;
    if (condition === undefined) return undefined;
    const version = (await this.#current(shard, collectionId, id, deadline))?.version;
    const holds = condition.kind === 'version' ? version === condition.version : version === undefined;
    if (holds) return undefined;
    this.metrics.write({ op: 'upsert', outcome: 'refused' });
    throw version === undefined ? new NodeError('VERSION_CONFLICT', 'the document does not exist') : changed(version);
  }

  async #fixDimensions(vector: Float32Array, collection: Collection, deadline: Deadline): Promise<void> {
    for (;;) {
      // Others may have proposed it meanwhile.
      const now = this.#collection(collection.name);
      if (now.id !== collection.id) throw unknownCollection(collection.name);
      checkVector(vector, now);
      if (now.dimensions !== undefined) return;
      await inTime(this.#proposeDimensions(collection.id, vector.length), deadline);
    }
  }

  /** One change of the map for all the first vectors that wait for it. */
  #proposeDimensions(collectionId: number, dimensions: number): Promise<unknown> {
    const proposal = `${collectionId} ${dimensions}`;
    const pending = this.#proposals.get(proposal);
    if (pending !== undefined) return pending;
    const change = this.changes.change({ kind: 'setDimensions', collectionId, dimensions }).finally(() => {
      this.#proposals.delete(proposal);
    });
    this.#proposals.set(proposal, change);
    return change;
  }

  #encodeMerged(fields: DocumentFields): Uint8Array {
    if (fields.metadata !== undefined && utf8Length(JSON.stringify(fields.metadata)) > LIMITS.metadataBytesMax) {
      throw new NodeError(
        'LIMIT_EXCEEDED',
        `the merged metadata would be larger than ${LIMITS.metadataBytesMax} bytes`,
      );
    }
    if (
      fields.title === undefined &&
      fields.content === undefined &&
      fields.metadata === undefined &&
      fields.vector === undefined
    ) {
      throw new NodeError('INVALID_REQUEST', 'the patch would leave the document empty; delete it instead');
    }
    return this.#encode(fields);
  }

  #encode(fields: DocumentFields): Uint8Array {
    const payload = encodeDocument(fields);
    if (payload.length > LIMITS.documentBytesMax) {
      throw new NodeError(
        'PAYLOAD_TOO_LARGE',
        `the document takes ${payload.length} bytes encoded; at most ${LIMITS.documentBytesMax} are allowed: split it`,
      );
    }
    return payload;
  }

  /** @param asked what the write is about: equal for equal writes */
  #conditionAndKey(
    call: WriteCall,
    id: string,
    collectionId: number,
    kind: string,
    asked: () => Uint8Array,
  ): Pick<WriteWish, 'level' | 'key' | 'fingerprint' | 'condition'> {
    const level = this.replication.level(call.consistency);
    const condition = call.condition === undefined ? undefined : { condition: call.condition };
    if (call.key === undefined) return condition === undefined ? { level } : { level, ...condition };
    const what = utf8(JSON.stringify([kind, collectionId, id, call.condition ?? null]));
    const fingerprint = this.hasher.sha256Head(what, asked());
    const key = this.#opIdOf(call.key);
    return { level, ...condition, key, fingerprint };
  }

  async #write(write: WriteWish, timeoutMs: number): Promise<Written> {
    return this.#written(write, await this.router.write(write, timeoutMs));
  }

  /** @throws NodeError when it was refused */
  #written({ op, shard }: Pick<ShardWrite, 'op' | 'shard'>, outcome: MadeOrRefused): Written {
    this.metrics.write({ op: op === 'DELETE' ? 'delete' : 'upsert', outcome: outcomeName(outcome) });
    return made(shard, outcome);
  }

  #opIdOf(key: string | Uint8Array): Uint8Array {
    return typeof key === 'string' ? this.hasher.sha256Head(utf8(key)) : key;
  }
}

/** @throws NodeError when it was refused */
function made(shard: number, outcome: MadeOrRefused): Written {
  if (outcome.kind === 'written') return { ...outcome, shard };
  const { code, detail, retryAfterMs } = outcome;
  throw new NodeError(code, detail, retryAfterMs === undefined ? {} : { retryAfterMs });
}

/** `work` that goes before a write, as long as its caller waits. @throws NodeError SHARD_UNAVAILABLE: nothing was written */
async function inTime<T>(work: Promise<T>, deadline: Deadline): Promise<T> {
  const late = Symbol('late');
  const result = await deadline.race<T, typeof late>(work, () => late);
  if (result !== late) return result;
  const detail =
    'what the collection may hold could not be learned in time, or its dimension not be fixed in the map of the cluster; nothing was written: try again';
  throw new NodeError('SHARD_UNAVAILABLE', detail, { retryAfterMs: 1_000 });
}

/** What is left of a write's time. */
function leftMs(endsMs: number): number {
  return Math.max(1, endsMs - performance.now());
}

function unknownCollection(name: string): NodeError {
  const detail = `there is no collection "${name}"; create it with PUT /api/v1/collections/${name}`;
  return new NodeError('COLLECTION_NOT_FOUND', detail);
}

function changed(version: string): NodeError {
  return new NodeError('VERSION_CONFLICT', `the document has version "${version}"; read it again`);
}

function missing(id: string): NodeError {
  return new NodeError('DOCUMENT_NOT_FOUND', `there is no document "${id}"`);
}

/** Fields with the members of their metadata in one order: a client that sends a write again may have them in another one. */
function inOrder<T extends Pick<DocumentFields, 'metadata'> | DocumentPatch>(fields: T): T {
  return fields.metadata === undefined ? fields : { ...fields, metadata: sortedMembers(fields.metadata) };
}

function isNotMade(outcome: MadeOrRefused): boolean {
  return outcome.kind === 'refused' && outcome.code !== 'WRITE_OUTCOME_UNKNOWN';
}

function outcomeName(outcome: MadeOrRefused): 'stored' | 'refused' | 'unknown' {
  if (outcome.kind === 'written') return 'stored';
  return outcome.code === 'WRITE_OUTCOME_UNKNOWN' ? 'unknown' : 'refused';
}
