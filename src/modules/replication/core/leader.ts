import { assert } from '../../../kernel/assert.js';
import { equalBytes, toHex } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { maxHlc, nextHlc, compareHlc, versionText, type Hlc } from '../../../kernel/version.js';
import type { Entry, EntryOp } from '../../log/core/entry.js';
import { encodeEntry } from '../../log/core/entry-codec.js';
import { documentKey, idempotencyKey, shardKey } from '../../log/core/keys.js';
import type { AppendBatch, AppendEntry, RowChange } from '../../log/log-store.js';
import {
  CounterTally,
  decodeRow,
  encodeCounters,
  encodeRow,
  nextRow,
  type DocumentRow,
  type ShardCounters,
} from '../../shard/core/rows.js';
import { applyMapOperation } from '../../ring/core/map-operations.js';
import type { ClusterMap } from '../../ring/core/map.js';
import { decodeOperation, encodeOperation, type OperationRow } from './operation-row.js';
import type { AckLevel, Proposal, Reply, WriteOutcome } from './write.js';

/**
 * The primary of one shard, as a pure machine: `step(input)` returns the effects the driver performs in order.
 *
 * Owns: the order of writes (offset, chain, version), conditions, idempotency, the rows and counters that go with the
 * entries, and when a write may be acknowledged. Reads nothing: the driver passes the stored rows a proposal needs; rows
 * of entries not yet persisted (the overlay) win over them.
 *
 * Flow: propose → append → persisted → (applied) → reply. Persist before promise: a reply leaves only after the entry it
 * speaks of is durable at the asked level and, unless the index is late, applied (replication 3).
 *
 * Invariants: offsets are dense; durable ≤ tail; applied ≤ durable; replies leave in the order of offsets per level.
 */
export interface LeaderOptions {
  readonly shard: number;
  readonly epoch: Epoch;
  readonly hasher: Hasher;
  /** End of the log when the reign began. */
  readonly tail: number;
  readonly chain: Uint8Array;
  /** Clock reading of the last entry: the version clock never goes backwards (1.3). */
  readonly lastHlc: Hlc;
  /** Prefix generation of the document rows. */
  readonly generation: number;
  readonly counters: ShardCounters;
  /** Members of the set, this node included (2.8). */
  readonly setSize: number;
  /** Only in the log of META_SHARD: the map its entries change. */
  readonly map?: ClusterMap | undefined;
}

export type LeaderInput =
  /** Begins the reign: logs the BARRIER (2.3). */
  | { readonly kind: 'begin'; readonly wallMs: number; readonly opId: Uint8Array }
  | {
      readonly kind: 'propose';
      readonly wallMs: number;
      readonly monotonicMs: number;
      readonly proposals: readonly Proposal[];
    }
  /** Everything up to the offset is durable here. */
  | { readonly kind: 'persisted'; readonly offset: number; readonly monotonicMs: number }
  /** Everything up to the offset is in the index. */
  | { readonly kind: 'applied'; readonly offset: number }
  | { readonly kind: 'tick'; readonly monotonicMs: number }
  /** Superseded entries were deleted from the log; counted with the next batch. */
  | { readonly kind: 'compacted'; readonly bytes: number }
  /** The log failed or the shard is damaged: everything waiting is answered, nothing is admitted any more. */
  | { readonly kind: 'fail'; readonly detail: string };

export type LeaderEffect =
  | { readonly kind: 'append'; readonly batch: AppendBatch; readonly tail: number }
  | { readonly kind: 'apply'; readonly entries: readonly Uint8Array[]; readonly tail: number }
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** The map changed and the entry that says so is durable. */
  | { readonly kind: 'map'; readonly map: ClusterMap }
  /** Rows of a dropped collection may be deleted. */
  | { readonly kind: 'sweep'; readonly collectionId: number };

/** Operations in flight in one shard, and their bytes (replication 3). */
export const LEADER_OPS_MAX = 8_192;
export const LEADER_BYTES_MAX = 32 * 1024 * 1024;
/** Writes are throttled while the index is this late (replication 3). */
export const INDEX_LATE_MS = 1_000;
const RETRY_AFTER_MS = 100;
/** A durable write waits this long for the index before it is acknowledged as `indexed: false`. */
export const INDEX_WAIT_MS = 2_000;
/** Names of the shard's own records (`m!`, see log/core/keys.ts) that a leader writes. */
export const COUNTERS_ROW = 'counters';
export const PROMISE_ROW = 'promise';
export const MAP_ROW = 'map';

