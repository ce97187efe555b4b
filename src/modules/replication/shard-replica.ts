import type { Epoch } from '../../kernel/epoch.js';
import { META_SHARD } from '../../kernel/ids.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { documentKey } from '../log/core/keys.js';
import { decodeRow, type DocumentRow, type ShardCounters } from '../shard/core/rows.js';
import { ConflictLog } from './conflict-log.js';
import type { MergedEpoch } from './core/branch-epochs.js';
import type { MapForce } from './core/inputs.js';
import type { ForceMapProblem } from './core/forced-map.js';
import type { ReplicaEffect } from './core/effects.js';
import type {
  CoversAnswer,
  CoversRequest,
  FenceAnswer,
  FenceRequest,
  FetchAnswer,
  FetchRequest,
  FollowerMessage,
  PrimaryMessage,
  PullAnswer,
  PullRequest,
  ShardLeader,
  ShardPosition,
  ShardSet,
} from './core/protocol.js';
import { Replica } from './core/replica.js';
import { ReplicaLog } from './core/replica-log.js';
import type { WriteOutcome, WriteRequest } from './core/write.js';
import { ElectionCalls } from './election-calls.js';
import { FollowerLinks } from './follower-links.js';
import { LogAlterations } from './log-alterations.js';
import { LogAnswers } from './log-answers.js';
import { LooseStore } from './loose-store.js';
import { ReplicaDrive } from './replica-drive.js';
import type { Link, LinkEvents } from '../../kernel/link.js';
import type { ReplicaPorts } from './replica-ports.js';
import { SnapshotIntake } from './snapshot-intake.js';
import { SnapshotReceiver } from './snapshot-receiver.js';
import { storedClock, storedEnd, storedMap, storedRows } from './stored-copy.js';
import { Upstream } from './upstream.js';
import { WaitingWrites } from './waiting-writes.js';

/**
 * One shard's copy on this node: opens it, performs what its Replica machine asks for, with the log, the index and the parts
 * that speak to other nodes, and answers for it. Proposals of one turn of the loop go into one step, so that they share a batch.
 */
export class ShardReplica {
  readonly shard: number;
  readonly #ports: ReplicaPorts;
  readonly #replica: Replica;
  readonly #drive: ReplicaDrive;
  readonly #loose: LooseStore;
  readonly #writes: WaitingWrites;
  readonly #conflicts: ConflictLog;
  readonly #alterations: LogAlterations;
  readonly #upstream: Upstream;
  readonly #followers: FollowerLinks;
  readonly #calls: ElectionCalls;
  readonly #answers: LogAnswers;
  readonly #fences = new Map<number, (answer: FenceAnswer) => void>();
  #nextFence = 1;
  #fault: Error | undefined;

