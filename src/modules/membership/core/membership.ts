import { assert, unreachable } from '../../../kernel/assert.js';
import type { ErrorCode } from '../../../kernel/errors.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { NodeUuid, PeerFailure } from '../../../kernel/peer.js';
import type { Exchange, Heartbeat, HeardPeer, Introduction } from '../membership-peers.js';
import { Alarms } from './alarms.js';
import type { At, MembershipEffect, MembershipInput } from './membership-io.js';
import { recordProblem, type NodeRecord } from './node-record.js';
import type { Peer } from './peer.js';
import { beatRefusal, clusterRefusal } from './refusal.js';
import { Roster } from './roster.js';
import { SeedContacts } from './seed-contacts.js';
import { PAUSE_MS, REFUSAL_GAP_MS, type MembershipTiming } from './timing.js';
import { LEFT_MAX, MEMBERS_MAX, newerThan } from './view.js';

export interface MembershipOptions {
  /** As it shall be known when it enters a cluster: JOINING, with an incarnation above those of earlier boots. */
  readonly self: NodeRecord;
  readonly timing: MembershipTiming;
  /** Addresses of the seeds that are not this node. */
  readonly seeds: readonly string[];
}

/** Two heartbeats may be on their way to one node: a late answer to the first must not silence the second. */
const BEATS_IN_FLIGHT_MAX = 2;
const EXCHANGES_IN_FLIGHT_MAX = 8;
/** A node that says for so long that the map does not know us is asked to take us in: who was removed is told so. */
const DISOWNED_MS = 3_000;
/** Pushes of positions that come faster than this are told together. */
const PUSH_GAP_MS = 50;
const UPKEEP_MS = 1_000;
/** A clock is read off an answer only when it came quickly: half the round trip is the error. */
const CLOCK_RTT_MAX_MS = 400;

/**
 * Who is alive (replication 8), as a machine: every node beats every other (full mesh), pushes what it finds out to all at
 * once, and compares digests with every heartbeat and every second with one more. The driver sends what the effects say
 * and reports what came of it; `tick` is due every TICK_MS.
 *
 * Who owns what: Roster the view and the rule of what is believed, PeerHealth the evidence about one node, this file the
 * talk. Invariant: a node is judged by evidence only while we ourselves were running (1.5).
 */
export class Membership {
  readonly roster: Roster;
  readonly #timing: MembershipTiming;
  readonly #seeds: SeedContacts;
  #clusterId = '';
  #at: At = { monotonicMs: 0, wallMs: 0 };
  #started = false;
  #out: MembershipEffect[] = [];
  #positions: Uint8Array = new Uint8Array();
  #disk = { freeBytes: 0, totalBytes: 0 };
  #pushDue = false;
  #pushedMs = -Infinity;
  #comparedMs = -Infinity;
  #comparedWith: NodeUuid = '';
  #upkeepMs = -Infinity;
  readonly #alarms = new Alarms();

  constructor(options: MembershipOptions, hasher: Hasher) {
    assert(recordProblem(options.self) === undefined, 'a node knows how to describe itself');
    this.#timing = options.timing;
    this.#seeds = new SeedContacts(options.seeds);
    this.roster = new Roster(options.self, options.timing, hasher);
  }

  /** '' while it belongs to none. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /** How far the clock of a node, this one included, is off the median of its peers; undefined while unknown (1.3). */
  skewMs(nodeUuid: NodeUuid): number | undefined {
    return this.#alarms.skewMs(nodeUuid);
  }

