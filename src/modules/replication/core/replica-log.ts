import { assert } from '../../../kernel/assert.js';
import { toHex } from '../../../kernel/bytes.js';
import { NO_EPOCH, sameEpoch, type Epoch, type EpochStart } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { compareVersions, maxHlc, nextHlc, type Hlc, type Version } from '../../../kernel/version.js';
import type { Entry } from '../../log/core/entry.js';
import {
  encodeEntry,
  entryCollectionId,
  entryEpoch,
  entryChain,
  entryId,
  entryOffset,
  entryOp,
  entryOperation,
  entryPayload,
  entryVersion,
  isOfEpoch,
} from '../../log/core/entry-codec.js';
import { documentKey, idempotencyKey, shardKey } from '../../log/core/keys.js';
import type { AppendBatch, AppendEntry, RowChange } from '../../log/log-store.js';
import {
  CounterTally,
  decodeRow,
  encodeCounters,
  encodeRow,
  looseRows,
  nextRow,
  type DocumentRow,
  type ShardCounters,
} from '../../shard/core/rows.js';
import {
  afterMerged,
  decodeBranch,
  encodeBranch,
  encodeBranches,
  missingIn,
  type BranchEpoch,
  type BranchRecord,
} from './branch-epochs.js';
import { forkOf } from './fork.js';
import { endOfLoose } from './loose-rows.js';
import { decodeOperation, encodeOperation, type OperationRow } from './operation-row.js';
import { NO_SET, type LogEnd, type ShardSet } from './protocol.js';
import { decodeSet, encodeSet, encodeSets, type LoggedSet } from './set-codec.js';

/** Names of the shard's own records (`m!`, see log/core/keys.ts) that replication writes. */
export const COUNTERS_ROW = 'counters';
export const SETS_ROW = 'sets';
/** What is known of branches (6.4, 7.2). */
export const BRANCHES_ROW = 'branches';
/** When the whole log was last checked (2.12). */
export const SCRUB_ROW = 'scrubbed';
/** Sets kept: enough to go back to the one before a fork. */
const SETS_KEPT = 16;

/** A log is cut to a fork (6.3), or a snapshot takes its place (4.7). */
export type Alteration = 'cutting' | 'replacing';

export interface ReplicaLogOptions {
  readonly shard: number;
  readonly hasher: Hasher;
  /** Prefix generation of the document rows (replication 4.7). */
  readonly generation: number;
  /** The end of the log when it was opened; all of it is durable. */
  readonly tail: number;
  readonly chain: Uint8Array;
  readonly start: number;
  readonly history: readonly EpochStart[];
  /** Clock reading of the last entry: the version clock never goes backwards (1.3). */
  readonly lastHlc: Hlc;
  readonly counters: ShardCounters;
  /** The sets its SET entries made, ascending (9.6); the last is in force. */
  readonly sets: readonly LoggedSet[];
  /** Merged into it, and cut off from it. */
  readonly branches: BranchRecord;
}

/** An entry on its way to the disk. */
interface Unpersisted {
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Names in the overlay that this entry put there. */
  rowName?: string;
  operationName?: string;
}

/** What an entry is made of before it has a place. */
export type Draft = Pick<Entry, 'op' | 'collectionId' | 'id' | 'payload' | 'version' | 'origin' | 'operation'>;

/** Names a document in the overlay: cheaper than its key as text. */
export function rowNameOf(collectionId: number, id: string): string {
  return `${collectionId}/${id}`;
}

/**
 * What a replica's log adds up to, as a value in memory: its end, the rows and results of entries that are not persisted
 * yet (the overlay, which wins over what the driver read), and the counters. Both a primary, which appends, and a
 * follower, which accepts, write through it, so that equal logs give equal rows.
 *
 * Invariants: offsets are dense; durable ≤ tail; an entry leaves the overlay when it is durable.
 */
