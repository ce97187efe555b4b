import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { shown } from './shown.js';

/** The shard number in a path; SHARD_NOT_FOUND when it can be none. */
export function shardNumber(text: string): number {
  const shard = /^\d{1,3}$/.test(text) ? Number(text) : LIMITS.shardsMax;
  if (shard >= LIMITS.shardsMax) throw new NodeError('SHARD_NOT_FOUND', `there is no shard ${shown(text)}`);
  return shard;
}
