import type { Hasher } from '../../../kernel/hasher.js';
import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { At, MapMember, MembershipEffect } from './membership-io.js';
import {
  INCARNATION_MAX,
  isUp,
  joinRecords,
  recordProblem,
  recordText,
  type NodeRecord,
  type NodeStatus,
} from './node-record.js';
import { Peer } from './peer.js';
import { PeerHealth } from './peer-health.js';
import type { MembershipTiming } from './timing.js';
import { View } from './view.js';

/** How long a node that the map does not know may be UNAVAILABLE before it counts as gone: it is not looked for for ever. */
const STRANGER_GONE_MS = 60_000;

/**
 * The view and what this node makes of it. Owns its own record, of which nobody else decides anything: it refutes what is
 * said of it (replication 8.2). Of others it takes what is newer, but not the claim that a node failed which it hears
 * itself: the accused is told, and answers with a higher incarnation if it lives.
 *
 * Invariant: there is a Peer for every record that has not left, every member of the map, and every node met at a seed.
 */
export class Roster {
  readonly view: View;
  readonly peers = new Map<NodeUuid, Peer>();
  self: NodeRecord;
  mapEpoch = 0;
  members: ReadonlyMap<NodeUuid, MapMember> = new Map();
  /** The others hold that we left, and we have not been taken back yet. */
  evicted = false;
  /** Records, heartbeats and exchanges refused because something is wrong with them. */
  refused = 0;
  readonly #timing: MembershipTiming;
  /** Highest incarnation anybody told of us. */
  #claimedIncarnation = 0;
  #changed = false;
  #at: At = { monotonicMs: 0, wallMs: 0 };
  #out: MembershipEffect[] = [];
  readonly #accused = new Set<NodeUuid>();
  #refuted = false;

  constructor(self: NodeRecord, timing: MembershipTiming, hasher: Hasher) {
    this.self = self;
    this.#timing = timing;
    this.view = new View(hasher);
  }

  /** A step begins: effects go to `out`. */
  begin(at: At, out: MembershipEffect[]): void {
    this.#at = at;
    this.#out = out;
  }