  step(input: MembershipInput, at: At): readonly MembershipEffect[] {
    const out: MembershipEffect[] = (this.#out = []);
    this.roster.begin(at, out);
    if (this.#started) this.#noticePause(at);
    this.#started = true;
    this.#at = at;
    this.#take(input);
    const { refuted, accused } = this.roster.end();
    if (refuted) this.#push([this.roster.self]);
    for (const nodeUuid of accused) {
      const record = this.roster.view.get(nodeUuid);
      if (record !== undefined) this.#tell(nodeUuid, [{ ...record, status: 'SUSPECT' }]);
    }
    return out;
  }

  #take(input: MembershipInput): void {
    const { roster } = this;
    switch (input.kind) {
      case 'tick':
        if (this.#clusterId !== '') this.#tick();
        return;
      case 'entered':
        this.#clusterId = input.clusterId;
        roster.setSelf({});
        roster.merge(input.records);
        this.#push([roster.self]);
        return;
      case 'surrendered':
        this.#clusterId = '';
        roster.clear();
        roster.setSelf({ status: 'JOINING', raise: true });
        return;
      case 'readmitted':
        roster.merge(input.records);
        roster.evicted = false;
        roster.setSelf({ raise: true });
        this.#push([roster.self]);
        return;
      case 'admitted':
        roster.merge([input.record]);
        this.#push([input.record]);
        return;
      case 'status':
        roster.setSelf({ status: input.status });
        if (this.#clusterId !== '') this.#push([roster.self]);
        return;
      case 'map':
        roster.setMap(input.mapEpoch, input.members);
        return;
      case 'positions':
        this.#positions = input.positions;
        return;
      case 'disk':
        this.#disk = { freeBytes: input.freeBytes, totalBytes: input.totalBytes };
        return;
      case 'pushNow':
        this.#pushDue = true;
        this.#sendDue();
        return;
      case 'doubt':
        this.#doubt(input.nodeUuid);
        return;
      case 'beat':
        this.#onBeat(input.beat);
        return;
      case 'answered':
        this.#onAnswered(input.to, input.sentMs, input.beat);
        return;
      case 'unanswered':
        this.#onUnanswered(input.to, input.reason, input.unregistered === true);
        return;
      case 'exchange':
        this.#onExchange(input.exchange);
        return;
      case 'exchanged':
        this.#onExchanged(input.to, input.asked, input.records);
        return;
      case 'unexchanged': {
        const peer = roster.peers.get(input.to);
        if (peer === undefined) return;
        peer.exchangesInFlight = Math.max(0, peer.exchangesInFlight - 1);
        if (input.reason === 'REFUSED' || input.reason === 'RESET') this.#doubt(input.to);
        return;
      }
      case 'introduced':
        this.#onIntroduced(input.address, input.other);
        return;
      case 'unintroduced':
        this.#seeds.done(input.address, undefined);
        return;
      default:
        unreachable(input);
    }
  }

  #noticePause(at: At): void {
    const passed = at.monotonicMs - this.#at.monotonicMs;
    const apart = Math.abs(at.wallMs - this.#at.wallMs - passed);
    if (passed <= PAUSE_MS && apart <= PAUSE_MS) return;
    for (const peer of this.roster.peers.values()) {
      if (passed > PAUSE_MS) peer.health.excuse(passed);
      peer.nextBeatMs = at.monotonicMs;
      peer.clockOffsetMs = undefined;
    }
    this.#out.push({ kind: 'paused', ms: Math.max(passed, apart) });
  }

  #tick(): void {
    const now = this.#at.monotonicMs;
    if (this.roster.self.status === 'LEFT') return;
    for (const [nodeUuid, peer] of this.roster.sorted()) this.#judge(nodeUuid, peer);
    this.#sendDue();
    if (now - this.#comparedMs >= this.#timing.contactMs) this.#compare();
    if (now - this.#upkeepMs >= UPKEEP_MS) {
      this.#upkeepMs = now;
      this.roster.forget();
      this.#alarms.raise(this.roster, now, this.#out);
    }
    // A peer is asked by heartbeats already.
    const known = (address: string, nodeUuid: NodeUuid | undefined): boolean =>
      nodeUuid === this.roster.self.nodeUuid ||
      (nodeUuid !== undefined && this.roster.isUp(nodeUuid)) ||
      this.roster.view.records().some((record) => record.grpcAddress === address && record.status !== 'LEFT');
    for (const address of this.#seeds.due(now, this.#timing.contactMs, known))
      this.#out.push({ kind: 'introduce', address });
  }

  #judge(nodeUuid: NodeUuid, peer: Peer): void {
    const { health, alarms } = peer;
    if (health.isRefused() && !alarms.refused) this.#out.push({ kind: 'peer', event: { kind: 'refused', nodeUuid } });
    alarms.refused = health.isRefused();
    const record = this.roster.view.get(nodeUuid);
    if (record === undefined || record.status === 'LEFT' || record.status === 'UNAVAILABLE') return;
    const verdict = health.verdict(this.#at.monotonicMs, this.#timing);
    if (verdict === 'heard' || (verdict === 'suspect' && record.status === 'SUSPECT')) return;
    this.roster.judge(record, verdict === 'suspect' ? 'SUSPECT' : 'UNAVAILABLE');
    this.#push([this.roster.view.get(nodeUuid) ?? record], nodeUuid);
  }

  /** Heartbeats whose time has come. */
  #sendDue(): void {
    const now = this.#at.monotonicMs;
    if (this.#clusterId === '' || this.roster.self.status === 'LEFT') return;
    const pushed = this.#pushDue && now - this.#pushedMs >= PUSH_GAP_MS;
    if (pushed) {
      this.#pushDue = false;
      this.#pushedMs = now;
    }
    for (const [nodeUuid, peer] of this.roster.sorted())
      if (now >= peer.nextBeatMs || (pushed && this.roster.isUp(nodeUuid))) this.#sendBeat(nodeUuid, peer);
  }

  #sendBeat(to: NodeUuid, peer: Peer): void {
    const address = this.roster.addressOf(to);
    const everyMs = this.roster.isUp(to) ? this.#timing.intervalMs : this.#timing.contactMs;
    peer.nextBeatMs = this.#at.monotonicMs + everyMs;
    if (address === undefined || peer.beatsInFlight >= BEATS_IN_FLIGHT_MAX) return;
    peer.beatsInFlight++;
    this.#out.push({ kind: 'heartbeat', to, address, beat: this.#beat() });
  }

  #beat(): Heartbeat {
    const now = this.#at.monotonicMs;
    const heard: HeardPeer[] = [];
    for (const [nodeUuid, { health }] of this.roster.sorted()) {
      if (health.answeredMs === undefined) continue;
      const agoMs = Math.ceil(now - health.answeredMs);
      if (agoMs < this.#timing.failoverAfterMs) heard.push({ nodeUuid, agoMs });
    }
    return {
      clusterId: this.#clusterId,
      self: this.roster.self,
      load: { diskFreeBytes: this.#disk.freeBytes, diskTotalBytes: this.#disk.totalBytes, wallMs: this.#at.wallMs },
      viewDigest: this.roster.view.digest(),
      mapEpoch: this.roster.mapEpoch,
      positions: this.#positions,
      heard,
    };
  }

  #doubt(nodeUuid: NodeUuid): void {
    const peer = this.roster.peers.get(nodeUuid);
    if (peer !== undefined && this.#clusterId !== '' && peer.beatsInFlight < BEATS_IN_FLIGHT_MAX)
      this.#sendBeat(nodeUuid, peer);
  }

  #onBeat(beat: Heartbeat): void {
    const problem = clusterRefusal(this.#clusterId, beat.clusterId) ?? beatRefusal(this.roster.self, beat);
    if (problem !== undefined) {
      this.roster.refused++;
      if (beat.self.nodeUuid === this.roster.self.nodeUuid) this.roster.noticeTwin(beat.self);
      this.#out.push({ kind: 'reject', ...problem });
      return;
    }
    this.#hear(beat);
    if (this.roster.view.get(beat.self.nodeUuid) === undefined)
      this.#reject('LIMIT_EXCEEDED', `a cluster has at most ${MEMBERS_MAX} nodes`);
    else this.#out.push({ kind: 'answerBeat', beat: this.#beat() });
  }

  #onAnswered(to: NodeUuid, sentMs: number, beat: Heartbeat): void {
    const now = this.#at.monotonicMs;
    const peer = this.roster.peers.get(to);
    if (peer !== undefined) peer.beatsInFlight = Math.max(0, peer.beatsInFlight - 1);
    if (beat.clusterId !== this.#clusterId || beatRefusal(this.roster.self, beat) !== undefined) return;
    const from = beat.self.nodeUuid;
    // Another data directory serves that address now: the process we knew is gone.
    if (from !== to && peer !== undefined) this.#failed(peer, 'REFUSED');
    const answering = this.roster.meet(from);
    answering.disownedSinceMs = undefined;
    answering.health.answered(now, sentMs);
    const rttMs = now - sentMs;
    if (rttMs <= CLOCK_RTT_MAX_MS) answering.clockOffsetMs = beat.load.wallMs - (this.#at.wallMs - rttMs / 2);
    this.#hear(beat);
    this.#out.push({ kind: 'peer', event: { kind: 'heard', nodeUuid: from } });
    if (beat.viewDigest !== this.roster.view.digest() && answering.exchangesInFlight === 0) this.#tell(from, []);
  }

  #onUnanswered(to: NodeUuid, reason: PeerFailure, unregistered: boolean): void {
    const peer = this.roster.peers.get(to);
    if (peer === undefined) return;
    peer.beatsInFlight = Math.max(0, peer.beatsInFlight - 1);
    // Its map may be behind by a moment; a node that was removed while it was away learns of it here.
    const now = this.#at.monotonicMs;
    peer.disownedSinceMs = unregistered ? (peer.disownedSinceMs ?? now) : undefined;
    if (now - (peer.disownedSinceMs ?? now) >= DISOWNED_MS) this.roster.evict();
    this.#failed(peer, reason);
  }

  /** A reset is asked about at once, a first refusal once more after the gap (replication 5.1). */
  #failed(peer: Peer, reason: PeerFailure): void {
    const now = this.#at.monotonicMs;
    if (!peer.health.failed(now, reason)) return;
    peer.nextBeatMs = Math.min(peer.nextBeatMs, reason === 'REFUSED' ? now + REFUSAL_GAP_MS : now);
  }

  /** What any heartbeat tells, asked or answered. */
  #hear(beat: Heartbeat): void {
    const now = this.#at.monotonicMs;
    this.roster.merge([beat.self]);
    const peer = this.roster.peers.get(beat.self.nodeUuid);
    if (peer === undefined) return;
    peer.tells(beat, now);
    for (const { nodeUuid, agoMs } of beat.heard)
      if (agoMs >= 0) this.roster.peers.get(nodeUuid)?.health.seen(now - agoMs);
    this.#out.push({ kind: 'peer', event: { kind: 'told', nodeUuid: beat.self.nodeUuid } });
  }

  /** Tells all who might listen, and who is spoken of. */
  #push(records: readonly NodeRecord[], accused?: NodeUuid): void {
    for (const [nodeUuid] of this.roster.sorted()) {
      const status = this.roster.view.get(nodeUuid)?.status;
      if (this.roster.isUp(nodeUuid) || status === 'SUSPECT' || nodeUuid === accused) this.#tell(nodeUuid, records);
    }
  }

  /** Tells some records; with none, asks for the other's. */
  #tell(to: NodeUuid, records: readonly NodeRecord[]): void {
    const peer = this.roster.peers.get(to);
    const address = this.roster.addressOf(to);
    if (peer === undefined || address === undefined || peer.exchangesInFlight >= EXCHANGES_IN_FLIGHT_MAX) return;
    peer.exchangesInFlight++;
    const exchange: Exchange = {
      clusterId: this.#clusterId,
      from: this.roster.self.nodeUuid,
      viewDigest: this.roster.view.digest(),
      records,
    };
    this.#out.push({ kind: 'exchange', to, address, asked: records.length === 0, exchange });
  }

