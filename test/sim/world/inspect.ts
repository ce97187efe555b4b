import type { ShardReplica } from '../../../src/modules/replication/shard-replica.js';
import { LEADER_OPS_MAX } from '../../../src/modules/replication/core/leader.js';
import type { ReplicaInspection } from './node.js';

/** What a copy believes now, for the checkers. */
export function inspectReplica(copy: ShardReplica, faulted: boolean): ReplicaInspection {
  const standing = copy.standing();
  return {
    role: copy.role === 'follower' ? (standing.role === 'learner' ? 'learner' : 'replica') : copy.role,
    epoch: copy.epoch,
    leader: copy.leader?.node ?? '',
    promised: copy.promised,
    set: copy.set,
    highWaterMark: copy.highWaterMark,
    applied: copy.position.applied,
    inSync: copy.syncedNodes,
    selfInSync: copy.inSync,
    faulted: faulted || copy.fault !== undefined || standing.faulted,
    loose: copy.loose,
    ...(copy.role === 'candidate' ? { passing: 'a candidate' } : {}),
    queues: [{ name: 'in flight', size: copy.inFlight.ops, bound: LEADER_OPS_MAX }],
  };
}

/** `host:port` as membership has it. */
export function seedOf(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
}