/** Copies a leader can make durable by itself. */
const DURABLE_COPIES = 1;

interface Pending {
  readonly ticket: number;
  readonly offset: number;
  readonly result: OperationRow;
  durableAtMs: number | undefined;
}

interface Unpersisted {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Names in the overlay that this entry put there. */
  rowName?: string;
  operationName?: string;
}

export class Leader {
  readonly #options: LeaderOptions;
  readonly #tally: CounterTally;
  #tail: number;
  #chain: Uint8Array;
  #clock: Hlc;
  #durable: number;
  #applied: number;
  #map: ClusterMap | undefined;
  #failure: string | undefined;
  #bytesInFlight = 0;
  readonly #purged = new Set<number>();
  /** Rows of entries not yet persisted, by key in hex; they win over what the driver read. */
  readonly #rows = new Map<string, DocumentRow>();
  readonly #operations = new Map<string, OperationRow>();
  /** Entries not yet persisted, in order: what `persisted` hands to the index. */
  #unpersisted: Unpersisted[] = [];
  /** Waiting for durability or for the index, ascending by offset. */
  #pending: Pending[] = [];
  #maps: { readonly offset: number; readonly map: ClusterMap }[] = [];
  #sweeps: { readonly offset: number; readonly collectionId: number }[] = [];

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#tally = new CounterTally(options.hasher, options.counters);
    this.#tail = options.tail;
    this.#chain = options.chain;
    this.#clock = options.lastHlc;
    this.#durable = options.tail;
    this.#applied = options.tail;
    this.#map = options.map;
  }

  get epoch(): Epoch {
    return this.#options.epoch;
  }

  get tail(): number {
    return this.#tail;
  }

  get durable(): number {
    return this.#durable;
  }

  get applied(): number {
    return this.#applied;
  }

  /** Chain at the tail. */
  get chain(): Uint8Array {
    return this.#chain;
  }

  /** Counters as of the tail. */
  counters(): ShardCounters {
    return this.#tally.value();
  }

  /** Writes admitted and not yet answered. */
  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return { ops: this.#pending.length, bytes: this.#bytesInFlight };
  }

  step(input: LeaderInput): readonly LeaderEffect[] {
    switch (input.kind) {
      case 'begin':
        return this.#begin(input.wallMs, input.opId);
      case 'propose':
        return this.#propose(input.proposals, input.wallMs, input.monotonicMs);
      case 'persisted':
        return this.#persisted(input.offset, input.monotonicMs);
      case 'applied':
        assert(input.offset <= this.#durable, 'the index cannot be ahead of the durable log');
        this.#applied = Math.max(this.#applied, input.offset);
        return this.#acknowledge(undefined);
      case 'tick':
        return this.#acknowledge(input.monotonicMs);
      case 'compacted':
        this.#tally.reclaim(input.bytes);
        return [];
      case 'fail':
        return this.#fail(input.detail);
    }
  }

  #begin(wallMs: number, opId: Uint8Array): readonly LeaderEffect[] {
    const { shard, epoch } = this.#options;
    const entry = this.#append('BARRIER', 0, '', new Uint8Array(0), opId, this.#tick(wallMs));
    this.#tally.supersede(entry.bytes.length);
    // The promise to refuse lower epochs goes down with the first entry of this one (1.2, 5.4).
    const promise = new Uint8Array(24);
    new DataView(promise.buffer).setBigUint64(0, BigInt(epoch.num));
    promise.set(epoch.uuid, 8);
    return [this.#batch([entry], [{ key: shardKey(shard, PROMISE_ROW), value: promise }])];
  }

  #propose(proposals: readonly Proposal[], wallMs: number, monotonicMs: number): readonly LeaderEffect[] {
    const effects: LeaderEffect[] = [];
    const entries: AppendEntry[] = [];
    const rows: RowChange[] = [];
    for (const proposal of proposals) {
      const outcome = this.#admit(proposal, wallMs, monotonicMs, entries, rows);
      if (outcome !== undefined) effects.push({ kind: 'reply', reply: { ticket: proposal.ticket, outcome } });
    }
    if (entries.length > 0) effects.push(this.#batch(entries, rows));
    // A keyed retry of something durable long ago is answered at once.
    effects.push(...this.#acknowledge(monotonicMs));
    return effects;
  }

  /** Logs one proposal, or says at once why not. Undefined: the answer comes with durability. */
  #admit(
    proposal: Proposal,
    wallMs: number,
    monotonicMs: number,
    entries: AppendEntry[],
    rows: RowChange[],
  ): WriteOutcome | undefined {
    if (this.#failure !== undefined) return refused('LOG_CORRUPT', this.#failure);
    if (proposal.keyed) {
      const earlier = this.#earlier(proposal);
      if (earlier?.kind === 'conflict') return earlier.outcome;
      if (earlier?.kind === 'again') {
        this.#wait(proposal, earlier.row);
        return undefined;
      }
    }
    const needed = copiesNeeded(proposal.level, this.#options.setSize);
    if (needed > DURABLE_COPIES) {
      return refused(
        'NO_QUORUM',
        `the consistency "${proposal.level}" needs ${needed} copies and ${DURABLE_COPIES} can be reached`,
      );
    }
    if (this.#purged.has(proposal.collectionId)) return refused('COLLECTION_NOT_FOUND', 'the collection was dropped');
    const overload = this.#overload(proposal.payload.length, monotonicMs);
    if (overload !== undefined)
      return { kind: 'refused', code: 'OVERLOADED', detail: overload, retryAfterMs: RETRY_AFTER_MS };
    switch (proposal.op) {
      case 'UPSERT':
      case 'DELETE':
        return this.#writeDocument(proposal, wallMs, entries, rows);
      case 'COLLECTION_PURGE':
        return this.#purgeCollection(proposal, wallMs, entries);
      case 'MAP':
        return this.#changeMap(proposal, wallMs, entries, rows);
    }
  }

  /** Why there is no room for another write: too many or too large ones in flight, or an index that falls behind. */
  #overload(bytes: number, monotonicMs: number): string | undefined {
    if (this.#pending.length >= LEADER_OPS_MAX || this.#bytesInFlight + bytes > LEADER_BYTES_MAX) {
      return 'too many writes of this shard are in flight; send them again a little later';
    }
    const oldestMs = this.#pending.at(0)?.durableAtMs;
    if (oldestMs !== undefined && monotonicMs - oldestMs > INDEX_LATE_MS) {
      return 'the index of this shard is behind; send the write again a little later';
    }
    return undefined;
  }

  #writeDocument(
    proposal: Proposal,
    wallMs: number,
    entries: AppendEntry[],
    rows: RowChange[],
  ): WriteOutcome | undefined {
    const { shard, generation } = this.#options;
    const rowKey = documentKey(generation, shard, proposal.collectionId, proposal.id);
    const rowName = toHex(rowKey);
    const before =
      this.#rows.get(rowName) ?? (proposal.storedRow === undefined ? undefined : decodeRow(proposal.storedRow));
    const live = before !== undefined && !before.tombstone ? before : undefined;
    const conflict = checkCondition(proposal, live);
    if (conflict !== undefined) return conflict;
    // 1.4: a write that could have seen the old value supersedes it, whatever the clocks did.
    let hlc = this.#tick(wallMs);
    if (before !== undefined && compareHlc(hlc, before.version.hlc) <= 0) hlc = nextHlc(before.version.hlc);
    const entry = this.#append(proposal.op, proposal.collectionId, proposal.id, proposal.payload, proposal.opId, hlc);
    const after = nextRow(
      { op: proposal.op, version: { hlc, opId: proposal.opId }, offset: entry.offset },
      entry.bytes.length,
      before,
    );
    assert(after !== undefined, 'a write supersedes what it could have seen');
    this.#rows.set(rowName, after);
    this.#unpersisted[this.#unpersisted.length - 1].rowName = rowName;
    this.#tally.change(proposal.collectionId, proposal.id, before, after);
    rows.push({ key: rowKey, value: encodeRow(after) });
    const created = live === undefined && proposal.op === 'UPSERT';
    this.#record(proposal, entry, hlc, created, wallMs, entries, rows);
    return undefined;
  }

  #purgeCollection(proposal: Proposal, wallMs: number, entries: AppendEntry[]): WriteOutcome | undefined {
    const hlc = this.#tick(wallMs);
    const entry = this.#append('COLLECTION_PURGE', proposal.collectionId, '', new Uint8Array(0), proposal.opId, hlc);
    this.#purged.add(proposal.collectionId);
    this.#tally.drop(proposal.collectionId);
    this.#tally.supersede(entry.bytes.length);
    this.#sweeps.push({ offset: entry.offset, collectionId: proposal.collectionId });
    this.#record(proposal, entry, hlc, false, wallMs, entries, []);
    return undefined;
  }

  #changeMap(proposal: Proposal, wallMs: number, entries: AppendEntry[], rows: RowChange[]): WriteOutcome | undefined {
    assert(proposal.mapOperation !== undefined, 'a change of the map carries its operation');
    const result = applyMapOperation(this.#map, proposal.mapOperation);
    if (result.kind === 'refused') return refused(result.code, result.detail);
    const hlc = this.#tick(wallMs);
    const entry = this.#append('MAP', 0, '', proposal.payload, proposal.opId, hlc);
    this.#tally.supersede(entry.bytes.length);
    this.#map = result.map;
    this.#maps.push({ offset: entry.offset, map: result.map });
    rows.push({ key: shardKey(this.#options.shard, MAP_ROW), value: encodeMap(result.map) });
    this.#record(proposal, entry, hlc, true, wallMs, entries, rows);
    return undefined;
  }

  #record(
    proposal: Proposal,
    entry: AppendEntry,
    hlc: Hlc,
    created: boolean,
    wallMs: number,
    entries: AppendEntry[],
    rows: RowChange[],
  ): void {
    entries.push(entry);
    const result: OperationRow = {
      offset: entry.offset,
      epoch: this.#options.epoch.num,
      version: { hlc, opId: proposal.opId },
      created,
      fingerprint: proposal.fingerprint,
      writtenMs: wallMs,
    };
    if (proposal.keyed) {
      const name = toHex(proposal.opId);
      this.#operations.set(name, result);
      this.#unpersisted[this.#unpersisted.length - 1].operationName = name;
      rows.push({ key: idempotencyKey(this.#options.shard, proposal.opId), value: encodeOperation(result) });
    }
    this.#wait(proposal, result);
  }

  /** Same key, same payload: the stored result, as soon as its entry has the asked level. Other payload: a conflict (2.10). */
  #earlier(
    proposal: Proposal,
  ): { kind: 'again'; row: OperationRow } | { kind: 'conflict'; outcome: WriteOutcome } | undefined {
    const row =
      this.#operations.get(toHex(proposal.opId)) ??
      (proposal.storedOperation === undefined ? undefined : decodeOperation(proposal.storedOperation));
    if (row === undefined) return undefined;
    if (equalBytes(row.fingerprint, proposal.fingerprint)) return { kind: 'again', row };
    return {
      kind: 'conflict',
      outcome: refused('IDEMPOTENCY_CONFLICT', 'this idempotency key was used for another request; take a new key'),
    };
  }

  #wait(proposal: Proposal, result: OperationRow): void {
    const pending: Pending = { ticket: proposal.ticket, offset: result.offset, result, durableAtMs: undefined };
    // Ascending by offset: a retry of an earlier entry goes before younger ones.
    let at = this.#pending.length;
    while (at > 0 && this.#pending[at - 1].offset > pending.offset) at--;
    if (at === this.#pending.length) this.#pending.push(pending);
    else this.#pending.splice(at, 0, pending);
  }

  #tick(wallMs: number): Hlc {
    this.#clock = maxHlc({ ms: wallMs, counter: 0 }, nextHlc(this.#clock));
    return this.#clock;
  }

  #append(op: EntryOp, collectionId: number, id: string, payload: Uint8Array, opId: Uint8Array, hlc: Hlc): AppendEntry {
    const { shard, epoch, hasher } = this.#options;
    const entry: Omit<Entry, 'chain'> = {
      op,
      shard,
      epoch,
      offset: this.#tail + 1,
      version: { hlc, opId },
      collectionId,
      id,
      payload,
    };
    const { bytes, chain } = encodeEntry(entry, this.#chain, hasher);
    this.#tail = entry.offset;
    this.#chain = chain;
    this.#unpersisted.push({ offset: entry.offset, bytes });
    this.#bytesInFlight += bytes.length;
    return { offset: entry.offset, epoch, chain, bytes };
  }

  #batch(entries: readonly AppendEntry[], rows: readonly RowChange[]): LeaderEffect {
    const { shard } = this.#options;
    const counters: RowChange = { key: shardKey(shard, COUNTERS_ROW), value: encodeCounters(this.#tally.value()) };
    return { kind: 'append', batch: { shard, entries, rows: [...rows, counters] }, tail: this.#tail };
  }

  #persisted(offset: number, monotonicMs: number): readonly LeaderEffect[] {
    assert(offset > this.#durable && offset <= this.#tail, 'durability moves forward, inside the log');
    this.#durable = offset;
    const effects: LeaderEffect[] = [];
    let count = 0;
    while (count < this.#unpersisted.length && this.#unpersisted[count].offset <= offset) count++;
    const persisted = this.#unpersisted.splice(0, count);
    for (const { bytes } of persisted) this.#bytesInFlight -= bytes.length;
    this.#forgetOverlay(persisted);
    effects.push({ kind: 'apply', entries: persisted.map(({ bytes }) => bytes), tail: offset });
    while (this.#maps.length > 0 && this.#maps[0].offset <= offset) {
      const { map } = this.#maps[0];
      this.#maps.shift();
      effects.push({ kind: 'map', map });
    }
    while (this.#sweeps.length > 0 && this.#sweeps[0].offset <= offset) {
      const { collectionId } = this.#sweeps[0];
      this.#sweeps.shift();
      effects.push({ kind: 'sweep', collectionId });
    }
    effects.push(...this.#acknowledge(monotonicMs));
    return effects;
  }

  /** Rows and results of durable entries are in the store now, unless a younger entry put them in the overlay again. */
  #forgetOverlay(persisted: readonly Unpersisted[]): void {
    for (const { offset, rowName, operationName } of persisted) {
      if (rowName !== undefined && this.#rows.get(rowName)?.offset === offset) this.#rows.delete(rowName);
      if (operationName !== undefined) this.#operations.delete(operationName);
    }
  }

  /** Answers what is durable at its level and applied, or durable and late for the index. */
  #acknowledge(monotonicMs: number | undefined): readonly LeaderEffect[] {
    const effects: LeaderEffect[] = [];
    let kept = 0;
    let at = 0;
    for (; at < this.#pending.length; at++) {
      const pending = this.#pending[at];
      if (pending.offset > this.#durable) break;
      if (monotonicMs !== undefined) pending.durableAtMs ??= monotonicMs;
      const indexed = pending.offset <= this.#applied;
      const late =
        monotonicMs !== undefined &&
        pending.durableAtMs !== undefined &&
        monotonicMs - pending.durableAtMs >= INDEX_WAIT_MS;
      if (indexed || late)
        effects.push({
          kind: 'reply',
          reply: { ticket: pending.ticket, outcome: this.#written(pending.result, indexed) },
        });
      else this.#pending[kept++] = pending;
    }
    if (kept < at) this.#pending.splice(kept, at - kept);
    return effects;
  }

  #written(result: OperationRow, indexed: boolean): WriteOutcome {
    const { version, epoch, offset, created } = result;
    return { kind: 'written', version, epoch, offset, created, durable: DURABLE_COPIES, indexed };
  }

  #fail(detail: string): readonly LeaderEffect[] {
    this.#failure = detail;
    const waiting = this.#pending;
    this.#pending = [];
    this.#unpersisted = [];
    return waiting.map((pending) => ({
      kind: 'reply',
      reply: {
        ticket: pending.ticket,
        outcome: refused('WRITE_OUTCOME_UNKNOWN', `${detail}; retry with the same idempotency key`),
      },
    }));
  }
}

/** Durable copies of a set of `setSize` that a level asks for (2.8). */
export function copiesNeeded(level: AckLevel, setSize: number): number {
  switch (level) {
    case 'one':
      return 1;
    case 'quorum':
      return Math.floor(setSize / 2) + 1;
    case 'all':
      return setSize;
  }
}

function checkCondition(proposal: Proposal, live: DocumentRow | undefined): WriteOutcome | undefined {
  const condition = proposal.condition;
  if (condition === undefined) return undefined;
  switch (condition.kind) {
    case 'absent':
      return live === undefined
        ? undefined
        : refused('VERSION_CONFLICT', `the document exists, with version "${versionText(live.version)}"`);
    case 'present':
      return live === undefined ? refused('DOCUMENT_NOT_FOUND', `there is no document "${proposal.id}"`) : undefined;
    case 'version':
      if (live === undefined) return refused('VERSION_CONFLICT', 'the document does not exist');
      if (versionText(live.version) === condition.version) return undefined;
      return refused('VERSION_CONFLICT', `the document has version "${versionText(live.version)}"; read it again`);
  }
}

function encodeMap(map: ClusterMap): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(map));
}

function refused(code: Extract<WriteOutcome, { kind: 'refused' }>['code'], detail: string): WriteOutcome {
  return { kind: 'refused', code, detail };
}
