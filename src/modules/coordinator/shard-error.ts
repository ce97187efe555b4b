import { NodeError } from '../../kernel/errors.js';
import type { ShardFailed } from './fan-out.js';

/** What a client is told when the one shard it needs cannot answer. */
export function shardError(shard: number, failed: ShardFailed | undefined, fault?: Error): NodeError {
  switch (failed?.reason) {
    case 'TIMEOUT':
      return new NodeError('QUERY_TIMEOUT', 'the deadline passed; try again, narrow the request, or give it more time');
    case 'FAULTED':
      return new NodeError(
        'LOG_CORRUPT',
        `the log of shard ${shard} is damaged${fault === undefined ? '' : `: ${fault.message}`}`,
      );
    case 'OVERLOADED':
      return new NodeError('OVERLOADED', `too many calls wait for shard ${shard}`, { retryAfterMs: 100 });
    default:
      return new NodeError('SHARD_UNAVAILABLE', `no copy of shard ${shard} can be reached; try again`, {
        retryAfterMs: 1_000,
      });
  }
}

/** What a client is told when no shard it asked can answer: that time ran out, where that is why for all of them. */
export function noneAnswered(failed: readonly Pick<ShardFailed, 'reason'>[], shards: object): NodeError {
  return failed.every(({ reason }) => reason === 'TIMEOUT')
    ? new NodeError(
        'QUERY_TIMEOUT',
        'no shard answered before the deadline; narrow the request or give it more time with `timeoutMs`',
        { extra: { shards } },
      )
    : new NodeError('SHARD_UNAVAILABLE', 'no shard could answer', { extra: { shards }, retryAfterMs: 1_000 });
}
