import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import { compareVersions, versionText } from '../../../kernel/version.js';
import {
  entryCollectionId,
  entryEpoch,
  entryId,
  entryOffset,
  entryOp,
  entryPayload,
  entryVersion,
} from '../../log/core/entry-codec.js';
import type { AppendEntry, RowChange } from '../../log/log-store.js';
import type { Out } from './effects.js';
import { epochAt } from './fork.js';
import { rowNameOf, type ReplicaLog } from './replica-log.js';

/**
 * Logs rows of another branch in a reign (6.4): one that is higher than what there is here under its own version and with its
 * origin, and what it beats goes to the conflict log; one that is lower goes there itself.
 */
export class BranchMerge {
  readonly entries: AppendEntry[] = [];
  readonly rows: RowChange[] = [];

  /**
   * @param purged collections that were dropped in this reign
   * @param own they are this replica's own loose rows: an equal version means that row, which is re-pointed
   */
  constructor(
    private readonly log: ReplicaLog,
    private readonly epoch: Epoch,
    private readonly purged: ReadonlySet<number>,
    private readonly own: boolean,
  ) {}

  /** @param stored the stored row of its document */
  merge(bytes: Uint8Array, stored: Uint8Array | undefined, out: Out): void {
    const op = entryOp(bytes);
    if (op !== 'UPSERT' && op !== 'DELETE') return;
    const [collectionId, id, version] = [entryCollectionId(bytes), entryId(bytes), entryVersion(bytes)];
    if (this.purged.has(collectionId)) {
      out.push({ kind: 'conflict', loser: bytes, winner: { versionText: '' } });
      return;
    }
    const rowKey = this.log.rowKey(collectionId, id);
    const rowName = rowNameOf(collectionId, id);
    const before = this.log.row(rowName, stored);
    const order = before === undefined ? 1 : compareVersions(version, before.version);
    if (order < 0 && before !== undefined) {
      out.push({ kind: 'conflict', loser: bytes, winner: { versionText: versionText(before.version) } });
      return;
    }
    // Equal: the log has it already, unless the row here is loose itself: then it is re-pointed.
    if (order === 0 && !(this.own && before?.loose === true)) return;
    const origin = { epoch: entryEpoch(bytes), offset: entryOffset(bytes) };
    if (order > 0 && before !== undefined && !before.loose && !before.tombstone && !this.#saw(origin, before.offset)) {
      out.push({ kind: 'conflict', loser: before.offset, winner: { versionText: versionText(version) } });
    }
    const payload = entryPayload(bytes);
    const entry = this.log.append(this.epoch, { op, collectionId, id, payload, version, origin });
    this.rows.push(...this.log.write(entry, { op, collectionId, id, version, rowKey, rowName }, before));
    this.entries.push(entry);
  }

  /**
   * Whether the log in which an entry was written has this log's entry at `offset` too, before it: then it superseded what
   * it could see, and nothing is lost. Known for certain when both logs have its epoch, in which one primary wrote: they are
   * equal as far as both go (6.3). A branch that had begun an epoch of its own is not taken to have seen anything.
   */
  #saw(origin: { readonly epoch: Epoch; readonly offset: number }, offset: number): boolean {
    const { history } = this.log;
    if (!history.some(({ epoch }) => sameEpoch(epoch, origin.epoch)) || offset >= origin.offset) return false;
    return compareEpochs(epochAt(history, offset), origin.epoch) <= 0;
  }
}
