import { assert } from '../../kernel/assert.js';
import { equalBytes } from '../../kernel/bytes.js';
import type { Clock } from '../../kernel/clock.js';
import type { Epoch } from '../../kernel/epoch.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import type { Timers } from '../../kernel/timers.js';
import { HLC_ZERO, OP_ID_BYTES, type Hlc } from '../../kernel/version.js';
import {
  entryChain,
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryPayload,
  entryShard,
  entryVersion,
  verifyEntry,
} from '../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import { documentKey, idempotencyKey, shardKey } from '../log/core/keys.js';
import { verifyEntries } from '../log/core/received-entries.js';
import { LogDamagedError, type LogStore } from '../log/log-store.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import { decodeCounters, decodeRow, ZERO_COUNTERS, type DocumentRow, type ShardCounters } from '../shard/core/rows.js';
import { conflictRow } from './core/conflict-row.js';
import type { ReplicaEffect } from './core/effects.js';
import type { ReplicaInput } from './core/inputs.js';
import { decodeAgreedMap, decodeMapOperation } from './core/map-codec.js';
import { MapState, type PendingOperation } from './core/map-state.js';
import type { CopyPlan, FailoverTimes, Now, PeerView } from './core/peer-view.js';
import type {
  Ack,
  CoversAnswer,
  CoversRequest,
  FenceAnswer,
  FenceRequest,
  FetchAnswer,
  FetchRequest,
  FollowerMessage,
  Hello,
  HelloAnswer,
  LogEnd,
  PrimaryMessage,
  ProbeRequest,
  PullAnswer,
  PullRequest,
  ShardLeader,
  ShardPosition,
  ShardSet,
  SnapshotChunk,
} from './core/protocol.js';
import { documentProblem } from './core/received-documents.js';
import { MAP_ROW, Replica } from './core/replica.js';
import { COUNTERS_ROW, ReplicaLog, SETS_ROW, type BeatenRow, type ReplicaLogOptions } from './core/replica-log.js';
import { decodeSets, encodeSets } from './core/set-codec.js';
import type { AckLevel, Proposal, RowCondition, WriteOutcome } from './core/write.js';
import { BATCH_BYTES, FollowerFeed } from './follower-feed.js';
import type { BulkPlaces } from './bulk-places.js';
import { looseEntry, LooseStore } from './loose-store.js';
import { SnapshotReceiver } from './snapshot-receiver.js';
import { bytesOf, SnapshotSender } from './snapshot-sender.js';
import { SnapshotSource } from './snapshot-source.js';
import { unanswered, type Link, type LinkEvents, type ReplicaPeers } from './replica-peers.js';

/** A write as the coordinator or the map asks for it. */
export interface WriteRequest {
  readonly op: Proposal['op'];
  readonly collectionId: number;
  readonly id: string;
  readonly payload: Uint8Array;
  readonly condition?: RowCondition;
  readonly level: AckLevel;
  /** 16 bytes from the client's idempotency key; absent: a random one. */
  readonly key?: Uint8Array;
  /** 16 bytes: what the client asked for. Only looked at with `key`. */
  readonly fingerprint?: Uint8Array;
  readonly mapOperation?: MapOperation;
  /** 16 bytes the coordinator chose, so that a repetition is known; absent: random. `key` goes before it. */
  readonly opId?: Uint8Array;
  /** It was sent before and may have been logged: kept and looked up like a keyed one from now on. */
  readonly repeatedFrom?: number;
  /** Milliseconds the caller waits; absent: longer than any wait here. */
  readonly waitMs?: number;
  /** The encoded result of that earlier sending, when its entry was found in the log. */
  readonly earlier?: Uint8Array;
}

/** A write that waits for the end of the turn. */
interface Asked {
  readonly ticket: number;
  readonly opId: Uint8Array;
  readonly request: WriteRequest;
  readonly untilMs: number | undefined;
}

/** Where durable entries go to be searched. */
export interface ReplicaIndex {
  /** Puts durable entries in; resolves when they are applied. */
  apply(entries: readonly Uint8Array[]): Promise<void>;
  /** The log was cut: what follows `offset` is applied anew. */
  rewind(offset: number): Promise<void>;
  /** A snapshot took the log's place: the index is built anew from it. */
  rebuild(): Promise<void>;
}

/** What a replica needs of the world; all of it is swapped in the simulator. */
export interface ReplicaPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly times: FailoverTimes;
  /** Absent for the map's shard. */
  readonly index: ReplicaIndex | undefined;
  readonly peers: ReplicaPeers;
  /** The other nodes, as far as this shard is concerned. */
  readonly view: () => PeerView;
  /** What the map wants of this copy. */
  readonly plan: () => CopyPlan;
  /** Bulk catch-ups under way on this node (4.6). */
  readonly bulk: BulkPlaces;
  readonly report: ReplicaReport;
}

/** What a replica tells its node. */
export interface ReplicaReport {
  /** The map changed; only called for the map's shard. */
  map(map: ClusterMap): void;
  /** A dropped collection's rows may go. */
  sweep(collectionId: number): void;
  /** The copy is damaged or its index is lost beyond repair. */
  fault(error: Error): void;
  /** New entries are durable up to this offset. */
  durable(offset: number): void;
  /** Whether it reigns or follows has changed. */
  role(role: 'primary' | 'follower' | 'candidate', epoch: Epoch): void;
  /** Entries were sent to a follower. */
  streamed(to: NodeUuid, entries: number, bytes: number): void;
  /** A snapshot goes on with so many rows that an earlier transfer brought. */
  resumed(rows: number): void;
  /** A stream to or from that node broke: its process may be gone (5.1). */
  broken(node: NodeUuid): void;
}

