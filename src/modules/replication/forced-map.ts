import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { Timers } from '../../kernel/timers.js';
import { nodeByUuid } from '../ring/core/map.js';
import type { ReplicationService } from './replication.service.js';
import type { ShardReplica } from './shard-replica.js';

export interface ForcedMapPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly replication: Pick<ReplicationService, 'map' | 'registered' | 'replica' | 'self' | 'times'>;
  /** A new id for an operation. */
  readonly newId: () => string;
}

/** A reign that asks nobody begins well within this. */
const REIGN_WAIT_MS = 5_000;
const POLL_MS = 10;

/**
 * Goes on with the map from the copy of this node when a majority of its voters is gone for good (replication 5.8): its
 * reign begins with the map that has this node as its only voter.
 */
export class ForcedMap {
  readonly #ports: ForcedMapPorts;
  /** Nodes that are there were heard some time after. */
  readonly #sinceMs: number;

  constructor(ports: ForcedMapPorts) {
    this.#ports = ports;
    this.#sinceMs = ports.clock.monotonicMs();
  }

  /** @returns id of the operation that is remembered in the map. @throws NodeError OPERATION_CONFLICT, LOG_CORRUPT */
  async force(): Promise<string> {
    const { clock, newId, replication } = this.#ports;
    const copy = replication.replica(META_SHARD);
    if (copy === undefined || copy.fault !== undefined)
      throw new NodeError('LOG_CORRUPT', 'the copy of the map on this node is damaged: name another node');
    this.#check(copy);
    const id = newId();
    copy.force({ id, startedMs: clock.wallMs() });
    await this.#agreed(id);
    return id;
  }

  #check(copy: ShardReplica): void {
    const { clock, replication } = this.#ports;
    if (clock.monotonicMs() - this.#sinceMs < replication.times.failoverAfterMs)
      throw conflict('this node started just now, and does not know who else is there; try again in a moment');
    if (!replication.registered) throw conflict('this node is not in its own map any more: name another node');
    const problem = copy.forceMapProblem;
    if (problem?.kind === 'majority') throw conflict('a majority of the voters answers: the map goes on by itself');
    if (problem?.kind !== 'further') return;
    const name = nodeByUuid(replication.map.current(), problem.node)?.nodeId ?? problem.node;
    throw conflict(`"${name}" answers, and its copy of the map goes further: name that node`);
  }

  async #agreed(id: string): Promise<void> {
    const { clock, timers, replication } = this.#ports;
    const until = clock.monotonicMs() + REIGN_WAIT_MS;
    while (!replication.map.current().operations.some((operation) => operation.id === id)) {
      if (clock.monotonicMs() >= until)
        throw conflict('this copy of the map did not begin to reign; look, and try again');
      await new Promise<void>((resolve) => timers.after(POLL_MS, resolve));
    }
  }
}

function conflict(detail: string): NodeError {
  return new NodeError('OPERATION_CONFLICT', detail);
}
