import type { NodeUuid } from '../../kernel/peer.js';
import { NodeError } from '../../kernel/errors.js';
import type { ForcedMap } from '../replication/forced-map.js';
import type { OperationCalls } from '../replication/operations/operation-calls.js';
import type { MapChanges } from './map-changes.js';
import type { Routes } from './routes.js';
import type { ClusterOperations } from './cluster-operations.js';

/** Operations as records in the map, which its primary drives (replication 9). */
export class PlannedOperations implements ClusterOperations {
  constructor(
    private readonly calls: OperationCalls,
    private readonly forcedMap: ForcedMap,
    private readonly routes: Routes,
    private readonly changes: MapChanges,
  ) {}

  async startDrain(node: NodeUuid): Promise<{ readonly operation: string }> {
    this.#refuseAlone('there is none to take its shards');
    return { operation: await this.calls.drain(this.routes.nodeIdOf(node)) };
  }

  async remove(node: NodeUuid): Promise<{ readonly operation: string }> {
    this.#refuseAlone('removing it would lose every document');
    return { operation: await this.calls.removeNode(this.routes.nodeIdOf(node)) };
  }

  async movePrimary(shard: number, to: NodeUuid): Promise<{ readonly operation: string }> {
    return { operation: await this.calls.movePrimary(shard, this.routes.nodeIdOf(to)) };
  }

  async force(shard: number, to: NodeUuid, empty: boolean): Promise<{ readonly operation: string }> {
    return { operation: await this.calls.force(shard, this.routes.nodeIdOf(to), empty) };
  }

  async forceMap(): Promise<{ readonly operation: string }> {
    return { operation: await this.forcedMap.force() };
  }

  async operation(id: string): Promise<unknown> {
    const known = await this.changes.lookUp((map) => map.operations.find((operation) => operation.id === id));
    return known === undefined ? undefined : this.calls.operation(id);
  }

  abort(id: string): Promise<void> {
    return this.calls.abort(id).then(() => undefined);
  }

  #refuseAlone(why: string): void {
    const nodes = new Set(this.routes.meta().copies.map(({ node }) => node));
    for (const { copies } of this.routes.shards()) for (const { node } of copies) nodes.add(node);
    if (nodes.size <= 1) throw new NodeError('OPERATION_CONFLICT', `this is the only node: ${why}`);
  }
}
