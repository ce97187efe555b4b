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
import type { EntryOrigin } from '../../log/core/entry.js';
import type { AppendEntry, RowChange } from '../../log/log-store.js';
import type { DocumentRow } from '../../shard/core/rows.js';
import type { BranchEpoch } from './branch-epochs.js';
import type { Out, StoredWrite } from './effects.js';
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
   * @param isDropped whether a collection was dropped: nothing is merged into it
   * @param branch what the rows come from
   * @param own they are this replica's own loose rows: an equal version means that row, which is re-pointed
   */
  constructor(
    private readonly log: ReplicaLog,
    private readonly epoch: Epoch,
    private readonly isDropped: (collectionId: number) => boolean,
    private readonly branch: readonly BranchEpoch[],
    private readonly own: boolean,
  ) {}

  /** @param stored the stored row of its document */
  merge(bytes: Uint8Array, stored: Uint8Array | undefined, out: Out): void {
    const op = entryOp(bytes);
    if (op !== 'UPSERT' && op !== 'DELETE') return;
    const [collectionId, id, version] = [entryCollectionId(bytes), entryId(bytes), entryVersion(bytes)];
    if (this.isDropped(collectionId)) {
      out.push({ kind: 'conflict', loser: bytes, winner: { versionText: '' } });
      return;
    }
    const rowKey = this.log.rowKey(collectionId, id);
    const rowName = rowNameOf(collectionId, id);
    const before = this.log.row(rowName, stored);
    const order = before === undefined ? 1 : compareVersions(version, before.version);
    const origin = { epoch: entryEpoch(bytes), offset: entryOffset(bytes) };
    if (order < 0 && before !== undefined) {
      // Of a branch that is merged: it was listed then, or has been superseded in full view since.
      if (this.log.missing([{ epoch: origin.epoch, end: origin.offset, fork: 0 }]).length === 0) return;
      const entry = this.#writeOf(collectionId, id, before);
      out.push({ kind: 'conflict', loser: bytes, winner: { versionText: versionText(before.version), entry } });
      return;
    }
    // Equal: the log has it already, unless the row here is loose itself: then it is re-pointed.
    if (order === 0 && !(this.own && before?.loose === true)) return;
    // One that is loose itself was written on a branch of its own, and its offset is of that.
    if (order > 0 && before !== undefined && (before.loose || !this.#saw(origin, before.offset))) {
      const loser = this.#writeOf(collectionId, id, before);
      out.push({ kind: 'conflict', loser, winner: { versionText: versionText(version), entry: bytes } });
    }
    const payload = entryPayload(bytes);
    const entry = this.log.append(this.epoch, { op, collectionId, id, payload, version, origin });
    this.rows.push(...this.log.write(entry, { op, collectionId, id, version, rowKey, rowName }, before));
    this.entries.push(entry);
  }

  /** The write a row is of. */
  #writeOf(collectionId: number, id: string, { loose, offset }: DocumentRow): StoredWrite {
    return loose ? { collectionId, id } : (this.log.unpersisted(offset) ?? offset);
  }

  /**
   * Whether the log in which an entry was written has this log's entry at `offset` too, before it: then it superseded what
   * it could see, and nothing is lost. So it is up to the fork, which whoever cut the branch off knows; and when both logs
   * have its epoch, in which one primary wrote: they are equal as far as both go (6.3).
   */
  #saw(origin: EntryOrigin, offset: number): boolean {
    const fork = this.branch.find(({ epoch }) => sameEpoch(epoch, origin.epoch))?.fork ?? 0;
    if (offset <= fork) return true;
    const { history } = this.log;
    if (!history.some(({ epoch }) => sameEpoch(epoch, origin.epoch)) || offset >= origin.offset) return false;
    return compareEpochs(epochAt(history, offset), origin.epoch) <= 0;
  }
}
