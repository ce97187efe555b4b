import { fromUtf8 } from '../../kernel/bytes.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { ErrorCode } from '../../kernel/errors.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { LogStore } from '../log/log-store.js';
import { forkOfPosition, offsetOfPosition } from '../replication/core/branch-epochs.js';
import { conflictPrefix, type Conflict } from '../replication/core/conflict-row.js';
import type { Branch } from '../replication/core/fork.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { WriteRequest } from '../replication/core/write.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import type { Position } from './core/positions.js';
import type { Refusal, ShardGate, ShardWrite, ShardWriteOutcome } from './core/shard-calls.js';

/** Whether this node's copy of a shard may answer. */
export type GateAnswer =
  | { readonly open: true; /** Absent: in sync. */ readonly lagMs?: number }
  | { readonly open: false; readonly refusal: Refusal };

/**
 * What the calls of the coordinator need of this node's replicas: which of them may answer, and who makes a write. The
 * role of a copy can change between two calls; nothing here waits for it.
 */
export interface ReplicaGate {
  /** Of the map this node has. */
  readonly mapEpoch: number;
  /**
   * Epoch, role, in sync; not the session.
   * @param searched whether the index answers, and not the log
   */
  check(gate: ShardGate, searched: boolean): GateAnswer;
  /** Whether the shard's log, or a MERGED in it, contains the position, and for what is searched its index, too (replication 7.2). */
  reached(shard: number, position: Position, searched: boolean): boolean;
  /** Where the branch a reader was on left the shard's log; undefined when the log has what it read (replication 7.2). */
  fork(shard: number, position: Position): number | undefined;
  /**
   * Makes a write as primary of the shard; never rejects. `earlier` is the encoded result of the same write when it was
   * found to be logged already: it is answered once its entry has the asked level, as under an idempotency key (2.10).
   */
  write(write: GatedWrite, mapEpoch: number): Promise<ShardWriteOutcome>;
  /** Offset up to which the log is settled: what a reader may be told of. */
  readable(shard: number): number;
  /** Changes the map, as primary of its shard. Never rejects. */
  change(operation: MapOperation): Promise<MapChange>;
  /** Hands the primary over; undefined: done or under way. */
  transfer(shard: number, to: NodeUuid): Promise<Refusal | undefined>;
  /** Writes that lost when branches were merged, as far as this copy recorded them. */
  conflicts(shard: number): Promise<readonly ConflictView[]>;
}

/** A write with what only the node that makes it knows: an earlier result, and how long its caller waits, when that is short. */
export type GatedWrite = ShardWrite & Pick<WriteRequest, 'earlier' | 'waitMs'>;

export type MapChange =
  | { readonly kind: 'changed'; readonly mapEpoch: number }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'turned-away'; readonly refusal: Refusal };

/** A conflict as the API shows it: names instead of numbers. */
export type ConflictView = Omit<Conflict, 'collectionId'> & {
  /** Null when it was dropped. */
  readonly collection: string | null;
};

/** Rows read at once. */
const CONFLICT_PAGE = 256;
/** The newest so many are shown: an answer fits into one message between nodes (api.md, Limits). */
const CONFLICTS_MAX = 1_000;

/** The gate of this node's replicas, whatever their roles are now. */
export class ReplicationGate implements ReplicaGate {
  constructor(
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
  ) {}

  get mapEpoch(): number {
    return this.replication.map.current().epoch;
  }

  check({ shard, primary, stale }: ShardGate, searched: boolean): GateAnswer {
    if (this.replication.fault(shard) !== undefined) return { open: false, refusal: { code: 'FAULTED' } };
    const replica = this.replication.replica(shard);
    if (replica === undefined) return { open: false, refusal: { code: 'STARTING' } };
    if (replica.role === 'primary') {
      const lagMs = replica.doubtMs ?? (searched ? replica.indexBehindMs : undefined);
      if (lagMs === undefined) return { open: true };
      return stale ? { open: true, lagMs } : { open: false, refusal: { code: 'NOT_IN_SYNC' } };
    }
    if (primary) return { open: false, refusal: this.#elsewhere(shard) };
    if (replica.inSync) return { open: true };
    return stale ? { open: true, lagMs: replica.lagMs } : { open: false, refusal: { code: 'NOT_IN_SYNC' } };
  }

  reached(shard: number, position: Position, searched: boolean): boolean {
    const copy = this.replication.replica(shard);
    const offset = offsetOfPosition(this.#branch(shard), copy?.merged ?? [], position);
    const has = searched ? copy?.position.applied : copy?.position.durable;
    return offset !== undefined && (has ?? 0) >= offset;
  }

  fork(shard: number, position: Position): number | undefined {
    return forkOfPosition(this.#branch(shard), this.replication.replica(shard)?.merged ?? [], position);
  }

  write(write: GatedWrite): Promise<ShardWriteOutcome> {
    return this.replication.write(write.shard, write).then((outcome) => {
      if (outcome.kind !== 'redirect') return outcome;
      const { hint } = outcome;
      return { kind: 'turned-away', refusal: { code: 'NOT_PRIMARY', ...(hint === undefined ? {} : { hint }) } };
    });
  }

  readable(shard: number): number {
    const replica = this.replication.replica(shard);
    const strict = this.replication.map.current().settings.partitionMode === 'strict';
    // A strict suffix without a majority may still be discarded (replication 6.4).
    if (strict && replica !== undefined) return replica.highWaterMark;
    return this.log.state(shard).tail;
  }

  async change(operation: MapOperation): Promise<MapChange> {
    const outcome = await this.replication.map.changeHere(operation);
    switch (outcome.kind) {
      case 'written':
        return { kind: 'changed', mapEpoch: this.mapEpoch };
      case 'refused':
        return { kind: 'refused', code: outcome.code, detail: outcome.detail };
      case 'redirect':
        return { kind: 'turned-away', refusal: this.#elsewhere(META_SHARD) };
    }
  }

  transfer(shard: number, to: NodeUuid): Promise<Refusal | undefined> {
    return Promise.resolve(this.replication.transfer(shard, to) ? undefined : this.#elsewhere(shard));
  }

  /** The newest of them, oldest first (replication 6.4). */
  async conflicts(shard: number): Promise<readonly ConflictView[]> {
    const prefix = conflictPrefix(shard);
    const found: Conflict[] = [];
    let after: Uint8Array | undefined;
    for (;;) {
      const rows = await this.log.rows(prefix, after, CONFLICT_PAGE);
      for (const { value } of rows) found.push(JSON.parse(fromUtf8(value)) as Conflict);
      if (found.length > CONFLICTS_MAX) found.splice(0, found.length - CONFLICTS_MAX);
      if (rows.length < CONFLICT_PAGE) break;
      after = rows[rows.length - 1].key;
    }
    const { collections, nodes } = this.replication.map.current();
    return found.map(({ collectionId, epoch, ...conflict }) => ({
      ...conflict,
      collection: collections.find(({ id }) => id === collectionId)?.name ?? null,
      epoch: { num: epoch.num, node: nodes.find(({ nodeUuid }) => nodeUuid === epoch.node)?.nodeId ?? epoch.node },
    }));
  }

  #branch(shard: number): Branch {
    const { history, tail } = this.log.state(shard);
    return { history, lastOffset: tail };
  }

  #elsewhere(shard: number): Refusal {
    const hint = this.replication.leader(shard);
    return { code: 'NOT_PRIMARY', ...(hint === undefined ? {} : { hint }) };
  }
}

/** Injection token of the ReplicaGate. */
export const REPLICA_GATE = Symbol('REPLICA_GATE');