export class ReplicaLog {
  readonly shard: number;
  readonly #hasher: Hasher;
  #generation: number;
  #alteration: Alteration | undefined;
  #tail: number;
  #chain: Uint8Array;
  /** The last entry, while its chain was not asked for. */
  #lastEntry: Uint8Array | undefined;
  #start: number;
  #history: readonly EpochStart[];
  #durable: number;
  #durableChain: Uint8Array;
  #agreed = 0;
  #clock: Hlc;
  #tally: CounterTally;
  #sets: readonly LoggedSet[];
  #branches: BranchRecord;
  #loose: number;
  #bytesInFlight = 0;
  readonly #rows = new Map<string, DocumentRow>();
  readonly #operations = new Map<string, OperationRow>();
  readonly #dropped = new Set<number>();
  #unpersisted: Unpersisted[] = [];

  constructor(options: ReplicaLogOptions) {
    this.shard = options.shard;
    this.#hasher = options.hasher;
    this.#generation = options.generation;
    this.#tail = options.tail;
    this.#chain = options.chain;
    this.#start = options.start;
    this.#history = options.history;
    this.#durable = options.tail;
    this.#durableChain = options.chain;
    this.#clock = options.lastHlc;
    this.#tally = new CounterTally(options.hasher, options.counters);
    this.#sets = options.sets;
    this.#branches = options.branches;
    this.#loose = looseRows(options.counters);
  }

  get tail(): number {
    return this.#tail;
  }

  /** Chain at the tail. */
  get chain(): Uint8Array {
    if (this.#lastEntry !== undefined) {
      this.#chain = entryChain(this.#lastEntry);
      this.#lastEntry = undefined;
    }
    return this.#chain;
  }

  get durable(): number {
    return this.#durable;
  }

  get durableChain(): Uint8Array {
    return this.#durableChain;
  }

  get start(): number {
    return this.#start;
  }

  get history(): readonly EpochStart[] {
    return this.#history;
  }

  get generation(): number {
    return this.#generation;
  }

  /** The set of the last SET entry; mapEpoch 0 when there was none. */
  get set(): ShardSet {
    return this.#sets.at(-1)?.set ?? NO_SET;
  }

  /** Offset of that entry; 0 when there was none. */
  get setOffset(): number {
    return this.#sets.at(-1)?.offset ?? 0;
  }

  /** Branches that are part of the log, and those that were cut off. */
  get branches(): BranchRecord {
    return this.#branches;
  }

