import type { Clock } from '../../../kernel/clock.js';
import { NodeError } from '../../../kernel/errors.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { META_SHARD } from '../../../kernel/ids.js';
import type { ClusterFacts } from '../../ring/core/facts.js';
import { FORCED_EPOCH_LEAP, forceProblem } from '../../ring/core/forced-set.js';
import { nodeById, type ClusterMap, type RegisteredNode } from '../../ring/core/map.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import type { OperationRecord, OperationTask } from '../../ring/core/operation-record.js';
import { Placer } from '../../ring/core/placement.js';
import { removalProblem } from '../../ring/core/plan-operation.js';
import { Situation } from '../../ring/core/situation.js';

/** What the calls need of the node; they are answered by any node. */
export interface OperationCallPorts {
  readonly clock: Clock;
  readonly hasher: Hasher;
  /** A new id for an operation. */
  newId(): string;
  /** @throws NodeError STARTING */
  map(): ClusterMap;
  /** What this node knows of the cluster now. */
  facts(map: ClusterMap): ClusterFacts;
  /** Number of the last reign over a shard that this node heard of; 0: of none. */
  knownEpoch(shard: number): number;
  /** Changes the map, on whichever node is its primary; resolves with the map after it. @throws NodeError */
  change(operation: MapOperation): Promise<ClusterMap>;
}

/** An operation as clients see it (api.md, cluster). */
export interface OperationView {
  readonly id: string;
  readonly kind: OperationRecord['task']['kind'];
  readonly state: OperationRecord['state'];
  readonly node?: string;
  readonly shard?: number;
  /** Copies that moved, of those that are to. */
  readonly progress: { readonly done: number; readonly total: number };
  readonly startedMs: number;
  readonly endedMs?: number;
  /** What it waits for, or why it failed. */
  readonly detail?: string;
}

/** Beginning, watching and taking back long operations. The primary of the map drives them. */
export class OperationCalls {
  readonly #ports: OperationCallPorts;
  readonly #placer: Placer;

  constructor(ports: OperationCallPorts) {
    this.#ports = ports;
    this.#placer = new Placer(ports.hasher);
  }

  /** Begins to move everything off a node; the operation's id. */
  async drain(nodeId: string): Promise<string> {
    return this.#start({ kind: 'drain', node: this.#node(nodeId).nodeUuid });
  }

  /** Begins to remove a node; refused when documents would be lost with it. */
  async removeNode(nodeId: string): Promise<string> {
    const node = this.#node(nodeId).nodeUuid;
    const map = this.#ports.map();
    const problem = removalProblem(new Situation(map, this.#ports.facts(map), this.#placer), node);
    if (problem !== undefined && map.nodes.length > 1)
      throw new NodeError('OPERATION_CONFLICT', `removing "${nodeId}" would lose documents: ${problem}`);
    return this.#start({ kind: 'remove', node });
  }

  /** Begins to hand the reign of a shard to another node. */
  async movePrimary(shard: number, nodeId: string): Promise<string> {
    const map = this.#ports.map();
    this.#checkShard(map, shard);
    const node = this.#node(nodeId).nodeUuid;
    const primary = this.#ports.facts(map).shards.get(shard)?.primary;
    if (primary === node && map.placement[shard].members[0] === node)
      throw new NodeError('OPERATION_CONFLICT', `"${nodeId}" is the primary of shard ${shard} already`);
    return this.#start({ kind: 'movePrimary', shard, node });
  }

  /**
   * Goes on with a shard whose disks are all gone, from the copy of a node or, `empty`, from none (replication 5.8).
   * Refused while a copy of its set answers, and when the set has become another one since it was looked at.
   */
  async force(shard: number, nodeId: string, empty: boolean): Promise<string> {
    const map = this.#ports.map();
    this.#checkShard(map, shard);
    const node = this.#node(nodeId).nodeUuid;
    const problem = forceProblem(map, this.#ports.facts(map), { shard, node, empty });
    if (problem !== undefined) throw new NodeError('OPERATION_CONFLICT', problem);
    const epochFloor = this.#ports.knownEpoch(shard) + FORCED_EPOCH_LEAP;
    const { epoch: after } = map.placement[shard];
    return this.#start({ kind: 'force', shard, node, empty, epochFloor, after });
  }

  /** @throws NodeError OPERATION_NOT_FOUND: never begun, or so long ago that the map forgot it */
  operation(id: string): OperationView {
    const record = this.#ports.map().operations.find((candidate) => candidate.id === id);
    if (record === undefined) throw new NodeError('OPERATION_NOT_FOUND', `there is no operation "${id}"`);
    const { task, nodeId, state, progress, startedMs, endedMs, detail } = record;
    return {
      id,
      kind: task.kind,
      state,
      ...(nodeId === undefined ? {} : { node: nodeId }),
      ...(task.kind === 'movePrimary' || task.kind === 'force' ? { shard: task.shard } : {}),
      progress,
      startedMs,
      ...(endedMs === undefined ? {} : { endedMs }),
      ...(detail === undefined ? {} : { detail }),
    };
  }

  /** Takes an operation back; what has moved stays where it is. */
  async abort(id: string): Promise<void> {
    await this.#ports.change({ kind: 'abortOperation', id, endedMs: this.#ports.clock.wallMs() });
  }

  async #start(task: OperationTask): Promise<string> {
    const id = this.#ports.newId();
    await this.#ports.change({ kind: 'startOperation', id, task, startedMs: this.#ports.clock.wallMs() });
    return id;
  }

  #checkShard(map: ClusterMap, shard: number): void {
    if (shard === META_SHARD || map.placement[shard] === undefined)
      throw new NodeError('SHARD_NOT_FOUND', `there is no shard ${shard}; the cluster has ${map.shardCount}`);
  }

  #node(nodeId: string): RegisteredNode {
    const node = nodeById(this.#ports.map(), nodeId);
    if (node === undefined) throw new NodeError('NODE_NOT_FOUND', `there is no node "${nodeId}"`);
    return node;
  }
}