const NO_FINGERPRINT = new Uint8Array(16);
/** Entry bytes a follower takes before it acknowledges (replication 4.2). */
const CREDIT_BYTES = 8 * 1024 * 1024;
const FENCE_TIMEOUT_MS = 3_000;
const PROBE_TIMEOUT_MS = 500;
const PULL_TIMEOUT_MS = 5_000;
const PAGE = 500;

/** A stream to one follower, seen from the primary. */
interface FollowerLink {
  readonly node: NodeUuid;
  readonly link: Link<PrimaryMessage>;
  feed: FollowerFeed | undefined;
  snapshot: SnapshotSender | undefined;
  hello: Hello | undefined;
}

/**
 * One shard's copy on this node: drives the Replica machine with the log, the index, the peers and the clock. Proposals of
 * one turn of the loop go into one step, so that they share a batch.
 */
export class ShardReplica {
  readonly shard: number;
  readonly #ports: ReplicaPorts;
  readonly #replica: Replica;
  readonly #looseStore: LooseStore;
  readonly #waiting = new Map<number, (outcome: WriteOutcome) => void>();
  readonly #links = new Map<number, FollowerLink>();
  readonly #fences = new Map<number, (answer: FenceAnswer) => void>();
  #turn: Asked[] = [];
  /** What is being proposed at this moment, and what waits to be proposed anew; the machine bounds it. */
  #proposing: readonly Asked[] = [];
  #postponed: Asked[] = [];
  #nextTicket = 1;
  #upstream: Link<FollowerMessage> | undefined;
  /** Chunks of a snapshot that wait to be staged; bounded by the credit that was granted. */
  #chunks: SnapshotChunk[] = [];
  #chunkCame: (() => void) | undefined;
  /** A snapshot whose transfer broke, also before a restart: the next one goes on from there. */
  #unfinished: SnapshotReceiver | undefined;
  /** Whether the snapshot that was announced goes on with it. */
  #resumes = false;
  /** Entry bytes taken and not granted again; the first credit was given. */
  #taken = 0;
  #granted = false;
  #fault: Error | undefined;
  #closed = false;
  /** The log is being cut, or a snapshot taken in. */
  #altering = 0;
  #altered: Promise<void> = Promise.resolve();

  private constructor(shard: number, replica: Replica, ports: ReplicaPorts) {
    this.shard = shard;
    this.#replica = replica;
    this.#ports = ports;
    this.#looseStore = new LooseStore(ports.log, ports.hasher);
  }

  /** A copy whose log is open; it follows, or stands for primary, as soon as it is ticked. The index must be at `applied`. */
  static async open(
    shard: number,
    self: NodeUuid,
    bootCount: number,
    applied: number,
    ports: ReplicaPorts,
  ): Promise<ShardReplica> {
    const state = ports.log.state(shard);
    const log = new ReplicaLog({
      shard,
      hasher: ports.hasher,
      lastHlc: await lastClock(ports.log, shard, state.tail, state.start.offset),
      ...storedEnd(ports.log, shard),
    });
    const replica = new Replica({
      shard,
      self,
      bootCount,
      log,
      promised: ports.log.promised(shard),
      strict: shard === META_SHARD,
      times: ports.times,
      applied,
      map: shard === META_SHARD ? await storedMap(ports.log, state.tail) : undefined,
      openedMs: ports.clock.monotonicMs(),
    });
    const driver = new ShardReplica(shard, replica, ports);
    if (shard !== META_SHARD) driver.#unfinished = await SnapshotReceiver.reopen(ports.log, ports.hasher, shard);
    driver.tick();
    return driver;
  }

  get role(): 'primary' | 'follower' | 'candidate' {
    return this.#replica.role;
  }

  /** The epoch it reigns in or follows; number 0 when it knows none. */
  get epoch(): Epoch {
    return this.#replica.reign?.epoch ?? this.#replica.leader?.epoch ?? this.#replica.log.lastEpoch;
  }

  /** The highest epoch this disk promised: what survives a crash. */
  get promised(): Epoch {
    return this.#ports.log.promised(this.shard);
  }

  /** Who is primary as far as this copy knows. */
  get leader(): ShardLeader | undefined {
    return this.#replica.leader;
  }

  get set(): ShardSet {
    return this.#replica.set;
  }

  /** The map its log holds, as far as it is agreed; only of the map's shard. */
  get highWaterMark(): number {
    return this.#replica.highWaterMark;
  }

  /** Offsets stored, durable and in the index. */
  get position(): { readonly tail: number; readonly durable: number; readonly applied: number } {
    const { log, applied } = this.#replica;
    return { tail: log.tail, durable: log.durable, applied };
  }

