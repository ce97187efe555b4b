import { assert } from '../../../kernel/assert.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { compareHlc, nextHlc, type Version } from '../../../kernel/version.js';
import type { AppendEntry, RowChange } from '../../log/log-store.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import type { BranchEpoch } from './branch-epochs.js';
import type { MapForce } from './inputs.js';
import { encodeMapOperation } from './map-codec.js';
import type { MapState } from './map-state.js';
import type { OperationRow } from './operation-row.js';
import type { ShardSet } from './protocol.js';
import { rowNameOf, type ReplicaLog } from './replica-log.js';
import { checkCondition } from './write-condition.js';
import { refused, type Proposal, type WriteOutcome } from './write.js';

const NOTHING = new Uint8Array(0);
/** Of an entry that is about no document. */
const NO_DOCUMENT = { collectionId: 0, id: '', payload: NOTHING } as const;

/** What is kept of a write that has a key. */
type Keyed = Pick<Parameters<ReplicaLog['append']>[1], 'operation'>;

/** What a reign logs at once: how each kind of write becomes an entry and the rows that go with it (2.3, 2.10, 3). */
export class ReignBatch {
  readonly entries: AppendEntry[] = [];
  readonly rows: RowChange[] = [];

  /** @param map only of META_SHARD: what its entries change */
  constructor(
    private readonly log: ReplicaLog,
    private readonly epoch: Epoch,
    private readonly map: MapState | undefined,
    private readonly wallMs: number,
  ) {}

  /** Opens the reign. @returns its offset */
  barrier(opId: Uint8Array): number {
    return this.#append({ op: 'BARRIER', ...NO_DOCUMENT, version: this.#version(opId) }).offset;
  }

  set(set: ShardSet, opId: Uint8Array): void {
    const { entry, row } = this.log.appendSet(this.epoch, this.#version(opId), set);
    this.entries.push(entry);
    this.rows.push(row);
  }

  /** These epochs of another branch are merged. */
  merged(branch: readonly BranchEpoch[], opId: Uint8Array): void {
    const { entry, row } = this.log.appendMerged(this.epoch, this.#version(opId), branch);
    this.entries.push(entry);
    this.rows.push(row);
  }

  /** The map goes on from this copy, the only voter from now on: CopyRole forces none whose map does not know it. */
  forceMap(forced: MapForce, self: NodeUuid, opId: Uint8Array): void {
    const { map } = this;
    const base = map?.tentative;
    assert(map !== undefined && base !== undefined, 'only a map is forced');
    this.#change(map, { kind: 'forceMap', ...forced, node: self, base }, this.#version(opId), {});
    const { members, epoch: mapEpoch } = (map.tentative ?? base).meta;
    this.set({ mapEpoch, members }, opId);
  }

  /** Logs a write. @returns what it is answered by once it has its copies; or why it is not made, and nothing was logged */
  write(proposal: Proposal): OperationRow | WriteOutcome {
    switch (proposal.op) {
      case 'UPSERT':
      case 'DELETE':
        return this.#document(proposal, proposal.op);
      case 'COLLECTION_PURGE': {
        const { collectionId, opId } = proposal;
        const version = this.#version(opId);
        const entry = this.#append({ ...NO_DOCUMENT, op: 'COLLECTION_PURGE', collectionId, version });
        this.log.drop(collectionId);
        // Dropped again, it is dropped: no key is kept for that.
        return this.#resultOf({ ...proposal, keyed: false }, entry, version, false);
      }
      case 'MAP': {
        const { map } = this;
        assert(map !== undefined && proposal.mapOperation !== undefined, 'a change of the map carries its operation');
        const evaluated = map.evaluate(proposal.mapOperation);
        if (evaluated.kind === 'refused') return refused(evaluated.code, evaluated.detail);
        const version = this.#version(proposal.opId);
        const entry = this.#change(map, proposal.mapOperation, version, keyed(proposal, true));
        return this.#resultOf(proposal, entry, version, true);
      }
      case 'BARRIER': {
        assert(proposal.keyed, 'without a key nobody finds the place again');
        const version = this.#version(proposal.opId);
        const entry = this.#append({ op: 'BARRIER', ...NO_DOCUMENT, version, ...keyed(proposal, false) });
        return this.#resultOf(proposal, entry, version, false);
      }
    }
  }

  #document(proposal: Proposal, op: 'UPSERT' | 'DELETE'): OperationRow | WriteOutcome {
    const { collectionId, id, opId, payload } = proposal;
    const rowKey = this.log.rowKey(collectionId, id);
    const rowName = rowNameOf(collectionId, id);
    const before = this.log.row(rowName, proposal.storedRow);
    const live = before !== undefined && !before.tombstone ? before : undefined;
    const conflict = checkCondition(proposal, live);
    if (conflict !== undefined) return conflict;
    // 1.4: a write that could have seen the old value supersedes it, whatever the clocks did.
    let hlc = this.log.tick(this.wallMs);
    if (before !== undefined && compareHlc(hlc, before.version.hlc) <= 0) hlc = nextHlc(before.version.hlc);
    const version = { hlc, opId };
    const created = live === undefined && op === 'UPSERT';
    const draft = { op, collectionId, id, payload, version, ...keyed(proposal, created) };
    const entry = this.log.append(this.epoch, draft);
    this.entries.push(entry);
    const changes = this.log.write(entry, { op, collectionId, id, version, rowKey, rowName }, before);
    assert(changes.length > 0, 'a write supersedes what it could have seen');
    this.rows.push(...changes);
    return this.#resultOf(proposal, entry, version, created);
  }

  #change(map: MapState, operation: MapOperation, version: Version, kept: Keyed): AppendEntry {
    const payload = encodeMapOperation(operation);
    const entry = this.#append({ op: 'MAP', ...NO_DOCUMENT, payload, version, ...kept });
    map.logged(entry.offset, operation);
    return entry;
  }

  /** An entry that no row points to: superseded from the start. */
  #append(draft: Parameters<ReplicaLog['append']>[1]): AppendEntry {
    const entry = this.log.append(this.epoch, draft);
    this.log.supersede(entry.bytes.length);
    this.entries.push(entry);
    return entry;
  }

  #version(opId: Uint8Array): Version {
    return { hlc: this.log.tick(this.wallMs), opId };
  }

  #resultOf(
    { keyed, opId, fingerprint }: Proposal,
    { offset }: AppendEntry,
    version: Version,
    created: boolean,
  ): OperationRow {
    const writtenMs = version.hlc.ms;
    const result: OperationRow = { offset, epoch: this.epoch.num, version, created, fingerprint, writtenMs };
    if (keyed) this.rows.push(this.log.remember(opId, result));
    return result;
  }
}

function keyed({ keyed, fingerprint }: Proposal, created: boolean): Keyed {
  return keyed ? { operation: { fingerprint, created } } : {};
}