  /** What was cut off from this copy and is not known to be merged (6.4). */
  get unmerged(): readonly BranchEpoch[] {
    return this.missing(this.#branches.cut);
  }

  /** What of a branch the log does not contain, nor what was merged into it. */
  missing(branch: readonly BranchEpoch[]): readonly BranchEpoch[] {
    return missingIn(this.#branches, this.end(), branch);
  }

  /** Loose rows there are, as of the tail. */
  get loose(): number {
    return this.#loose;
  }

  /** Bytes of entries that are not durable yet. */
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /** Epoch of the last entry. */
  get lastEpoch(): Epoch {
    return this.#history.at(-1)?.epoch ?? NO_EPOCH;
  }

  /** Where it ends, as other replicas are told. */
  end(): LogEnd {
    return {
      lastOffset: this.#tail,
      lastEpoch: this.lastEpoch,
      chain: this.chain,
      history: this.#history,
      start: this.#start,
      agreed: this.#agreed,
    };
  }

  /** Up to here a majority of the set has had it, as far as this copy knows. */
  get agreed(): number {
    return this.#agreed;
  }

  /** A majority of the set has everything up to `offset` (4.5). Known until the copy is closed: the next reign tells it anew. */
  agree(offset: number): void {
    this.#agreed = Math.max(this.#agreed, offset);
  }

  /** Counters as of the tail. */
  counters(): ShardCounters {
    return this.#tally.value();
  }

  /** The next reading of the version clock (1.3). */
  tick(wallMs: number): Hlc {
    this.#clock = maxHlc({ ms: wallMs, counter: 0 }, nextHlc(this.#clock));
    return this.#clock;
  }

  /**
   * Superseded entries up to `start` are about to be deleted. Told ahead of the disk, so that nothing decided from here on
   * reaches below what its log will be.
   */
  compacting(start: number): void {
    assert(this.#alteration === undefined, 'the start of a log stays where it is while the log is cut or replaced');
    this.#start = Math.max(this.#start, start);
  }

  /** Superseded entries were deleted. */
  compacted(bytes: number): void {
    this.#tally.reclaim(bytes);
  }

  /** Encodes the next entry. */
  append(epoch: Epoch, draft: Draft): AppendEntry {
    const entry: Omit<Entry, 'chain'> = { ...draft, shard: this.shard, epoch, offset: this.#tail + 1 };
    const { bytes } = encodeEntry(entry, this.chain, this.#hasher);
    return this.#take({ offset: entry.offset, epoch, bytes });
  }

  /** Takes the next entry from a primary; its sums were verified by the driver. */
  accept(bytes: Uint8Array): AppendEntry {
    const offset = entryOffset(bytes);
    assert(offset === this.#tail + 1, `shard ${this.shard}: offset ${this.#tail + 1} comes next, got ${offset}`);
    const epoch = isOfEpoch(bytes, this.lastEpoch) ? this.lastEpoch : entryEpoch(bytes);
    return this.#take({ offset, epoch, bytes });
  }

  /** The row of a document: the overlay's, else the stored one. */
  row(rowName: string, stored: Uint8Array | undefined): DocumentRow | undefined {
    return this.#rows.get(rowName) ?? (stored === undefined ? undefined : decodeRow(stored));
  }

  /** The entry at an offset while it is on its way to the disk. */
  unpersisted(offset: number): Uint8Array | undefined {
    return offset > this.#durable ? this.#unpersisted[offset - this.#durable - 1].bytes : undefined;
  }

  /** The result under an operation id: the overlay's, else the stored one. */
  operation(opId: Uint8Array, stored: Uint8Array | undefined): OperationRow | undefined {
    return this.#operations.get(toHex(opId)) ?? (stored === undefined ? undefined : decodeOperation(stored));
  }

  rowKey(collectionId: number, id: string): Uint8Array {
    return documentKey(this.#generation, this.shard, collectionId, id);
  }

  /**
   * What the last entry makes of its document's row (2.4), counted and put into the overlay; nothing when the row stays
   * as it is, and the entry is superseded from the start. A loose row ends when it is re-pointed or beaten (6.4): what
   * lies in the side store for it goes in the same batch.
   */
  write(entry: AppendEntry, what: RowWrite, before: DocumentRow | undefined): readonly RowChange[] {
    const after = nextRow({ op: what.op, version: what.version, offset: entry.offset }, entry.bytes.length, before);
    if (after === undefined) {
      this.#tally.supersede(entry.bytes.length);
      return [];
    }
    this.#rows.set(what.rowName, after);
    this.#last().rowName = what.rowName;
    this.#tally.change(what.collectionId, what.id, before, after);
    const change = { key: what.rowKey, value: encodeRow(after) };
    if (before?.loose === true) this.#loose--;
    return [change, ...endOfLoose(this.shard, what.collectionId, what.id, before)];
  }

  /** Remembers the result of a keyed operation with the last entry. */
  remember(opId: Uint8Array, result: OperationRow): RowChange {
    const name = toHex(opId);
    this.#operations.set(name, result);
    this.#last().operationName = name;
    return { key: idempotencyKey(this.shard, opId, this.#generation), value: encodeOperation(result) };
  }

  /** Logs another set; counted by from now on (9.6). */
  appendSet(epoch: Epoch, version: Version, set: ShardSet): { readonly entry: AppendEntry; readonly row: RowChange } {
    const entry = this.append(epoch, { op: 'SET', collectionId: 0, id: '', payload: encodeSet(set), version });
    this.supersede(entry.bytes.length);
    return { entry, row: this.#changeSet(entry.offset, set) };
  }

  /** Logs that a branch is merged as a whole: its positions are part of this log from now on (6.4, 7.2). */
  appendMerged(
    epoch: Epoch,
    version: Version,
    branch: readonly BranchEpoch[],
  ): { readonly entry: AppendEntry; readonly row: RowChange } {
    const payload = encodeBranch(branch);
    const entry = this.append(epoch, { op: 'MERGED', collectionId: 0, id: '', payload, version });
    this.supersede(entry.bytes.length);
    return { entry, row: this.#merge(entry.offset, branch) };
  }

  /** An entry no row points at. */
  supersede(bytes: number): void {
    this.#tally.supersede(bytes);
  }

  /** A collection was dropped: its rows count no more, though they may be there for a while. */
  drop(collectionId: number): void {
    this.#dropped.add(collectionId);
    this.#tally.drop(collectionId);
    this.#loose = looseRows(this.#tally.value());
  }

  /** Whether it says that a collection was dropped, as far as it was written since it was opened or altered. */
  isDropped(collectionId: number): boolean {
    return this.#dropped.has(collectionId);
  }

  /**
   * Takes entries of a primary and says what they change: rows, results and counters, exactly as the primary wrote them.
   * `stored` are the stored rows of the entries' documents, in their order. Loose rows that a higher version ended lost
   * against it (6.4): they are in `beaten`.
   */
  follow(
    entries: readonly Uint8Array[],
    stored: readonly (Uint8Array | undefined)[],
  ): { readonly batch: AppendBatch; readonly beaten: readonly BeatenRow[] } {
    const appended: AppendEntry[] = [];
    const beaten: BeatenRow[] = [];
    const rows: RowChange[] = [];
    for (const [i, bytes] of entries.entries()) {
      const entry = this.accept(bytes);
      appended.push(entry);
      const op = entryOp(bytes);
      const version = entryVersion(bytes);
      const operation = entryOperation(bytes);
      if (op === 'UPSERT' || op === 'DELETE') {
        const [collectionId, id] = [entryCollectionId(bytes), entryId(bytes)];
        const rowKey = this.rowKey(collectionId, id);
        const rowName = rowNameOf(collectionId, id);
        const what = { op, collectionId, id, version, rowKey, rowName } as const;
        const before = this.row(rowName, stored[i]);
        rows.push(...this.write(entry, what, before));
        if (before?.loose === true && compareVersions(version, before.version) > 0)
          beaten.push({ collectionId, id, winner: bytes });
      } else this.supersede(bytes.length);
      if (operation !== undefined) rows.push(this.remember(version.opId, resultOf(entry, version, operation)));
      if (op === 'SET') rows.push(this.#changeSet(entry.offset, decodeSet(entryPayload(bytes))));
      if (op === 'MERGED') rows.push(this.#merge(entry.offset, decodeBranch(entryPayload(bytes))));
      if (op === 'COLLECTION_PURGE') this.drop(entryCollectionId(bytes));
    }
    return { batch: this.batch(appended, rows), beaten };
  }

  /** A batch with the counters that go with its rows. */
  batch(entries: readonly AppendEntry[], rows: readonly RowChange[]): AppendBatch {
    const counters = { key: shardKey(this.shard, COUNTERS_ROW), value: encodeCounters(this.#tally.value()) };
    return { shard: this.shard, entries, rows: [...rows, counters] };
  }

  /** Everything up to `offset` is durable; the entries that became so, in order. */
  persisted(offset: number): readonly Uint8Array[] {
    assert(offset > this.#durable && offset <= this.#tail, 'durability moves forward, inside the log');
    this.#durable = offset;
    let count = 0;
    while (count < this.#unpersisted.length && this.#unpersisted[count].offset <= offset) count++;
    const persisted = this.#unpersisted.splice(0, count);
    this.#durableChain = entryChain(persisted[persisted.length - 1].bytes);
    if (offset === this.#tail) {
      // The entry may be a view of all that came with it, and is not kept for its chain.
      this.#chain = this.#durableChain;
      this.#lastEntry = undefined;
    }
    for (const { bytes, rowName, operationName, offset: at } of persisted) {
      this.#bytesInFlight -= bytes.length;
      if (rowName !== undefined && this.#rows.get(rowName)?.offset === at) this.#rows.delete(rowName);
      if (operationName !== undefined && this.#operations.get(operationName)?.offset === at)
        this.#operations.delete(operationName);
    }
    return persisted.map(({ bytes }) => bytes);
  }

  /** What is changing the log other than by appending, until `replaced`: nothing else may be done with it, nor said of it. */
  get alteration(): Alteration | undefined {
    return this.#alteration;
  }

  /** It is about to be cut (6.3), or a snapshot to take its place (4.7). */
  alter(alteration: Alteration): void {
    this.#alteration = alteration;
  }

  /** The log was cut, or replaced by a snapshot: it ends anew, all of it durable, nothing in flight. */
  replaced(end: Omit<ReplicaLogOptions, 'shard' | 'hasher' | 'lastHlc'>): void {
    assert(this.#unpersisted.length === 0, 'a log is cut when nothing is on its way to the disk');
    this.#agreed = Math.min(this.#agreed, forkOf(this.end(), { history: end.history, lastOffset: end.tail }));
    this.#alteration = undefined;
    this.#generation = end.generation;
    this.#tail = end.tail;
    this.#chain = end.chain;
    this.#lastEntry = undefined;
    this.#start = end.start;
    this.#history = end.history;
    this.#durable = end.tail;
    this.#durableChain = end.chain;
    this.#tally = new CounterTally(this.#hasher, end.counters);
    this.#sets = end.sets;
    this.#branches = end.branches;
    this.#loose = looseRows(end.counters);
    this.#rows.clear();
    this.#operations.clear();
    this.#dropped.clear();
  }

  #take(entry: AppendEntry): AppendEntry {
    if (!sameEpoch(entry.epoch, this.lastEpoch)) {
      const epoch = { num: entry.epoch.num, uuid: new Uint8Array(entry.epoch.uuid) };
      this.#history = [...this.#history, { epoch, start: entry.offset }];
    }
    this.#tail = entry.offset;
    this.#lastEntry = entry.bytes;
    this.#unpersisted.push({ offset: entry.offset, bytes: entry.bytes });
    this.#bytesInFlight += entry.bytes.length;
    return entry;
  }

  #changeSet(offset: number, set: ShardSet): RowChange {
    this.#sets = [...this.#sets, { offset, set }].slice(-SETS_KEPT);
    return { key: shardKey(this.shard, SETS_ROW), value: encodeSets(this.#sets) };
  }

  #merge(offset: number, branch: readonly BranchEpoch[]): RowChange {
    this.#branches = afterMerged(this.#branches, this.end(), branch, offset);
    return { key: shardKey(this.shard, BRANCHES_ROW), value: encodeBranches(this.#branches) };
  }

  #last(): Unpersisted {
    return this.#unpersisted[this.#unpersisted.length - 1];
  }
}

/** A loose row that a higher version of the primary's log ended (6.4). */
export interface BeatenRow {
  readonly collectionId: number;
  readonly id: string;
  /** The entry that did. */
  readonly winner: Uint8Array;
}

/** The document an entry is about, with the key of its row. */
export interface RowWrite {
  readonly op: 'UPSERT' | 'DELETE';
  readonly collectionId: number;
  readonly id: string;
  readonly version: Version;
  readonly rowKey: Uint8Array;
  /** Of `rowNameOf`. */
  readonly rowName: string;
}

/** The idempotency row of a keyed entry: the same on every copy. */
function resultOf(entry: AppendEntry, version: Version, operation: NonNullable<Entry['operation']>): OperationRow {
  return {
    offset: entry.offset,
    epoch: entry.epoch.num,
    version,
    created: operation.created,
    fingerprint: operation.fingerprint,
    writtenMs: version.hlc.ms,
  };
}