  /** What is wrong with the copy, or undefined. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  /** It follows, and nothing but appends changes its log: closed now, its log stays as it is once what was asked for is written. */
  get mayRest(): boolean {
    return this.role === 'follower' && this.#altering === 0;
  }

  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return this.#replica.reign?.inFlight ?? { ops: 0, bytes: 0 };
  }

  /** Bytes of entries that wait in memory for followers, beside what the streams buffer. */
  get feedBytes(): number {
    let bytes = 0;
    for (const { feed } of this.#links.values()) bytes += feed?.waitingBytes ?? 0;
    return bytes;
  }

  get inSync(): boolean {
    return this.#replica.inSync(this.#ports.clock.monotonicMs());
  }

  get lagMs(): number {
    return this.#replica.lagMs(this.#ports.clock.monotonicMs());
  }

  get generation(): number {
    return this.#replica.log.generation;
  }

  get loose(): number {
    return this.#replica.log.loose;
  }

  /** Whom the primary holds in sync, itself included. */
  get syncedNodes(): readonly NodeUuid[] {
    return this.#replica.syncedNodes(this.#ports.clock.monotonicMs());
  }

  /** How it stands, for the heartbeats. */
  standing(): Omit<ShardPosition, 'documents'> {
    return this.#replica.position(this.#ports.clock.monotonicMs());
  }

  /** End of the log and what its rows add up to, of one moment. */
  summary(): { readonly offset: number; readonly chain: Uint8Array; readonly counters: ShardCounters } {
    const { log } = this.#replica;
    return { offset: log.tail, chain: log.chain, counters: log.counters() };
  }

  counters(): ShardCounters {
    return this.#replica.log.counters();
  }

  /** Makes a write; resolves when it is acknowledged, refused or redirected. Never rejects. */
  write(request: WriteRequest): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const ticket = this.#nextTicket++;
      this.#waiting.set(ticket, resolve);
      const opId = request.key ?? request.opId ?? this.#ports.random.bytes(OP_ID_BYTES);
      const { waitMs } = request;
      const untilMs = waitMs === undefined ? undefined : this.#ports.clock.monotonicMs() + waitMs;
      this.#ask({ ticket, opId, request, untilMs });
    });
  }

  /** The stored row of a document, tombstones included. Durable rows only. */
  row(collectionId: number, id: string): DocumentRow | undefined {
    const bytes = this.#ports.log.row(documentKey(this.generation, this.shard, collectionId, id));
    return bytes === undefined ? undefined : decodeRow(bytes);
  }

  /** Time passes: called about ten times a second. */
  tick(): void {
    const { view, plan } = this.#ports;
    this.#run({ kind: 'tick', now: this.#now(), peers: view(), plan: plan(), opId: this.#opId() });
    for (const { feed } of this.#links.values()) feed?.tick();
  }

  /** Up to here every replica that the log is kept for has it (2.11). */
  get floor(): number {
    return this.#replica.floor;
  }

  /** As a primary: keeps the log no more for the replica that has least of it, and says which; a snapshot brings it back. */
  demoteSlowest(): NodeUuid | undefined {
    const node = this.#replica.slowest;
    if (node !== undefined) this.#run({ kind: 'demote', node });
    return node;
  }

  /** Superseded entries up to `start` were deleted. */
  compacted(bytes: number, start: number): void {
    this.#run({ kind: 'compacted', bytes, start });
  }

  /** This process stood still, or its clock jumped (1.5). */
  paused(): void {
    this.#run({ kind: 'paused', now: this.#now() });
  }

  /** Hands the reign over to a follower; its announcement tells that it worked (5.7). */
  transfer(to: NodeUuid): void {
    this.#run({ kind: 'transfer', to, now: this.#now() });
  }

  announced(leader: ShardLeader): void {
    this.#run({ kind: 'announced', leader, now: this.#now() });
  }

  /** Refuses everything from now on (replication 2.6: a damaged entry fails its shard only). */
  fail(error: Error): void {
    if (this.#fault !== undefined) return;
    this.#fault = error;
    this.#run({ kind: 'fail', detail: error.message });
  }

  /** Ends it: nothing is said or done any more. */
  close(): void {
    if (this.#closed) return;
    for (const { link, feed, snapshot } of this.#links.values()) {
      feed?.close();
      snapshot?.close();
      link.close();
    }
    this.#links.clear();
    this.#upstream?.close();
    this.#upstream = undefined;
    this.#closed = true;
    for (const resolve of this.#waiting.values()) resolve({ kind: 'redirect' });
    this.#waiting.clear();
  }

  // ---- what peers ask

  onFollow(from: NodeUuid, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    const ticket = this.#nextTicket++;
    const follower: FollowerLink = { node: from, link, feed: undefined, snapshot: undefined, hello: undefined };
    this.#links.set(ticket, follower);
    return {
      message: (message) => this.#fromFollower(ticket, follower, message),
      ended: (error) => {
        if (error !== undefined && this.#links.has(ticket)) this.#ports.report.broken(from);
        this.#dropLink(ticket);
      },
    };
  }

  onFence(from: NodeUuid, request: FenceRequest): Promise<FenceAnswer> {
    return new Promise((resolve) => {
      const ticket = this.#nextTicket++;
      this.#fences.set(ticket, resolve);
      this.#run({ kind: 'fence', ticket, from, request, now: this.#now() });
    });
  }

  couldAcknowledge(epoch: Epoch): boolean {
    return this.#replica.couldAcknowledge(epoch, this.#ports.clock.monotonicMs());
  }

  /** @throws PeerError REJECTED when this copy is damaged itself */
  async onFetch({ from, to, anchor, bytesMax }: FetchRequest): Promise<FetchAnswer> {
    if (this.#fault !== undefined) throw new PeerError('REJECTED', this.#fault.message);
    const { log } = this.#ports;
    try {
      const limit = Math.max(1, Math.min(to - from + 1, PAGE));
      const found = await log.scan(this.shard, from, limit, Math.max(1, bytesMax));
      const entries = found.filter((entry, i) => entryOffset(entry) === from + i && from + i <= to);
      return { entries, anchorChain: (await this.#chainAt(anchor)) ?? CHAIN_ZERO };
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.fail(error);
      throw new PeerError('REJECTED', error.message);
    }
  }

  async onCovers(from: NodeUuid, { mapEpoch, offset, chain }: CoversRequest): Promise<CoversAnswer> {
    const agreed = (): boolean => this.#replica.agreedWithout(from, mapEpoch, offset);
    if (!agreed()) return { covered: false };
    const there = await this.#chainAt(offset);
    return { covered: there !== undefined && equalBytes(there, chain) && agreed() };
  }

  /** @throws PeerError REJECTED when this copy no longer stands by the grant, or the entries are compacted */
  async onPull(request: PullRequest): Promise<PullAnswer> {
    const { log } = this.#ports;
    const promised = this.#replica.promised;
    if (promised.num !== request.epoch.num || this.role === 'primary')
      throw new PeerError('REJECTED', 'another epoch was promised meanwhile');
    const { tail, start } = log.state(this.shard);
    if (request.from <= start.offset || request.from > tail + 1)
      throw new PeerError('REJECTED', `the log has no offset ${request.from}`);
    const prevChain = request.from - 1 === start.offset ? start.chain : await this.#chainAt(request.from - 1);
    assert(prevChain !== undefined, 'an entry above the start has a chain');
    const entries =
      request.from > tail
        ? []
        : await log.scan(this.shard, request.from, 5_000, Math.min(request.bytesMax, 1024 * 1024));
    return { entries, prevChain };
  }

  // ---- stepping

  #now(): Now {
    const { clock } = this.#ports;
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
  }

  #opId(): Uint8Array {
    return this.#ports.random.bytes(OP_ID_BYTES);
  }

  #run(input: ReplicaInput): void {
    if (this.#closed) return;
    for (const effect of this.#replica.step(input)) this.#perform(effect);
  }

  #perform(effect: ReplicaEffect): void {
    const { report, peers } = this.#ports;
    switch (effect.kind) {
      case 'append':
        this.#append(effect);
        return;
      case 'promise':
        this.#promise(effect.epoch);
        return;
      case 'apply':
        report.durable(effect.tail);
        this.#apply(effect.entries, effect.tail);
        return;
      case 'reply': {
        const { ticket, outcome } = effect.reply;
        const resolve = this.#waiting.get(ticket);
        this.#waiting.delete(ticket);
        resolve?.(outcome);
        return;
      }
      case 'postpone': {
        const tickets = new Set(effect.tickets);
        this.#postponed.push(...this.#proposing.filter(({ ticket }) => tickets.has(ticket)));
        return;
      }
      case 'resume': {
        const postponed = this.#postponed;
        this.#postponed = [];
        for (const asked of postponed) this.#ask(asked);
        return;
      }
      case 'map':
        report.map(effect.map);
        return;
      case 'sweep':
        report.sweep(effect.collectionId);
        return;
      case 'conflict':
        this.#guard(this.#recordConflict(effect));
        return;
      case 'follow':
        this.#follow(effect.to, effect.hello);
        return;
      case 'unfollow':
        this.#unfollow();
        return;
      case 'ack':
        this.#ack();
        return;
      case 'truncate':
        this.#guard(this.#alone(() => this.#truncate(effect.to)));
        return;
      case 'receive':
        this.#receiveFrom(this.#upstream, effect.at, effect.fork);
        return;
      case 'offer':
        this.#guard(this.#offer(effect.branch));
        return;
      case 'welcome':
        this.#welcome(effect);
        return;
      case 'dismiss':
        for (const ticket of [...this.#links.keys()]) this.#dropLink(ticket, true);
        return;
      case 'loadLoose':
        this.#guard(this.#loadLoose());
        return;
      case 'announce':
        peers.announce(effect.leader);
        return;
      case 'handOver':
        for (const { node, link } of this.#links.values())
          if (node === effect.to) link.send({ kind: 'handOver', epoch: this.epoch });
        return;
      case 'probe':
        for (const to of effect.to) this.#probe(to, effect.request, effect.round);
        return;
      case 'fence':
        for (const to of effect.to) this.#fence(to, effect.request);
        return;
      case 'answerFence': {
        const resolve = this.#fences.get(effect.ticket);
        this.#fences.delete(effect.ticket);
        resolve?.(effect.answer);
        return;
      }
      case 'pull':
        this.#pull(effect.to, effect.request);
        return;
      case 'role':
        report.role(effect.role, effect.epoch);
        return;
      case 'fault':
        this.#fault ??= new Error(effect.detail);
        report.fault(this.#fault);
        return;
    }
  }

  /** An error of background work: a damaged log fails the copy, a failed disk the node (2.6). */
  #guard(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (this.#closed) return;
      // A failed disk ends the node (2.6); until it has ended nothing more is acknowledged.
      this.fail(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** One after the other: what a stream that broke began ends before another one goes on with it. */
  #alone(alter: () => Promise<void>): Promise<void> {
    this.#altering++;
    const altered = this.#altered.then(alter);
    this.#altered = altered.then(ended, ended);
    const end = (): void => {
      this.#altering--;
    };
    return altered.finally(end);
  }

  // ---- writing

  #ask(asked: Asked): void {
    if (this.#turn.length === 0) this.#ports.timers.soon(() => this.#proposeTurn());
    this.#turn.push(asked);
  }

  #proposeTurn(): void {
    const turn = this.#turn;
    this.#turn = [];
    let proposals: readonly Proposal[];
    try {
      proposals = turn.map((asked) => this.#proposal(asked));
    } catch (error) {
      // A row that cannot be read: nothing of this turn was logged, and the shard stops (replication 2.6).
      const fault = error instanceof Error ? error : new Error(String(error));
      for (const { ticket } of turn)
        this.#perform({
          kind: 'reply',
          reply: { ticket, outcome: { kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message } },
        });
      this.fail(fault);
      return;
    }
    this.#proposing = turn;
    this.#run({ kind: 'propose', now: this.#now(), proposals });
    this.#proposing = [];
  }

  /** What is asked for, with what is stored under its id and its key now. */
  #proposal({ ticket, opId, request, untilMs }: Asked): Proposal {
    const { log } = this.#ports;
    const { op, collectionId, id, payload, condition, level, fingerprint, mapOperation } = request;
    const { generation } = this;
    const keyed = request.key !== undefined || request.repeatedFrom !== undefined;
    return {
      ticket,
      op,
      collectionId,
      id,
      payload,
      ...(condition === undefined ? undefined : { condition }),
      level,
      opId,
      keyed,
      fingerprint: fingerprint ?? NO_FINGERPRINT,
      ...(untilMs === undefined ? undefined : { untilMs }),
      storedRow: id === '' ? undefined : log.row(documentKey(generation, this.shard, collectionId, id)),
      storedOperation: keyed ? (log.row(idempotencyKey(this.shard, opId, generation)) ?? request.earlier) : undefined,
      ...(mapOperation === undefined ? undefined : { mapOperation }),
    };
  }

  #append({ batch, tail }: Extract<ReplicaEffect, { kind: 'append' }>): void {
    const { log } = this.#ports;
    const appended = log.append(batch);
    if (this.role === 'primary' && batch.entries.length > 0)
      for (const { feed } of this.#links.values()) feed?.logged(batch.entries);
    this.#guard(
      appended.then(() => {
        if (batch.entries.length === 0) return;
        this.#run({ kind: 'persisted', offset: tail, now: this.#now() });
        for (const { feed } of this.#links.values()) feed?.pump();
      }),
    );
  }

  #promise(epoch: Epoch): void {
    const { log } = this.#ports;
    this.#guard(
      log.append({ shard: this.shard, entries: [], rows: [], promise: epoch }).then(() => {
        this.#run({ kind: 'promised', epoch, now: this.#now(), opId: this.#opId() });
      }),
    );
  }

  #apply(entries: readonly Uint8Array[], tail: number): void {
    const { index } = this.#ports;
    if (index === undefined) {
      this.#run({ kind: 'applied', offset: tail, now: this.#now() });
      return;
    }
    this.#guard(index.apply(entries).then(() => this.#run({ kind: 'applied', offset: tail, now: this.#now() })));
  }

  async #recordConflict({ loser, winner }: Extract<ReplicaEffect, { kind: 'conflict' }>): Promise<void> {
    const { log, clock, random } = this.#ports;
    const entry = loser instanceof Uint8Array ? loser : await this.#losingEntry(loser);
    if (entry === undefined) return;
    const row = conflictRow(this.shard, clock.wallMs(), random.bytes(4), entry, winner.versionText);
    await log.append({ shard: this.shard, entries: [], rows: [row] });
  }

  #losingEntry(loser: number | BeatenRow): Promise<Uint8Array | undefined> {
    const { log } = this.#ports;
    // At once: what is asked for next takes it out of the side store.
    if (typeof loser !== 'number') return Promise.resolve(looseEntry(log, this.shard, loser.collectionId, loser.id));
    // It may still be on its way to the disk.
    return log.sync().then(() => log.read(this.shard, loser));
  }

  // ---- following

  #follow(to: NodeUuid, hello: Hello): void {
    this.#unfollow();
    this.#taken = 0;
    this.#granted = false;
    const link = this.#ports.peers.follow(to, this.shard, {
      message: (message) => {
        if (this.#upstream === link) this.#fromPrimary(message);
      },
      ended: (error) => {
        if (this.#upstream !== link) return;
        this.#upstream = undefined;
        this.#chunkCame?.();
        if (error !== undefined) this.#ports.report.broken(to);
        this.#run({ kind: 'streamEnded', now: this.#now() });
      },
    });
    this.#upstream = link;
    const partial = this.#unfinished?.partial;
    link.send({ kind: 'hello', hello: partial === undefined ? hello : { ...hello, partial } });
  }

  #unfollow(): void {
    const link = this.#upstream;
    this.#upstream = undefined;
    this.#chunkCame?.();
    link?.close();
  }

  #fromPrimary(message: PrimaryMessage): void {
    switch (message.kind) {
      case 'answer':
        this.#resumes = message.answer.kind === 'snapshot' && message.answer.resumed === true;
        // It is not needed: the log goes on from where it is.
        if (message.answer.kind === 'accept') this.#guard(this.#alone(() => this.#discardUnfinished()));
        this.#run({ kind: 'welcomed', answer: message.answer, now: this.#now() });
        return;
      case 'batch': {
        const { batch } = message;
        for (const entry of batch.entries) this.#taken += entry.length;
        const problem = this.#problemOf(batch.entries);
        const stored = problem === undefined ? this.#storedRows(batch.entries) : [];
        this.#run({ kind: 'batch', batch, problem, stored, now: this.#now() });
        return;
      }
      case 'handOver':
        this.#run({ kind: 'takeOver', epoch: message.epoch, now: this.#now() });
        return;
      case 'chunk':
        this.#chunks.push(message.chunk);
        this.#chunkCame?.();
        return;
    }
  }

  /** Whether entries continue this log and may be stored (4.3). */
  #problemOf(entries: readonly Uint8Array[]): string | undefined {
    if (entries.length === 0) return undefined;
    const { log } = this.#replica;
    const after = { offset: log.tail, chain: log.chain, epoch: log.lastEpoch };
    const found = verifyEntries(this.#ports.hasher, this.shard, after, entries);
    return found === undefined ? documentProblem(entries) : `offset ${found.offset}: ${found.problem}`;
  }

  #storedRows(entries: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    const { log } = this.#ports;
    const { generation } = this;
    return entries.map((entry) => {
      const op = entryOp(entry);
      if (op !== 'UPSERT' && op !== 'DELETE') return undefined;
      return log.row(documentKey(generation, this.shard, entryCollectionId(entry), entryId(entry)));
    });
  }

  /** Says what is here, and grants as much credit as was used up. */
  #ack(): void {
    const { log, applied } = this.#replica;
    // What is still on its way to the disk is not granted again: that bounds what waits here.
    const granted = this.#granted ? Math.max(0, this.#taken - log.bytesInFlight) : CREDIT_BYTES;
    if (this.#granted) this.#taken -= granted;
    const ack: Ack = {
      durableOffset: log.durable,
      appliedOffset: Math.min(applied, log.durable),
      chain: log.durableChain,
      creditBytes: granted,
    };
    this.#granted = true;
    this.#upstream?.send({ kind: 'ack', ack });
  }

  /** Cuts the log behind `to`: rows beyond it become loose, and the index goes back (6.3, 6.4). */
  async #truncate(to: number): Promise<void> {
    const { log, index } = this.#ports;
    const { shard } = this;
    const sets = decodeSets(log.row(shardKey(shard, SETS_ROW))).filter(({ offset }) => offset <= to);
    const beside = [{ key: shardKey(shard, SETS_ROW), value: encodeSets(sets) }];
    await this.#looseStore.cutBranch(shard, to, beside);
    await index?.rewind(to);
    const applied = Math.min(this.#replica.applied, to);
    this.#run({ kind: 'replaced', log: storedEnd(log, shard), applied, now: this.#now() });
  }

  #receiveFrom(link: Link<FollowerMessage> | undefined, at: LogEnd, fork: number): void {
    const resumed = this.#resumes;
    this.#guard(this.#alone(() => this.#receive(link, at, fork, resumed)));
  }

  /**
   * Takes a snapshot in beside the log, then makes it the log (4.7); a stream that breaks leaves everything as it was, and
   * what came of the snapshot to go on with.
   */
  async #receive(link: Link<FollowerMessage> | undefined, at: LogEnd, fork: number, resumed: boolean): Promise<void> {
    const { log, index } = this.#ports;
    if (this.shard === META_SHARD) throw new LogDamagedError({ shard: this.shard, offset: fork + 1, problem: 'chain' });
    if (this.#upstream !== link || this.#closed) return;
    this.#chunks = [];
    const receiver = await this.#receiverOf(at, resumed);
    if (receiver === undefined) {
      this.#refuseStream(link);
      return;
    }
    const {
      durable,
      applied,
      durableChain: chain,
    } = { ...this.position, durableChain: this.#replica.log.durableChain };
    const grant = (creditBytes: number): void => {
      if (this.#upstream === link)
        link?.send({
          kind: 'ack',
          ack: { durableOffset: durable, appliedOffset: Math.min(applied, durable), chain, creditBytes },
        });
    };
    grant(CREDIT_BYTES);
    while (!receiver.complete && this.#upstream === link && !this.#isClosed()) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) {
        await new Promise<void>((resolve) => {
          this.#chunkCame = resolve;
        });
        continue;
      }
      if ((await receiver.take(chunk)) !== undefined) {
        // What is wrong with it may be wrong with what came before.
        this.#unfinished = undefined;
        await receiver.discard();
        break;
      }
      grant(bytesOf(chunk));
    }
    if (!receiver.complete) {
      this.#refuseStream(link);
      return;
    }
    this.#unfinished = undefined;
    // The sets of the old log mean nothing in the new one; until a SET is logged the map's counts.
    await receiver.finish(fork, [{ key: shardKey(this.shard, SETS_ROW), value: undefined }]);
    await this.#looseStore.sweep(this.shard, () => Promise.resolve());
    await index?.rebuild();
    this.#run({ kind: 'replaced', log: storedEnd(log, this.shard), applied: at.lastOffset, now: this.#now() });
  }

  /** Goes on with what is here of an earlier snapshot when the primary does, else begins anew; undefined: it cannot be used. */
  async #receiverOf(at: LogEnd, resumed: boolean): Promise<SnapshotReceiver | undefined> {
    const { log, hasher } = this.#ports;
    const unfinished = this.#unfinished;
    this.#unfinished = undefined;
    if (resumed && unfinished !== undefined) {
      if (unfinished.resume(at) !== undefined) {
        await unfinished.discard();
        return undefined;
      }
      this.#ports.report.resumed(unfinished.rows);
      this.#unfinished = unfinished;
      return unfinished;
    }
    const receiver = await SnapshotReceiver.begin(log, hasher, this.shard, at);
    if ('problem' in receiver) return undefined;
    this.#unfinished = receiver;
    return receiver;
  }

  /** `close` may come while something is awaited. */
  #isClosed(): boolean {
    return this.#closed;
  }

  async #discardUnfinished(): Promise<void> {
    this.#unfinished = undefined;
    if (this.#ports.log.staged(this.shard) !== undefined) await this.#ports.log.discardStage(this.shard);
  }

  /** What came on the stream cannot be used: it is tried again on another one. */
  #refuseStream(link: Link<FollowerMessage> | undefined): void {
    if (this.#upstream !== link) return;
    this.#unfollow();
    this.#run({ kind: 'streamEnded', now: this.#now() });
  }

  /** Offers the loose rows to the primary that is followed now (6.4). */
  async #offer(branch: readonly { readonly epoch: Epoch; readonly end: number }[]): Promise<void> {
    const link = this.#upstream;
    let part: Uint8Array[] = [];
    let bytes = 0;
    const flush = async (last: boolean): Promise<void> => {
      const offer = { entries: part, last, branch: last ? branch : [] };
      part = [];
      bytes = 0;
      if (link !== undefined && this.#upstream === link && !link.send({ kind: 'offer', offer })) await link.drained();
    };
    for await (const entries of this.#looseStore.entries(this.shard)) {
      for (const entry of entries) {
        if (bytes + entry.length > BATCH_BYTES && part.length > 0) await flush(false);
        part.push(entry);
        bytes += entry.length;
      }
    }
    await flush(true);
  }

  async #loadLoose(): Promise<void> {
    for await (const entries of this.#looseStore.entries(this.shard))
      this.#run({ kind: 'loose', entries, stored: this.#storedRows(entries) });
  }

  // ---- followers of this primary

  #fromFollower(ticket: number, follower: FollowerLink, message: FollowerMessage): void {
    const now = this.#now();
    switch (message.kind) {
      case 'hello':
        follower.hello = message.hello;
        this.#guard(this.#hello(ticket, message.hello));
        return;
      case 'ack':
        this.#acked(ticket, message.ack, now);
        follower.feed?.credit(message.ack.creditBytes);
        follower.snapshot?.credit(message.ack.creditBytes);
        return;
      case 'offer': {
        const { offer } = message;
        const { hasher } = this.#ports;
        // What is offered comes from another branch: each entry stands for itself.
        const stored = this.#storedRows(offer.entries);
        const whole = offer.entries.every(
          (entry) => verifyEntry(entry, hasher) === undefined && entryShard(entry) === this.shard,
        );
        if (!whole || documentProblem(offer.entries) !== undefined) {
          this.#dropLink(ticket, true);
          return;
        }
        this.#run({ kind: 'offered', link: ticket, offer, stored, now, opId: this.#opId() });
        return;
      }
    }
  }

  #acked(ticket: number, ack: Ack, now: Now): void {
    const before = this.#replica.highWaterMark;
    this.#run({ kind: 'acked', link: ticket, ack, now });
    // What is agreed takes effect on the others when they hear of it: the map does not wait for a keep-alive (9.1).
    if (this.shard === META_SHARD && this.#replica.highWaterMark > before)
      for (const { feed } of this.#links.values()) feed?.tell();
  }

  async #hello(ticket: number, hello: Hello): Promise<void> {
    // The follower has entries whose sync still runs here: in a moment they can be compared.
    if (hello.lastOffset > this.#replica.log.durable && hello.lastOffset <= this.#replica.log.tail)
      await this.#ports.log.sync();
    const chainThere = await this.#chainAt(hello.lastOffset);
    this.#run({ kind: 'hello', link: ticket, hello, chainThere, now: this.#now() });
  }

  /** Chain at an offset of this log, or undefined when it is not in it. */
  async #chainAt(offset: number): Promise<Uint8Array | undefined> {
    const { log } = this.#ports;
    const { tail, start, chain } = log.state(this.shard);
    if (offset === tail) return chain;
    if (offset === start.offset) return start.chain;
    if (offset > tail || offset < start.offset) return undefined;
    const [entry] = await log.scan(this.shard, offset, 1, 1);
    return entry === undefined ? undefined : entryChain(entry);
  }

  #welcome({ link: ticket, answer }: Extract<ReplicaEffect, { kind: 'welcome' }>): void {
    const follower = this.#links.get(ticket);
    if (follower?.hello === undefined) return;
    if (answer.kind === 'snapshot') {
      this.#guard(this.#sendSnapshot(follower, answer));
      return;
    }
    follower.link.send({ kind: 'answer', answer });
    if (answer.kind !== 'accept') return;
    const { log, clock, report } = this.#ports;
    const { nodeUuid } = follower.hello;
    follower.feed = new FollowerFeed(
      follower.link,
      {
        durable: () => this.#replica.log.durable,
        scan: (from, limit, bytesMax) => log.scan(this.shard, from, limit, bytesMax),
        head: () => ({
          epoch: this.epoch,
          highWaterMark: this.#replica.highWaterMark,
          tail: this.#replica.log.tail,
          inSync: this.syncedNodes,
          floor: this.#replica.floor,
        }),
        monotonicMs: () => clock.monotonicMs(),
        broken: (error) => {
          if (error instanceof LogDamagedError) this.fail(error);
          this.#dropLink(ticket, true);
        },
        sent: (entries, bytes) => report.streamed(nodeUuid, entries, bytes),
      },
      answer.from,
      follower.hello.chain,
    );
  }

  /** Streams a snapshot, if this node has a place for one more (4.6) and the shard has no loose rows (5.6). */
  async #sendSnapshot(follower: FollowerLink, answer: Extract<HelloAnswer, { kind: 'snapshot' }>): Promise<void> {
    const { log, hasher, report, bulk } = this.#ports;
    const release = bulk.take();
    try {
      const source = release === undefined ? undefined : await SnapshotSource.open(log, hasher, this.shard);
      if (source === undefined) {
        follower.link.send({ kind: 'answer', answer: { kind: 'reject', reason: 'BUSY' } });
        return;
      }
      const partial = follower.hello?.partial;
      const resumed = partial !== undefined && (await source.resume(partial));
      follower.link.send({ kind: 'answer', answer: { ...answer, at: source.at, ...(resumed ? { resumed } : {}) } });
      follower.snapshot = new SnapshotSender(
        follower.link,
        source,
        (entries, bytes) => report.streamed(follower.node, entries, bytes),
        resumed ? partial.after : undefined,
      );
      await follower.snapshot.run();
    } finally {
      release?.();
    }
  }

  #dropLink(ticket: number, close = false): void {
    const follower = this.#links.get(ticket);
    if (follower === undefined) return;
    this.#links.delete(ticket);
    follower.feed?.close();
    follower.snapshot?.close();
    if (close) follower.link.close();
    this.#run({ kind: 'linkEnded', link: ticket });
  }

  // ---- elections

  #probe(to: NodeUuid, request: ProbeRequest, round: number): void {
    this.#ports.peers.probe(to, request, PROBE_TIMEOUT_MS).then(
      ({ alive }) => this.#run({ kind: 'probed', round, alive, now: this.#now() }),
      () => this.#run({ kind: 'probed', round, alive: false, now: this.#now() }),
    );
  }

  #fence(to: NodeUuid, request: FenceRequest): void {
    const { epoch } = request;
    const done = (answer: FenceAnswer | 'refused' | 'silent'): void =>
      this.#run({ kind: 'fenced', epoch, from: to, answer, now: this.#now(), opId: this.#opId() });
    this.#ports.peers.fence(to, request, FENCE_TIMEOUT_MS).then(done, (error: unknown) => {
      done(unanswered(error));
    });
  }

  #pull(to: NodeUuid, request: PullRequest): void {
    const { epoch } = request;
    const done = (answer: PullAnswer | undefined): void => {
      const problem = answer === undefined ? undefined : this.#problemOf(answer.entries);
      const stored = answer === undefined || problem !== undefined ? [] : this.#storedRows(answer.entries);
      this.#run({ kind: 'pulled', epoch, answer, problem, stored, now: this.#now(), opId: this.#opId() });
    };
    this.#ports.peers.pull(to, request, PULL_TIMEOUT_MS).then(done, () => done(undefined));
  }
}

