import type { Epoch } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { LogStore } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
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
  /** Epoch, role, in sync; not the session. */
  check(gate: ShardGate): GateAnswer;
  /** Whether the shard's log, or a MERGED in it, contains the position, and its index has applied it (replication 7.2). */
  reached(shard: number, position: Position): boolean;
  /**
   * Makes a write as primary of the shard; never rejects. `earlier` is the encoded result of the same write when it was
   * found to be logged already: it is answered once its entry has the asked level, as under an idempotency key (2.10).
   */
  write(write: ShardWrite & { readonly earlier?: Uint8Array }, mapEpoch: number): Promise<ShardWriteOutcome>;
  /** Offset up to which the log is settled: what a reader may be told of. */
  readable(shard: number): number;
  epoch(shard: number): Epoch | undefined;
  /** Changes the map, as primary of its shard. Never rejects. */
  change(operation: MapOperation): Promise<MapChange>;
  /** Hands the primary over; undefined: done or under way. */
  transfer(shard: number, to: NodeUuid): Promise<Refusal | undefined>;
  conflicts(shard: number): Promise<readonly unknown[]>;
}

export type MapChange =
  | { readonly kind: 'changed'; readonly mapEpoch: number }
  | { readonly kind: 'refused'; readonly code: NodeError['code']; readonly detail: string }
  | { readonly kind: 'turned-away'; readonly refusal: Refusal };

/** A node that holds every shard and is primary of each: a cluster of one. */
export class SoleGate implements ReplicaGate {
  constructor(
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
  ) {}

  get mapEpoch(): number {
    return this.replication.map.current().epoch;
  }

  check({ shard }: ShardGate): GateAnswer {
    if (this.replication.fault(shard) !== undefined) return { open: false, refusal: { code: 'FAULTED' } };
    if (this.replication.replica(shard) === undefined) return { open: false, refusal: { code: 'STARTING' } };
    return { open: true };
  }

  reached(shard: number, position: Position): boolean {
    const { history, tail } = this.log.state(shard);
    const at = history.findLastIndex((reign) => reign.start <= position.offset);
    if (at < 0 || history[at].epoch.num !== position.epoch || position.offset > tail) return false;
    return (this.replication.replica(shard)?.position.applied ?? 0) >= position.offset;
  }

  write(write: ShardWrite & { readonly earlier?: Uint8Array }): Promise<ShardWriteOutcome> {
    return this.replication.write(write.shard, write);
  }

  readable(shard: number): number {
    return this.log.state(shard).tail;
  }

  epoch(shard: number): Epoch | undefined {
    return this.replication.replica(shard)?.epoch;
  }

  async change(operation: MapOperation): Promise<MapChange> {
    try {
      return { kind: 'changed', mapEpoch: (await this.replication.map.change(operation)).epoch };
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      return { kind: 'refused', code: error.code, detail: error.message };
    }
  }

  transfer(): Promise<Refusal | undefined> {
    return Promise.resolve({ code: 'STALE_MAP' });
  }

  // Nothing was ever written on another branch: only a healed partition can supersede a write.
  conflicts(): Promise<readonly unknown[]> {
    return Promise.resolve([]);
  }
}

/** Injection token of the ReplicaGate. */
export const REPLICA_GATE = Symbol('REPLICA_GATE');