  #onExchange(exchange: Exchange): void {
    const problem = clusterRefusal(this.#clusterId, exchange.clusterId);
    if (problem !== undefined) {
      this.roster.refused++;
      this.#out.push({ kind: 'reject', ...problem });
      return;
    }
    if (exchange.records.length > MEMBERS_MAX + LEFT_MAX) {
      this.roster.refused++;
      this.#reject('LIMIT_EXCEEDED', `an exchange holds at most ${MEMBERS_MAX + LEFT_MAX} records`);
      return;
    }
    this.roster.merge(exchange.records);
    const { view } = this.roster;
    const records = view.digest() === exchange.viewDigest ? [] : view.records();
    this.#out.push({ kind: 'answerExchange', records });
  }

  #onExchanged(to: NodeUuid, asked: boolean, records: readonly NodeRecord[]): void {
    const peer = this.roster.peers.get(to);
    if (peer !== undefined) peer.exchangesInFlight = Math.max(0, peer.exchangesInFlight - 1);
    if (records.length === 0 || records.length > MEMBERS_MAX + LEFT_MAX) return;
    this.roster.merge(records);
    // Only who asked tells back: two nodes that cannot agree yet would else go on for ever.
    const newer = asked ? newerThan(records, this.roster.view.records()) : [];
    if (newer.length > 0) this.#tell(to, newer);
  }

  /** Anti-entropy: compares digests with the next node in turn. */
  #compare(): void {
    this.#comparedMs = this.#at.monotonicMs;
    const up = this.roster.sorted().filter(([nodeUuid]) => this.roster.isUp(nodeUuid));
    const next = up.find(([nodeUuid]) => nodeUuid > this.#comparedWith) ?? up.at(0);
    if (next === undefined) return;
    this.#comparedWith = next[0];
    if (next[1].exchangesInFlight === 0) this.#tell(next[0], []);
  }

  #onIntroduced(address: string, other: Introduction): void {
    const member = other.clusterId === this.#clusterId && other.clusterId !== '';
    this.#seeds.done(address, member || other.nodeUuid === this.roster.self.nodeUuid ? other.nodeUuid : undefined);
    if (other.nodeUuid === this.roster.self.nodeUuid || other.clusterId === '') return;
    if (!member) this.#out.push({ kind: 'foreign', address, other });
    else if (!this.roster.isUp(other.nodeUuid))
      this.#sendBeat(other.nodeUuid, this.roster.meet(other.nodeUuid, address));
  }

  #reject(code: ErrorCode, detail: string): void {
    this.#out.push({ kind: 'reject', code, detail });
  }
}
