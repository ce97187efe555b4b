import { equalBytes } from '../../../kernel/bytes.js';
import { compareEpochs, sameEpoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { DiskHold } from './disk-hold.js';
import type { Out } from './effects.js';
import type { EpochPromise } from './epoch-promise.js';
import { FollowSession } from './follow.js';
import { appendFollowed } from './followed-entries.js';
import type { ReplicaInput } from './inputs.js';
import type { MapState } from './map-state.js';
import type { CopyPlan, FailoverTimes } from './peer-view.js';
import type { EntriesBatch, HelloAnswer, ShardLeader, ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';
import type { Retention } from './retention.js';

export interface FollowingOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly bootCount: number;
  readonly log: ReplicaLog;
  readonly strict: boolean;
  readonly promise: EpochPromise;
  readonly retention: Retention;
  readonly map: MapState | undefined;
  readonly times: FailoverTimes;
  readonly openedMs: number;
  /** The set counted by. */
  readonly set: () => ShardSet;
}

type BatchInput = Extract<ReplicaInput, { readonly kind: 'batch' }>;
type Rejection = Extract<HelloAnswer, { readonly kind: 'reject' }>;
type Admission = Exclude<HelloAnswer, Rejection>;

/** What an answer to the hello says of the primary. */
export type Welcome =
  | (Rejection & { readonly by: NodeUuid })
  /** @property problem this log cannot do what was answered: the copy is damaged */
  | { readonly kind: 'follows'; readonly leader: ShardLeader; readonly problem: string | undefined };

/** Between two hellos. */
const HELLO_AGAIN_MS = 200;
/** After the end of a stream. */
const HELLO_AFTER_END_MS = 50;
/** An answer to a hello that takes longer will not come. */
const HELLO_WAIT_MS = 1_000;

/** The follower's part of a copy: when it says hello and to whom, and what of a stream it takes (4.1–4.3). */
export class Following {
  readonly #options: FollowingOptions;
  readonly #log: ReplicaLog;
  #session: FollowSession | undefined;
  /** When the next hello may be said. */
  #helloAtMs: number;
  readonly #hold = new DiskHold();
  #held = false;

  constructor(options: FollowingOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#helloAtMs = options.openedMs;
  }

  get session(): FollowSession | undefined {
    return this.#session;
  }

  /** It takes no entries: this node's disk is down to its reserve (5.8). */
  get isHeld(): boolean {
    return this.#held;
  }

  /** The log is being cut, or a snapshot comes in or takes its place: this copy can do nothing else until that ends. */
  get isAltering(): boolean {
    return this.#log.alteration !== undefined || this.#session?.phase === 'receiving';
  }

  /** Says hello when there is no stream, and ends one that is silent, or that the disk has no room for. */
  tick(leader: ShardLeader | undefined, isLeaderFull: boolean, plan: CopyPlan, nowMs: number, out: Out): void {
    // What is held of the map is small, and without the map a node can do nothing.
    const held = this.#options.map === undefined && this.#hold.holds(plan.room, isLeaderFull, nowMs);
    this.#beHeld(held, out);
    if (held) {
      if (this.#session !== undefined) this.refuse(nowMs, out);
      return;
    }
    if (this.#session === undefined) this.#sayHello(leader, nowMs, out);
    else if (!this.isAltering) {
      // A stream on which nothing comes, not even keep-alives or an answer to the hello, is no stream.
      const patienceMs = this.#session.phase === 'hello' ? HELLO_WAIT_MS : this.#options.times.failoverAfterMs;
      if (nowMs - this.#session.heardMs > patienceMs) this.refuse(nowMs, out);
    }
  }

  /** The copy follows nobody any more: it stood, and reigns. */
  reigns(out: Out): void {
    this.#beHeld(false, out);
  }

  #beHeld(held: boolean, out: Out): void {
    if (held === this.#held) return;
    this.#held = held;
    out.push({ kind: 'held', held });
  }

  #sayHello(leader: ShardLeader | undefined, nowMs: number, out: Out): void {
    const { shard, self, bootCount, promise } = this.#options;
    if (leader === undefined || leader.node === self || nowMs < this.#helloAtMs) return;
    // Only a log that is durable as a whole, and stays as it is, can be compared.
    if (this.#log.durable !== this.#log.tail || this.#log.alteration !== undefined) return;
    this.#helloAtMs = nowMs + HELLO_AGAIN_MS;
    this.#session = new FollowSession(leader.node, this.#log.start, nowMs);
    const { mapEpoch } = this.#options.set();
    const { loose } = this.#log;
    const hello = { ...this.#log.end(), shard, nodeUuid: self, bootCount, mapEpoch, promised: promise.epoch, loose };
    out.push({ kind: 'follow', to: leader.node, hello });
  }

  /** The next hello need not wait. */
  hurry(nowMs: number): void {
    this.#helloAtMs = Math.min(this.#helloAtMs, nowMs);
  }

  /** What the hello was answered. */
  welcomed(answer: HelloAnswer, nowMs: number, out: Out): Welcome | undefined {
    const session = this.#session;
    if (session?.phase !== 'hello') return undefined;
    const { to } = session;
    session.heard(nowMs);
    if (answer.kind === 'reject') {
      this.refuse(nowMs, out);
      return { ...answer, by: to };
    }
    const { shard, promise } = this.#options;
    const order = compareEpochs(answer.epoch, promise.epoch);
    if (!promise.saw(answer.epoch.num) || order < 0) {
      this.refuse(nowMs, out);
      return undefined;
    }
    session.epoch = answer.epoch;
    // Following a higher epoch raises the promise (4.3): synced before the first acknowledgement, which comes behind it.
    if (order > 0) promise.make(answer.epoch, out);
    const problem = this.#enter(session, answer, nowMs, out);
    return { kind: 'follows', leader: { shard, epoch: answer.epoch, node: to }, problem };
  }

  #enter(session: FollowSession, answer: Admission, nowMs: number, out: Out): string | undefined {
    switch (answer.kind) {
      case 'accept':
        session.phase = 'streaming';
        out.push({ kind: 'role', role: 'follower', epoch: answer.epoch }, { kind: 'ack' });
        this.#offerLoose(session, out);
        return undefined;
      case 'diverged':
        if (answer.fork < session.start || answer.fork >= this.#log.tail)
          return `the primary names offset ${answer.fork} as the fork of this log, which cannot be cut there`;
        if (answer.fork < this.#log.start) {
          // A compaction began since the hello: the next one says so, and is answered with a snapshot.
          this.restart(nowMs, out);
          return undefined;
        }
        session.phase = 'cutting';
        this.#log.alter('cutting');
        out.push({ kind: 'truncate', to: answer.fork });
        return undefined;
      case 'snapshot':
        session.phase = 'receiving';
        out.push({ kind: 'receive', at: answer.at, fork: answer.fork });
        return undefined;
    }
  }

  /** Appends what the primary sent, unless it does not belong here (4.3). */
  batch({ batch, problem, stored, now }: BatchInput, applied: number, out: Out): void {
    const session = this.#session;
    if (session?.phase !== 'streaming') return;
    if (problem !== undefined || !this.#belongs(session, batch)) {
      this.refuse(now.monotonicMs, out);
      return;
    }
    session.took(batch, applied, now.monotonicMs);
    this.#options.retention.tell(batch.floor);
    if (batch.entries.length > 0) appendFollowed(this.#log, this.#options.map, batch.entries, stored, out);
    else out.push({ kind: 'ack' });
    this.#offerLoose(session, out);
  }

  /** Whether a batch is of the epoch that is followed, nothing higher was promised meanwhile, and it continues this log. */
  #belongs(session: FollowSession, batch: EntriesBatch): boolean {
    if (!sameEpoch(batch.epoch, session.epoch) || compareEpochs(batch.epoch, this.#options.promise.epoch) < 0)
      return false;
    return batch.prevOffset === this.#log.tail && equalBytes(batch.prevChain, this.#log.chain);
  }

  /** Offers the loose rows, once a stream (6.4); also when there are none, while a branch that was cut off is not known to be merged. */
  #offerLoose(session: FollowSession, out: Out): void {
    if (session.offered || this.#options.strict) return;
    const branch = this.#log.unmerged;
    if (this.#log.loose === 0 && branch.length === 0) return;
    session.offered = true;
    out.push({ kind: 'offer', branch });
  }

  /** Ends a stream that is of no use. */
  refuse(nowMs: number, out: Out): void {
    out.push({ kind: 'unfollow' });
    this.ended(nowMs);
  }

  /** The stream ended. */
  ended(nowMs: number): void {
    if (this.#session === undefined) return;
    this.#session = undefined;
    this.#helloAtMs = Math.max(this.#helloAtMs, nowMs + HELLO_AFTER_END_MS);
  }

  /** Gives the primary up that is followed, for another one or to stand itself. */
  leave(out: Out): void {
    if (this.#session === undefined) return;
    out.push({ kind: 'unfollow' });
    this.#session = undefined;
  }

  /** The log was cut or replaced: the primary is asked anew. */
  restart(nowMs: number, out: Out): void {
    this.leave(out);
    this.#helloAtMs = nowMs;
  }
}
