import type { ReplicationService } from '../replication/replication.service.js';
import type { ShardFailure } from '../shard/shard-ports.js';
import type { ShardFailureReason } from './core/requests.js';

/** What a client is told of a shard that did not answer. A shard whose log is damaged may not even have been opened. */
export function failureReason(
  replication: ReplicationService,
  shard: number,
  failure: ShardFailure,
): ShardFailureReason {
  return failure === 'FAULTED' || replication.fault(shard) !== undefined ? 'FAULTED' : 'UNREACHABLE';
}
