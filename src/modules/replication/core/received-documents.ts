import type { Hasher } from '../../../kernel/hasher.js';
import { entryOp, entryPayload } from '../../log/core/entry-codec.js';
import { verifyEntries } from '../../log/core/received-entries.js';
import { documentVectorIsFinite } from '../../shard/core/document-codec.js';
import type { ReplicaLog } from './replica-log.js';

/** Why entries from another replica do not continue this log, or must not be stored (replication 4.3), or undefined. */
export function entriesProblem(hasher: Hasher, log: ReplicaLog, entries: readonly Uint8Array[]): string | undefined {
  if (entries.length === 0) return undefined;
  const after = { offset: log.tail, chain: log.chain, epoch: log.lastEpoch };
  const found = verifyEntries(hasher, log.shard, after, entries);
  return found === undefined ? documentProblem(entries) : `offset ${found.offset}: ${found.problem}`;
}

/** Why entries from another replica must not be stored although their sums hold (replication 4.3), or undefined. */
export function documentProblem(entries: readonly Uint8Array[]): string | undefined {
  for (const entry of entries) {
    if (entryOp(entry) === 'UPSERT' && !documentVectorIsFinite(entryPayload(entry)))
      return 'a document is malformed, or its vector is not finite';
  }
  return undefined;
}
