import { versionText } from '../../../kernel/version.js';
import { entryOffset, entryOp, entryPayload, entryVersion } from '../../log/core/entry-codec.js';
import type { Out } from './effects.js';
import { decodeMapOperation } from './map-codec.js';
import type { MapState } from './map-state.js';
import type { ReplicaLog } from './replica-log.js';

/**
 * Appends entries that another copy logged (4.3, 5.5): what they beat here goes to the conflict log (6.4), and operations of
 * the map among them are noted.
 * @param stored the stored rows of the entries' documents, in their order
 */
export function appendFollowed(
  log: ReplicaLog,
  map: MapState | undefined,
  entries: readonly Uint8Array[],
  stored: readonly (Uint8Array | undefined)[],
  out: Out,
): void {
  const { batch, beaten } = log.follow(entries, stored);
  for (const { winner, ...loser } of beaten)
    out.push({ kind: 'conflict', loser, winner: { versionText: versionText(entryVersion(winner)), entry: winner } });
  out.push({ kind: 'append', batch, tail: log.tail });
  for (const entry of entries)
    if (entryOp(entry) === 'MAP') map?.logged(entryOffset(entry), decodeMapOperation(entryPayload(entry)));
}
