import type { ShardsReport } from '../client/index.js';
import type { Context } from './connection.js';
import { EXIT } from './failure.js';

/** Prints which shards a result lacks, and tells the exit code that means. */
export function reportMissing(missing: ShardsReport['failed'], { output }: Context): number {
  if (missing.length === 0) return EXIT.ok;
  output.note(
    `incomplete: shards ${missing.map(({ shard, reason }) => `${shard} (${reason})`).join(', ')} did not answer`,
  );
  return EXIT.failed;
}