/** The end of a log and everything kept with it, as stored. */
function storedEnd(log: LogStore, shard: number): Omit<ReplicaLogOptions, 'shard' | 'hasher' | 'lastHlc'> {
  const { tail, chain, start, history, generation } = log.state(shard);
  return {
    generation,
    tail,
    chain,
    start: start.offset,
    history,
    counters: storedCounters(log, shard),
    sets: decodeSets(log.row(shardKey(shard, SETS_ROW))),
  };
}

/** The map as its row holds it, and the operations of the log beyond that. */
async function storedMap(log: LogStore, tail: number): Promise<MapState> {
  const bytes = log.row(shardKey(META_SHARD, MAP_ROW));
  const agreed = bytes === undefined ? undefined : decodeAgreedMap(bytes);
  const pending: PendingOperation[] = [];
  const from = Math.max(agreed?.offset ?? 0, log.state(META_SHARD).start.offset) + 1;
  for (let next = from; next <= tail;) {
    const entries = await log.scan(META_SHARD, next, PAGE, 1024 * 1024);
    for (const entry of entries) {
      next = entryOffset(entry) + 1;
      if (entryOp(entry) === 'MAP')
        pending.push({ offset: entryOffset(entry), operation: decodeMapOperation(entryPayload(entry)) });
    }
    if (entries.length === 0) break;
  }
  return new MapState(agreed?.map, agreed?.offset ?? 0, pending);
}

/** The clock reading of the last entry: versions of this copy continue above it (replication 1.3). */
async function lastClock(log: LogStore, shard: number, tail: number, start: number): Promise<Hlc> {
  if (tail === 0) return HLC_ZERO;
  const [bytes] = await log.scan(shard, tail, 1, 1);
  // The last entry of a log that was compacted up to its end may be gone.
  if (bytes === undefined && tail === start) return HLC_ZERO;
  if (bytes === undefined) throw new LogDamagedError({ shard, offset: tail, problem: 'missing' });
  return entryVersion(bytes).hlc;
}

/** The counters as of the log's tail. */
export function storedCounters(log: LogStore, shard: number): ShardCounters {
  const bytes = log.row(shardKey(shard, COUNTERS_ROW));
  return bytes === undefined ? ZERO_COUNTERS : decodeCounters(bytes);
}

function ended(): void {
  // Whoever asked for it hears how.
}
