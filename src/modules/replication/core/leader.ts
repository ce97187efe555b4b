import { equalBytes } from '../../../kernel/bytes.js';
import { sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { Acknowledgements, INDEX_WAIT_MS } from './acknowledgements.js';
import { BRANCH_EPOCHS_MAX, type BranchEpoch } from './branch-epochs.js';
import { BranchMerge } from './branch-merge.js';
import type { Out } from './effects.js';
import { majority, type Followers, type Lateness } from './followers.js';
import { epochAt } from './fork.js';
import type { MapForce } from './inputs.js';
import type { MapState } from './map-state.js';
import { BEHIND_ENTRIES } from './nomination.js';
import type { OperationRow } from './operation-row.js';
import type { ShardSet } from './protocol.js';
import { ReignBatch } from './reign-batch.js';
import type { ReplicaLog } from './replica-log.js';
import { copiesNeeded } from './write-level.js';
import { refused, type AckLevel, type Proposal, type WriteOutcome } from './write.js';

/**
 * The writes of one primary's reign over one shard: their order, conditions, idempotency, and when one may be acknowledged.
 * Reads nothing: the driver passes the stored rows a proposal needs; rows of entries not yet persisted win.
 *
 * Flow: propose → append → persisted here and by followers → (applied) → reply. Persist before promise: a reply leaves
 * only after the entry it speaks of is durable at the asked level and, unless the index is late, applied (replication 3).
 * An index that is far behind what the reign inherited is not waited for (docs/adr/0027).
 *
 * Invariants: applied ≤ durable ≤ tail; the high-water mark never goes back in a reign.
 */
export interface LeaderOptions {
  readonly log: ReplicaLog;
  readonly epoch: Epoch;
  readonly self: NodeUuid;
  /** Only what a majority has counts as written (replication 2.8, 9.1). */
  readonly strict: boolean;
  /** The set counted by: the newest of the log's and, in available mode, the map's. */
  readonly set: () => ShardSet;
  /** Whether the map had a collection and has it no more, whoever reigned when it was dropped (2.3). */
  readonly isDropped: (collectionId: number) => boolean;
  readonly followers: Followers;
  /** Milliseconds: a follower that said nothing for so long is not counted on, though its stream is open (2.8). */
  readonly silentMs: number;
  /** Milliseconds between heartbeats: what being in sync is judged by (7.1). */
  readonly heartbeatMs: number;
  /** Only of META_SHARD: the map its entries change. */
  readonly map: MapState | undefined;
  /** Members that granted this reign: until then their streams are on the way, and they count as reachable (2.8). */
  readonly expected: { readonly nodes: ReadonlySet<NodeUuid>; readonly untilMs: number };
  /** Until then the other followers are still on their way: a write that needs them waits, instead of being refused (2.8). */
  readonly gatheringUntilMs: number;
}

/** Operations in flight in one shard, and their bytes (replication 3). */
export const LEADER_OPS_MAX = 8_192;
export const LEADER_BYTES_MAX = 32 * 1024 * 1024;
/** Writes are throttled while the index is this late (replication 3). */
export const INDEX_LATE_MS = 1_000;
const RETRY_AFTER_MS = 100;
/**
 * A write waits this long for a copy in sync that applies late, then it is refused, or made if that is a little late only:
 * writers slow down to the pace of that copy. So many wait at most, and are looked at again at steps of a tick, that trying
 * again stays cheap.
 */
export const THROTTLE_MS = 500;
export const THROTTLED_MAX = 1_024;
const THROTTLE_STEP_MS = 100;
/** A write that is kept for followers to come is answered this long before its caller gives up: two ticks. */
const ANSWER_MS = 200;
export class Leader {
  readonly #options: LeaderOptions;
  readonly #log: ReplicaLog;
  #applied: number;
  #owed: number;
  /** Writes that were logged while the index was far behind what is owed; and where it was when the reign began. */
  #ahead = 0;
  readonly #appliedAtFirst: number;
  #highWaterMark = 0;
  #barrier = 0;
  #failure: string | undefined;
  /** Nothing is logged nor acknowledged until the followers confirmed the epoch (5.4). */
  #held = false;
  /** Waiting for copies or for the index. */
  readonly #acknowledgements = new Acknowledgements();
  /** Writes that wait for followers to come, outside of this machine: the fewest copies one needs, and the first time to look. */
  #postponed = NONE_POSTPONED;
  /** Writes that wait there for a copy that applies late, and when they are looked at again at the latest. */
  #throttled = NONE_THROTTLED;
  #sweeps: { readonly offset: number; readonly collectionId: number }[] = [];

  constructor(options: LeaderOptions, applied: number) {
    this.#options = options;
    this.#log = options.log;
    this.#applied = applied;
    this.#appliedAtFirst = applied;
    this.#owed = options.log.tail;
  }

  /**
   * Up to here the index must be before a search is answered from it: what was logged before this reign, and what was
   * acknowledged while the index did not have that.
   */
  get owed(): number {
    return this.#owed;
  }

  get epoch(): Epoch {
    return this.#options.epoch;
  }

  /** Largest offset of this epoch on a majority of the set (4.5); 0 before there is one. */
  get highWaterMark(): number {
    return this.#highWaterMark;
  }

  /** Offset of this reign's BARRIER. */
  get barrier(): number {
    return this.#barrier;
  }

  /** Writes admitted and not yet answered. */
  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return { ops: this.#acknowledgements.count, bytes: this.#log.bytesInFlight };
  }

  /** Logs the BARRIER that opens the reign (2.3); of a forced one in one batch with the forced map and its set (5.8). */
  begin(wallMs: number, opId: Uint8Array, out: Out, forced?: MapForce): void {
    const batch = this.#batch(wallMs);
    this.#barrier = batch.barrier(opId);
    if (forced !== undefined) batch.forceMap(forced, this.#options.self, opId);
    this.#append(batch, out);
  }

  propose(proposals: readonly Proposal[], wallMs: number, nowMs: number, out: Out): void {
    const batch = this.#batch(wallMs);
    const postponed: number[] = [];
    for (const proposal of proposals) {
      const outcome = this.#admit(proposal, nowMs, batch);
      if (outcome === 'later') postponed.push(proposal.ticket);
      else if (outcome !== undefined) out.push({ kind: 'reply', reply: { ticket: proposal.ticket, outcome } });
    }
    if (postponed.length > 0) out.push({ kind: 'postpone', tickets: postponed });
    if (batch.entries.length > 0) {
      this.#append(batch, out);
      this.#options.followers.logged(this.#log.tail, nowMs);
    }
    // A keyed retry of something durable long ago is answered at once.
    this.acknowledge(nowMs, out);
  }

  /** Keeps writes, unseen, until this reign goes on or has ended (5.7); for which there is no room or no time go elsewhere. */
  keep(proposals: readonly Proposal[], nowMs: number, out: Out): void {
    const kept: number[] = [];
    for (const { ticket, payload, untilMs = Infinity } of proposals) {
      if (this.#postpone(payload.length, Infinity, untilMs - ANSWER_MS, nowMs) !== undefined) kept.push(ticket);
      else out.push({ kind: 'reply', reply: { ticket, outcome: { kind: 'redirect' } } });
    }
    if (kept.length > 0) out.push({ kind: 'postpone', tickets: kept });
  }

  /** What was kept may try again. */
  resume(out: Out): void {
    if (this.#postponed.ops > 0) this.#release(out);
  }

  /** Logs another set (9.6). */
  changeSet(set: ShardSet, wallMs: number, opId: Uint8Array, out: Out): void {
    const batch = this.#batch(wallMs);
    batch.set(set, opId);
    this.#append(batch, out);
  }

  /**
   * Takes rows of another branch (6.4).
   * @param own they are this replica's own loose rows
   */
  merge(
    loose: readonly Uint8Array[],
    stored: readonly (Uint8Array | undefined)[],
    branch: readonly BranchEpoch[],
    own: boolean,
    out: Out,
  ): void {
    const isDropped = (collectionId: number): boolean => this.#isDropped(collectionId);
    const merge = new BranchMerge(this.#log, this.epoch, isDropped, branch, own);
    for (const [i, bytes] of loose.entries()) merge.merge(bytes, stored[i], out);
    if (merge.entries.length > 0) this.#append(merge, out);
  }

  /** All rows of a branch were taken: logs that it is merged, unless that is known of all of it (6.4). */
  merged(branch: readonly BranchEpoch[], wallMs: number, opId: Uint8Array, out: Out): void {
    const missing = this.#log.missing(branch).slice(-BRANCH_EPOCHS_MAX);
    if (missing.length === 0) return;
    const batch = this.#batch(wallMs);
    batch.merged(missing, opId);
    this.#append(batch, out);
  }

  /** Durability moved, here or on a follower: the high-water mark and what it lets out. */
  progress(nowMs: number, out: Out): void {
    const { set, followers, self } = this.#options;
    const members = set();
    const durables = followers.durables(members, self, this.#log.durable);
    const reached = members.members.length === 0 ? this.#log.durable : durables[majority(members) - 1];
    if (reached > this.#highWaterMark && sameEpoch(epochAt(this.#log.history, reached), this.epoch)) {
      this.#highWaterMark = reached;
    }
    while (this.#sweeps.length > 0 && this.#sweeps[0].offset <= this.#log.durable) {
      const { collectionId } = this.#sweeps[0];
      this.#sweeps.shift();
      out.push({ kind: 'sweep', collectionId });
    }
    this.acknowledge(nowMs, out);
  }

  applied(offset: number, nowMs: number, out: Out): void {
    this.#applied = Math.max(this.#applied, offset);
    this.acknowledge(nowMs, out);
  }

  /** Holds back every write and every acknowledgement, or lets them go on (5.4, after a pause). */
  hold(held: boolean, nowMs: number, out: Out): void {
    this.#held = held;
    if (held) return;
    this.resume(out);
    this.acknowledge(nowMs, out);
  }

  get held(): boolean {
    return this.#held;
  }

  /** The shard is damaged: nothing is admitted any more. */
  fail(detail: string, out: Out): void {
    this.#failure = detail;
    this.stop(detail, out);
  }

  /** The reign ends: what was logged and not acknowledged is unknown (2.8). */
  stop(detail: string, out: Out): void {
    if (this.#postponed.ops + this.#throttled.ops > 0) this.#release(out);
    this.#acknowledgements.stop(detail, out);
  }

  /** Answers what has its copies and is applied, or is late for the index; and what waited too long for its copies. */
  acknowledge(nowMs: number, out: Out): void {
    if (this.#postponed.ops + this.#throttled.ops > 0) this.#resume(nowMs, out);
    const copies = (offset: number, level: AckLevel): number => this.#confirmed(offset, level);
    const epoch = (offset: number): Epoch => epochAt(this.#log.history, offset);
    const indexWaitMs = this.#isFarBehind ? 0 : INDEX_WAIT_MS;
    const reach = { applied: this.#applied, indexWaitMs, copies, epoch };
    const unindexed = this.#acknowledgements.answer(reach, nowMs, out);
    if (this.#applied < this.#owed) this.#owed = Math.max(this.#owed, unindexed);
  }

  /** The index lacks so much of what is owed that no write waits for it; nor do searches ask it (5.2, docs/adr/0027). */
  get #isFarBehind(): boolean {
    return this.#owed - this.#applied > BEHIND_ENTRIES;
  }

  /** Lets the writes that wait for followers try again: enough have come, the late one has caught up, or it took too long. */
  #resume(nowMs: number, out: Out): void {
    const [postponed, throttled] = [this.#postponed, this.#throttled];
    const come = postponed.ops > 0 && (nowMs >= postponed.untilMs || this.#reachable(nowMs) >= postponed.needed);
    if (come || (throttled.ops > 0 && (nowMs >= throttled.untilMs || this.#lateness(nowMs) === 'none')))
      this.#release(out);
  }

  #release(out: Out): void {
    this.#postponed = NONE_POSTPONED;
    this.#throttled = NONE_THROTTLED;
    out.push({ kind: 'resume' });
  }

  /** Durable copies of an offset, when they are enough for the level; strict: only what is below the high-water mark exists. */
  #confirmed(offset: number, level: AckLevel): number {
    if (this.#held || offset > this.#log.durable) return 0;
    if (this.#options.strict && offset > this.#highWaterMark) return 0;
    const copies = this.#copies(offset);
    return copies >= this.#needed(level) ? copies : 0;
  }

  /** Durable copies of an offset among the set, the local one included. */
  #copies(offset: number): number {
    const { set, followers, self } = this.#options;
    const { members } = set();
    if (members.length === 0) return 1;
    return members.filter((node) => node === self || followers.durableOf(node) >= offset).length;
  }

  #needed(level: AckLevel): number {
    return copiesNeeded(level, Math.max(1, this.#options.set().members.length));
  }

  /** Logs one proposal, or says at once why not, or `later`. Undefined: the answer comes with durability. */
  #admit(proposal: Proposal, nowMs: number, batch: ReignBatch): WriteOutcome | 'later' | undefined {
    if (this.#failure !== undefined) return refused('LOG_CORRUPT', this.#failure);
    if (proposal.keyed) {
      const earlier = this.#earlier(proposal);
      if (earlier?.kind === 'conflict') return earlier.outcome;
      if (earlier?.kind === 'again') {
        this.#acknowledgements.wait(proposal.ticket, proposal.level, earlier.row, nowMs);
        return undefined;
      }
    }
    const bytes = proposal.payload.length;
    const answerByMs = (proposal.untilMs ?? Infinity) - ANSWER_MS;
    // By now another one may reign, and have made the same write, and later ones.
    if (this.#held)
      return (
        this.#postpone(bytes, Infinity, answerByMs, nowMs) ??
        refused('NO_QUORUM', 'the reign of this primary is in doubt, and its replicas have not confirmed it yet')
      );
    const [needed, reachable] = [this.#needed(proposal.level), this.#reachable(nowMs)];
    if (needed > reachable)
      return (
        this.#postpone(bytes, needed, Math.min(this.#options.gatheringUntilMs, answerByMs), nowMs) ??
        refused(
          'NO_QUORUM',
          `the consistency "${proposal.level}" needs ${needed} copies and ${reachable} can be reached`,
        )
      );
    const { op, collectionId } = proposal;
    if ((op === 'UPSERT' || op === 'DELETE') && this.#isDropped(collectionId))
      return refused('COLLECTION_NOT_FOUND', 'the collection was dropped');
    const overload = this.#overload(bytes, nowMs);
    if (overload !== undefined)
      return { kind: 'refused', code: 'OVERLOADED', detail: overload, retryAfterMs: RETRY_AFTER_MS };
    const throttled = this.#throttle(proposal, nowMs);
    if (throttled !== undefined) return throttled;
    const logged = batch.write(proposal);
    if ('kind' in logged) return logged;
    this.#logged(proposal, logged, nowMs);
    return undefined;
  }

  #isDropped(collectionId: number): boolean {
    return this.#log.isDropped(collectionId) || this.#options.isDropped(collectionId);
  }

  /** Has a proposal wait outside until `needed` copies can be reached; undefined when there is no room or no time for that. */
  #postpone(bytes: number, needed: number, untilMs: number, nowMs: number): 'later' | undefined {
    if (nowMs >= untilMs || this.#overload(bytes, nowMs) !== undefined) return undefined;
    const before = this.#postponed;
    this.#postponed = {
      ops: before.ops + 1,
      bytes: before.bytes + bytes,
      needed: Math.min(before.needed, needed),
      untilMs: Math.min(before.untilMs, untilMs),
    };
    return 'later';
  }

  /** Members that could confirm a write now: live streams and this replica (2.8). */
  #reachable(nowMs: number): number {
    const { set, followers, self, silentMs, expected } = this.#options;
    const { members } = set();
    if (members.length === 0) return 1;
    const awaited = nowMs < expected.untilMs;
    const heard = (node: NodeUuid): boolean => nowMs - (followers.heardMs(node) ?? -Infinity) <= silentMs;
    return members.filter((node) => node === self || heard(node) || (awaited && expected.nodes.has(node))).length;
  }

  /** Why there is no room for another write: too many or too large ones in flight, or the index here falls behind. */
  #overload(bytes: number, nowMs: number): string | undefined {
    const ops = this.#postponed.ops + this.#throttled.ops;
    const waiting = this.#postponed.bytes + this.#throttled.bytes;
    if (
      this.#acknowledgements.count + ops >= LEADER_OPS_MAX ||
      this.#log.bytesInFlight + waiting + bytes > LEADER_BYTES_MAX
    ) {
      return 'too many writes of this shard are in flight; send them again a little later';
    }
    return this.#isIndexLate(nowMs)
      ? 'the index of this shard is behind; send the write again a little later'
      : undefined;
  }

  /** Whether a write would leave the index behind: the oldest waits for it for long, or it gains too little on what is owed. */
  #isIndexLate(nowMs: number): boolean {
    // One write for two entries that it takes: it gets there, and meanwhile the shard takes writes at half its pace.
    if (this.#isFarBehind) return this.#ahead >= LEADER_OPS_MAX + (this.#applied - this.#appliedAtFirst) / 2;
    const oldestMs = this.#acknowledgements.durableSinceMs;
    return oldestMs !== undefined && nowMs - oldestMs > INDEX_LATE_MS;
  }

  /**
   * Whether a write waits for a copy in sync that applies late, or has waited long enough: then it is refused, or made when
   * that copy is only a little behind. The map is never made to wait.
   */
  #throttle(proposal: Proposal, nowMs: number): WriteOutcome | 'later' | undefined {
    const lateness = this.#lateness(nowMs);
    if (lateness === 'none') return undefined;
    const { sinceMs, payload } = proposal;
    const untilMs = Math.min(sinceMs + THROTTLE_MS, (proposal.untilMs ?? Infinity) - ANSWER_MS);
    const { ops, bytes, untilMs: before } = this.#throttled;
    if (nowMs >= untilMs || ops >= THROTTLED_MAX) {
      if (lateness === 'paced') return undefined;
      const detail = 'a replica of this shard that is in sync applies late; send the write again a little later';
      return { kind: 'refused', code: 'OVERLOADED', detail, retryAfterMs: RETRY_AFTER_MS };
    }
    const lookMs = Math.ceil(untilMs / THROTTLE_STEP_MS) * THROTTLE_STEP_MS;
    this.#throttled = { ops: ops + 1, bytes: bytes + payload.length, untilMs: Math.min(before, lookMs) };
    return 'later';
  }

  #lateness(nowMs: number): Lateness {
    const { followers, set, heartbeatMs, map } = this.#options;
    return map === undefined ? followers.lateness(set(), nowMs, heartbeatMs) : 'none';
  }

  #logged({ op, collectionId, ticket, level }: Proposal, result: OperationRow, nowMs: number): void {
    if (this.#isFarBehind) this.#ahead++;
    if (op === 'COLLECTION_PURGE') this.#sweeps.push({ offset: result.offset, collectionId });
    this.#acknowledgements.wait(ticket, level, result, nowMs);
  }

  /** Same key, same payload: the stored result, as soon as its entry has the asked level. Other payload: a conflict (2.10). */
  #earlier(
    proposal: Proposal,
  ): { kind: 'again'; row: OperationRow } | { kind: 'conflict'; outcome: WriteOutcome } | undefined {
    const row = this.#log.operation(proposal.opId, proposal.storedOperation);
    if (row === undefined) return undefined;
    if (equalBytes(row.fingerprint, proposal.fingerprint)) return { kind: 'again', row };
    return {
      kind: 'conflict',
      outcome: refused('IDEMPOTENCY_CONFLICT', 'this idempotency key was used for another request; take a new key'),
    };
  }

  #batch(wallMs: number): ReignBatch {
    return new ReignBatch(this.#log, this.epoch, this.#options.map, wallMs);
  }

  #append({ entries, rows }: ReignBatch | BranchMerge, out: Out): void {
    out.push({ kind: 'append', batch: this.#log.batch(entries, rows), tail: this.#log.tail });
  }
}

const NONE_THROTTLED = { ops: 0, bytes: 0, untilMs: Infinity };
const NONE_POSTPONED = { ops: 0, bytes: 0, needed: Infinity, untilMs: Infinity };