  private constructor(shard: number, replica: Replica, ports: ReplicaPorts, unfinished: SnapshotReceiver | undefined) {
    this.shard = shard;
    this.#ports = ports;
    this.#replica = replica;
    const failed = (error: Error): void => this.fail(error);
    const drive = new ReplicaDrive(replica, ports, (effect) => this.#perform(effect), failed);
    this.#drive = drive;
    this.#loose = new LooseStore(ports.log, ports.hasher);
    this.#writes = new WaitingWrites(ports, {
      shard,
      generation: () => this.generation,
      propose: (proposals) => drive.step({ kind: 'propose', now: drive.now(), proposals }),
      fail: failed,
    });
    this.#conflicts = new ConflictLog(shard, ports);
    this.#alterations = new LogAlterations(shard, ports, this.#loose, drive);
    const intake = new SnapshotIntake(shard, ports, unfinished, (rows) => ports.report.resumed(rows));
    this.#upstream = new Upstream(shard, ports, drive, this.#alterations, intake);
    this.#followers = new FollowerLinks(shard, ports, drive, failed, () => this.#written());
    this.#calls = new ElectionCalls(ports, drive);
    this.#answers = new LogAnswers(shard, ports.log, replica, failed);
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
      lastHlc: await storedClock(ports.log, shard, state.tail, state.start.offset),
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
    const unfinished = shard === META_SHARD ? undefined : await SnapshotReceiver.reopen(ports.log, ports.hasher, shard);
    const copy = new ShardReplica(shard, replica, ports, unfinished);
    copy.tick();
    return copy;
  }

  get role(): 'primary' | 'follower' | 'candidate' {
    return this.#replica.role;
  }

  /** The epoch it reigns in or follows. */
  get epoch(): Epoch {
    return this.#replica.epoch;
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

  /** Largest offset of this epoch on a majority of the set (4.5). */
  get highWaterMark(): number {
    return this.#replica.highWaterMark;
  }

  /** Offsets stored, durable and in the index. */
  get position(): { readonly tail: number; readonly durable: number; readonly applied: number } {
    const { log, applied } = this.#replica;
    return { tail: log.tail, durable: log.durable, applied };
  }

  /** Where the log ends: here, or as the primary told last. */
  get knownTail(): number {
    return this.#replica.knownTail;
  }

  /** What is wrong with the copy, or undefined. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  /** It follows, and nothing but appends changes its log: closed now, its log stays as it is once what was asked for is written. */
  get mayRest(): boolean {
    return this.role === 'follower' && !this.#alterations.pending;
  }

  /** Resolves when what changes its log other than by appends has ended; a copy that failed begins nothing else of it. */
  idle(): Promise<void> {
    return this.#alterations.idle();
  }

  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return this.#replica.reign?.inFlight ?? { ops: 0, bytes: 0 };
  }

  /** Bytes of entries that wait in memory for followers, beside what the streams buffer. */
  get feedBytes(): number {
    return this.#followers.waitingBytes;
  }

  get inSync(): boolean {
    return this.#replica.inSync(this.#ports.clock.monotonicMs());
  }

  /** Of a primary: for how long another one may have reigned, as far as is known here; undefined: none did. */
  get doubtMs(): number | undefined {
    return this.#replica.doubtMs(this.#ports.clock.monotonicMs());
  }

  /** Of a primary: its index lacks what was logged before its reign, which is so old; undefined: it does not. */
  get indexBehindMs(): number | undefined {
    return this.#replica.indexBehindMs(this.#ports.clock.monotonicMs());
  }

  get lagMs(): number {
    return this.#replica.lagMs(this.#ports.clock.monotonicMs());
  }

  get generation(): number {
    return this.#replica.log.generation;
  }

  /** Branches that are part of its log (7.2). */
  get merged(): readonly MergedEpoch[] {
    return this.#replica.log.branches.merged;
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
  summary(): {
    readonly offset: number;
    readonly epoch: Epoch;
    readonly chain: Uint8Array;
    readonly counters: ShardCounters;
  } {
    const { log } = this.#replica;
    return { offset: log.tail, epoch: log.lastEpoch, chain: log.chain, counters: log.counters() };
  }

  counters(): ShardCounters {
    return this.#replica.log.counters();
  }

  /** Makes a write; resolves when it is acknowledged, refused or redirected. Never rejects. */
  write(request: WriteRequest): Promise<WriteOutcome> {
    return this.#writes.write(request);
  }

  /** The stored row of a document, tombstones included. Durable rows only. */
  row(collectionId: number, id: string): DocumentRow | undefined {
    const bytes = this.#ports.log.row(documentKey(this.generation, this.shard, collectionId, id));
    return bytes === undefined ? undefined : decodeRow(bytes);
  }

  /** Time passes: called about ten times a second. */
  tick(): void {
    const { view, plan } = this.#ports;
    const drive = this.#drive;
    drive.step({ kind: 'tick', now: drive.now(), peers: view(), plan: plan(), opId: drive.opId() });
    this.#followers.tick();
  }

  /** Up to here every replica that the log is kept for has it (2.11). */
  get floor(): number {
    return this.#replica.floor;
  }

  /** As a primary: the replica that has least of the log, of those it is kept for; undefined while that takes a snapshot in. */
  get slowest(): NodeUuid | undefined {
    return this.#replica.slowest;
  }

  /** Keeps the log no more for the slowest replica, and says which that is; a snapshot brings it back. */
  demoteSlowest(): NodeUuid | undefined {
    const node = this.slowest;
    if (node !== undefined) this.#drive.step({ kind: 'demote', node });
    return node;
  }

  /**
   * Superseded entries up to `start` are about to be deleted (2.5). False: not now. A damaged copy is healed by the log as it
   * is, and one that is closed could not tell whoever is opened in its place.
   */
  compacting(start: number): boolean {
    if (this.#drive.closed || !this.#replica.mayCompact) return false;
    this.#drive.step({ kind: 'compacting', start });
    return true;
  }

  /** That has ended. */
  compacted(bytes: number): void {
    this.#drive.step({ kind: 'compacted', bytes });
  }

  /** This process stood still, or its clock jumped (1.5). */
  paused(): void {
    this.#drive.step({ kind: 'paused', now: this.#drive.now() });
  }

  /** Hands the reign over to a follower; its announcement tells that it worked (5.7). */
  transfer(to: NodeUuid): void {
    this.#drive.step({ kind: 'transfer', to, now: this.#drive.now() });
  }

  /** Why this copy of the map may not be made the only voter (5.8). */
  /** Of the map: what was agreed here was cut off, and only a forced map leads on (5.8). */
  get isMapAstray(): boolean {
    return this.#replica.isMapAstray;
  }

  get forceMapProblem(): ForceMapProblem | undefined {
    return this.#replica.forceMapProblem(this.#ports.view());
  }

  /** Makes this copy of the map the only voter: the reign that says so begins at once (5.8). */
  force(force: MapForce): void {
    this.#drive.step({ kind: 'force', force, now: this.#drive.now() });
  }

  announced(leader: ShardLeader): void {
    this.#drive.step({ kind: 'announced', leader, now: this.#drive.now() });
  }

  /** Refuses everything from now on (replication 2.6: a damaged entry fails its shard only). */
  fail(error: Error): void {
    if (this.#fault !== undefined) return;
    this.#fault = error;
    this.#drive.step({ kind: 'fail', detail: error.message });
  }

  /** Ends it: nothing is said or done any more. */
  close(): void {
    if (this.#drive.closed) return;
    this.#followers.close();
    this.#upstream.close();
    this.#drive.close();
    this.#writes.close();
  }

  // ---- what peers ask

  onFollow(from: NodeUuid, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    return this.#followers.open(from, link);
  }

  onFence(from: NodeUuid, request: FenceRequest): Promise<FenceAnswer> {
    return new Promise((resolve) => {
      const ticket = this.#nextFence++;
      this.#fences.set(ticket, resolve);
      this.#drive.step({ kind: 'fence', ticket, from, request, now: this.#drive.now() });
    });
  }

  couldAcknowledge(epoch: Epoch): boolean {
    return this.#replica.couldAcknowledge(epoch, this.#ports.clock.monotonicMs());
  }

  /** @throws PeerError REJECTED when this copy is damaged itself */
  onFetch(request: FetchRequest): Promise<FetchAnswer> {
    if (this.#fault !== undefined) return Promise.reject(new PeerError('REJECTED', this.#fault.message));
    return this.#answers.fetch(request);
  }

  onCovers(from: NodeUuid, request: CoversRequest): Promise<CoversAnswer> {
    return this.#answers.covers(from, request);
  }

  /** @throws PeerError REJECTED when this copy no longer stands by the grant, or the entries are compacted */
  onPull(request: PullRequest): Promise<PullAnswer> {
    return this.#answers.pull(request);
  }

  // ---- what the machine asks for

  #perform(effect: ReplicaEffect): void {
    const { report, peers } = this.#ports;
    const drive = this.#drive;
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
      case 'reply':
        this.#writes.reply(effect.reply);
        return;
      case 'postpone':
        this.#writes.postpone(effect.tickets);
        return;
      case 'resume':
        this.#writes.resume();
        return;
      case 'map':
        report.map(effect.map);
        return;
      case 'sweep':
        report.sweep(effect.collectionId);
        return;
      case 'conflict':
        drive.guard(this.#conflicts.record(effect));
        return;
      case 'follow':
        this.#upstream.follow(effect.to, effect.hello);
        return;
      case 'unfollow':
        this.#upstream.unfollow();
        return;
      case 'ack':
        this.#upstream.ack();
        return;
      case 'truncate':
        drive.guard(this.#alterations.alone(() => this.#alterations.truncate(effect.to)));
        return;
      case 'receive':
        this.#upstream.receive(effect.at, effect.fork);
        return;
      case 'offer':
        drive.guard(this.#upstream.offer(this.#loose, effect.branch));
        return;
      case 'welcome':
        this.#followers.welcome(effect);
        return;
      case 'dismiss':
        this.#followers.dismiss();
        return;
      case 'loadLoose':
        drive.guard(this.#loadLoose());
        return;
      case 'announce':
        peers.announce(effect.leader);
        return;
      case 'handOver':
        this.#followers.handOver(effect.to);
        return;
      case 'probe':
        for (const to of effect.to) this.#calls.probe(to, effect.request, effect.round);
        return;
      case 'fence':
        for (const to of effect.to) this.#calls.fence(to, effect.request);
        return;
      case 'answerFence': {
        const resolve = this.#fences.get(effect.ticket);
        this.#fences.delete(effect.ticket);
        resolve?.(effect.answer);
        return;
      }
      case 'pull':
        this.#calls.pull(effect.to, effect.request);
        return;
      case 'role':
        report.role(effect.role, effect.epoch);
        return;
      case 'held':
        report.held(effect.held);
        return;
      case 'fault':
        this.#fault ??= new Error(effect.detail);
        report.fault(this.#fault);
        return;
    }
  }

  #append({ batch, tail }: Extract<ReplicaEffect, { kind: 'append' }>): void {
    const drive = this.#drive;
    const appended = this.#ports.log.append(batch);
    if (this.role === 'primary' && batch.entries.length > 0) this.#followers.logged(batch.entries);
    drive.guard(
      appended.then(() => {
        if (batch.entries.length === 0) return;
        this.#followers.advance({ kind: 'persisted', offset: tail, now: drive.now() });
        this.#followers.pump();
      }),
    );
  }

  /** Resolves when all that was asked of the disk so far is there: the log writes in the order in which it is asked. */
  #written(): Promise<void> {
    return this.#ports.log.append({ shard: this.shard, entries: [], rows: [] });
  }

  #promise(epoch: Epoch): void {
    const drive = this.#drive;
    drive.guard(
      this.#ports.log.append({ shard: this.shard, entries: [], rows: [], promise: epoch }).then(() => {
        drive.step({ kind: 'promised', epoch, now: drive.now(), opId: drive.opId() });
      }),
    );
  }

  #apply(entries: readonly Uint8Array[], tail: number): void {
    const drive = this.#drive;
    const { index } = this.#ports;
    const { generation } = this;
    // What was on its way into the index of a log that another one took the place of says nothing of that one's.
    const applied = (offset: number): void => {
      if (this.generation === generation) drive.step({ kind: 'applied', offset, now: drive.now() });
    };
    if (index === undefined || entries.length === 0) applied(tail);
    else drive.guard(index.apply(entries).then(applied));
  }

  async #loadLoose(): Promise<void> {
    const drive = this.#drive;
    for await (const entries of this.#loose.entries(this.shard)) {
      const stored = storedRows(this.#ports.log, this.#replica.log, entries);
      drive.step({ kind: 'loose', entries, stored, last: false, now: drive.now(), opId: drive.opId() });
    }
    drive.step({ kind: 'loose', entries: [], stored: [], last: true, now: drive.now(), opId: drive.opId() });
  }
}
