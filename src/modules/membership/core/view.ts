import { toHex, utf8 } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { joinRecords, recordText, type NodeRecord } from './node-record.js';

/** Members of a cluster (replication 8.1: full mesh to 64 nodes). */
export const MEMBERS_MAX = 64;
/** Nodes that left and are still remembered, so that a late rumour does not bring them back. */
export const LEFT_MAX = 64;
/** How long they are remembered: far above any delay of a message. */
export const LEFT_REMEMBERED_MS = 600_000;

/**
 * Who is in the cluster, as one node knows it. Merging is a semilattice, so the order and number of messages do not
 * matter (replication 8.2). Nodes that left stay out of the digest: each node forgets them at its own time.
 */
export class View {
  readonly #hasher: Hasher;
  readonly #records = new Map<NodeUuid, NodeRecord>();
  readonly #leftSinceMs = new Map<NodeUuid, number>();
  #sorted: readonly NodeRecord[] | undefined;
  #digest: string | undefined;

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  get(nodeUuid: NodeUuid): NodeRecord | undefined {
    return this.#records.get(nodeUuid);
  }

  /** By uuid, ascending. */
  records(): readonly NodeRecord[] {
    return (this.#sorted ??= [...this.#records.values()].sort((a, b) => compareIds(a.nodeUuid, b.nodeUuid)));
  }

  /** 32 hex digits: equal when two nodes have the same view. */
  digest(): string {
    if (this.#digest === undefined) {
      const members = this.records().filter((record) => record.status !== 'LEFT');
      const text = members.map(recordText).join('\n');
      this.#digest = toHex(this.#hasher.sha256Head(utf8(text)));
    }
    return this.#digest;
  }

  /** Takes what is newer; answers the records it changed, in the order given. A member beyond the bound is not taken. */
  merge(records: readonly NodeRecord[], nowMs: number): readonly NodeRecord[] {
    const changed: NodeRecord[] = [];
    for (const record of records) {
      const known = this.#records.get(record.nodeUuid);
      const joined = known === undefined ? record : joinRecords(known, record);
      if (known !== undefined && (joined === known || recordText(joined) === recordText(known))) continue;
      const enters = joined.status !== 'LEFT' && (known === undefined || known.status === 'LEFT');
      if (enters && this.members() >= MEMBERS_MAX) continue;
      this.#put(joined, nowMs);
      changed.push(joined);
    }
    return changed;
  }

  /** Members that have not left. */
  members(): number {
    return this.#records.size - this.#leftSinceMs.size;
  }

  /** Forgets who left long ago, but for those in `kept`. */
  forget(nowMs: number, kept: ReadonlySet<NodeUuid>): void {
    for (const [nodeUuid, sinceMs] of [...this.#leftSinceMs])
      if (nowMs - sinceMs >= LEFT_REMEMBERED_MS && !kept.has(nodeUuid)) this.#drop(nodeUuid);
  }

  /** Starts anew: the node goes to another cluster. */
  clear(): void {
    this.#records.clear();
    this.#leftSinceMs.clear();
    this.#sorted = this.#digest = undefined;
  }

  #put(record: NodeRecord, nowMs: number): void {
    this.#records.set(record.nodeUuid, record);
    this.#sorted = this.#digest = undefined;
    if (record.status !== 'LEFT') {
      this.#leftSinceMs.delete(record.nodeUuid);
      return;
    }
    if (!this.#leftSinceMs.has(record.nodeUuid)) this.#leftSinceMs.set(record.nodeUuid, nowMs);
    // Insertion order is order of time.
    const [oldest] = this.#leftSinceMs.keys();
    if (this.#leftSinceMs.size > LEFT_MAX) this.#drop(oldest);
  }

  #drop(nodeUuid: NodeUuid): void {
    this.#records.delete(nodeUuid);
    this.#leftSinceMs.delete(nodeUuid);
    this.#sorted = this.#digest = undefined;
  }
}

/** Records of `ours` that win over what `theirs` holds, or that it lacks. */
export function newerThan(theirs: readonly NodeRecord[], ours: readonly NodeRecord[]): readonly NodeRecord[] {
  const known = new Map(theirs.map((record) => [record.nodeUuid, record]));
  return ours.filter((record) => {
    const other = known.get(record.nodeUuid);
    return other === undefined || recordText(joinRecords(other, record)) !== recordText(other);
  });
}
