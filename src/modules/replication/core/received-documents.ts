import { entryOp, entryPayload } from '../../log/core/entry-codec.js';
import { documentVectorIsFinite } from '../../shard/core/document-codec.js';

/** Why entries from another replica must not be stored although their sums hold (replication 4.3), or undefined. */
export function documentProblem(entries: readonly Uint8Array[]): string | undefined {
  for (const entry of entries) {
    if (entryOp(entry) === 'UPSERT' && !documentVectorIsFinite(entryPayload(entry)))
      return 'a document is malformed, or its vector is not finite';
  }
  return undefined;
}