  /** The step ends; answers what is to be told others because of it. */
  end(): { readonly refuted: boolean; readonly accused: readonly NodeUuid[] } {
    if (this.#changed) this.#out.push({ kind: 'view', records: this.view.records() });
    const ended = { refuted: this.#refuted, accused: [...this.#accused].sort(compareIds) };
    this.#changed = this.#refuted = false;
    this.#accused.clear();
    return ended;
  }

  sorted(): readonly (readonly [NodeUuid, Peer])[] {
    return [...this.peers].sort(([a], [b]) => compareIds(a, b));
  }

  /** Where a node is; undefined when nobody said, or only that it is where this node is now. */
  addressOf(nodeUuid: NodeUuid): string | undefined {
    const isOther = nodeUuid !== this.self.nodeUuid;
    return [
      this.isUp(nodeUuid) ? undefined : this.peers.get(nodeUuid)?.metAt,
      this.view.get(nodeUuid)?.grpcAddress,
      this.members.get(nodeUuid)?.address,
      this.peers.get(nodeUuid)?.metAt,
    ].find((address) => address !== undefined && !(isOther && address === this.self.grpcAddress));
  }

  isUp(nodeUuid: NodeUuid): boolean {
    const record = this.view.get(nodeUuid);
    return record !== undefined && isUp(record.status);
  }

  /** The peer, known from now on; `metAt` is where it just answered as itself. */
  meet(nodeUuid: NodeUuid, metAt?: string): Peer {
    let peer = this.peers.get(nodeUuid);
    if (peer === undefined) {
      peer = new Peer(this.#at.monotonicMs);
      this.peers.set(nodeUuid, peer);
    }
    peer.metAt = metAt ?? peer.metAt;
    return peer;
  }

  /** This node says something new of itself. */
  setSelf(change: { readonly status?: NodeStatus; readonly raise?: boolean }): void {
    const { status = this.self.status, raise = false } = change;
    const incarnation = raise ? Math.max(this.self.incarnation, this.#claimedIncarnation) + 1 : this.self.incarnation;
    if (incarnation > INCARNATION_MAX) return;
    this.self = { ...this.self, status, incarnation };
    if (this.view.merge([this.self], this.#at.monotonicMs).length > 0) this.#changed = true;
  }

  /** Takes what others say. */
  merge(records: readonly NodeRecord[]): void {
    for (const record of records) {
      if (recordProblem(record) !== undefined) this.refused++;
      else if (record.nodeUuid === this.self.nodeUuid) this.#hearOfSelf(record);
      else if (!this.#vetoes(record)) this.#take(record);
    }
  }

  /** This node found out itself that another one has another status. */
  judge(record: NodeRecord, status: NodeStatus): void {
    this.#take({ ...record, status });
  }

  /** Another process claims to be this node: its data directory was copied. */
  noticeTwin(record: NodeRecord): void {
    this.#out.push({ kind: 'notice', notice: { kind: 'twin', address: record.grpcAddress } });
  }

  setMap(mapEpoch: number, members: readonly MapMember[]): void {
    const before = this.members;
    this.mapEpoch = mapEpoch;
    this.members = new Map(members.map((member) => [member.nodeUuid, member]));
    for (const nodeUuid of [...before.keys()].sort(compareIds)) {
      if (this.members.has(nodeUuid)) continue;
      const record = this.view.get(nodeUuid);
      if (nodeUuid === this.self.nodeUuid) this.evict();
      else if (record !== undefined) this.judge(record, 'LEFT');
    }
    for (const { nodeUuid } of members) if (nodeUuid !== this.self.nodeUuid) this.meet(nodeUuid);
    this.forget();
  }

  /** Drops who is gone and will not be looked for. */
  forget(): void {
    const now = this.#at.monotonicMs;
    const names = new Set([...this.members.values()].map((member) => member.nodeId));
    if (this.mapEpoch > 0) {
      for (const record of this.view.records()) {
        const since = this.peers.get(record.nodeUuid)?.unavailableSinceMs;
        if (since === undefined || this.members.has(record.nodeUuid)) continue;
        if (names.has(record.nodeId) || now - since >= STRANGER_GONE_MS) this.judge(record, 'LEFT');
      }
    }
    this.view.forget(now, new Set(this.members.keys()));
    for (const nodeUuid of [...this.peers.keys()]) {
      const status = this.view.get(nodeUuid)?.status ?? 'LEFT';
      if (status === 'LEFT' && !this.members.has(nodeUuid)) this.peers.delete(nodeUuid);
    }
  }

  /** Forgets all others. */
  clear(): void {
    this.view.clear();
    this.peers.clear();
    this.members = new Map();
    this.mapEpoch = 0;
    this.evicted = false;
    this.#changed = true;
  }

  /** The others do not count this node among them. */
  evict(): void {
    if (this.evicted) return;
    this.evicted = true;
    this.#out.push({ kind: 'evicted' });
  }

  #vetoes(record: NodeRecord): boolean {
    if (record.status !== 'SUSPECT' && record.status !== 'UNAVAILABLE') return false;
    const known = this.view.get(record.nodeUuid);
    const health = this.peers.get(record.nodeUuid)?.health;
    if (known === undefined || !isUp(known.status) || record.incarnation !== known.incarnation) return false;
    if (health?.answeredMs === undefined) return false;
    if (health.verdict(this.#at.monotonicMs, this.#timing) !== 'heard') return false;
    this.#accused.add(record.nodeUuid);
    return true;
  }

  #take(record: NodeRecord): void {
    const now = this.#at.monotonicMs;
    const before = this.view.get(record.nodeUuid);
    const [after] = this.view.merge([record], now) as [NodeRecord?];
    if (after === undefined) return;
    this.#changed = true;
    const peer = this.meet(record.nodeUuid);
    if (before !== undefined && after.incarnation > before.incarnation) {
      // Its owner spoke: it was alive a moment ago, and what we counted against it was an earlier life.
      const { answeredMs, rttMs } = peer.health;
      peer.health = new PeerHealth(now);
      Object.assign(peer.health, { answeredMs, rttMs });
      peer.alarms.refused = false;
    }
    if (after.status !== before?.status) {
      peer.unavailableSinceMs = after.status === 'UNAVAILABLE' ? now : undefined;
      if (before !== undefined && before.status !== 'LEFT' && after.status !== 'LEFT') {
        if (isUp(before.status) !== isUp(after.status)) peer.transitions.add(now);
      }
      if (isUp(after.status) && (before === undefined || !isUp(before.status))) peer.nextBeatMs = now;
      this.#out.push({ kind: 'peer', event: { kind: 'status', nodeUuid: after.nodeUuid, status: after.status } });
    }
  }

  #hearOfSelf(record: NodeRecord): void {
    const own = this.self;
    if (own.status === 'LEFT' || recordText(joinRecords(own, record)) === recordText(own)) return;
    this.#claimedIncarnation = Math.max(this.#claimedIncarnation, record.incarnation);
    if (record.grpcAddress !== own.grpcAddress) this.noticeTwin(record);
    if (record.status === 'LEFT') {
      // Somebody decided it, in the map: joining again asks whether it still holds.
      this.evict();
      return;
    }
    this.setSelf({ raise: true });
    this.#refuted = true;
  }
}
