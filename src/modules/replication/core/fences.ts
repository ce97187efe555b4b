import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Out } from './effects.js';
import type { EpochPromise } from './epoch-promise.js';
import type { PeerView } from './peer-view.js';
import type { FenceAnswer, FenceRequest, ShardLeader, ShardSet } from './protocol.js';
import type { Alteration, ReplicaLog } from './replica-log.js';

/** A fence that another copy asked for, and by what its answer is known. */
export interface WaitingFence {
  readonly ticket: number;
  readonly from: NodeUuid;
  readonly request: FenceRequest;
}

type Refusal = Extract<FenceAnswer, { readonly kind: 'refused' }>['reason'];

export interface FencesOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly strict: boolean;
  readonly log: ReplicaLog;
  readonly promise: EpochPromise;
  /** The set counted by. */
  readonly set: () => ShardSet;
  /** Who is primary as far as this copy knows, itself included. */
  readonly leader: () => ShardLeader | undefined;
  /** Numbers its probes among those of this copy. */
  readonly nextRound: () => number;
}

/** What a copy is doing when it is asked for a promise. */
export interface Occupation {
  readonly faulted: boolean;
  /** The log is being cut, or a snapshot comes in or takes its place. */
  readonly altering: Alteration | undefined;
  /** It is the primary; `acknowledging`: and could acknowledge a write now. */
  readonly reigning: 'acknowledging' | 'held' | undefined;
  /** Whose stream brought something just now. */
  readonly streaming: NodeUuid | undefined;
}

type Verdict =
  | { readonly kind: 'refuse'; readonly reason: Refusal }
  /** The promise is to be made, then the fence is granted. */
  | { readonly kind: 'promise' }
  /** It was promised before: a grant that is repeated. */
  | { readonly kind: 'repeat' }
  /** The log is being cut: it is judged again when that is done. */
  | { readonly kind: 'wait' }
  /** Its own probe of the primary decides. */
  | { readonly kind: 'probe'; readonly leader: ShardLeader };

/**
 * The fences that others ask this copy for (5.4): what it answers, and those that wait for something here, the own probe of
 * their primary or their promise to be synced.
 */
export class Fences {
  readonly #options: FencesOptions;
  /** Those that wait for one probe of this primary. */
  #probing: { readonly fences: readonly WaitingFence[]; readonly leader: NodeUuid; readonly round: number } | undefined;
  #granting: WaitingFence[] = [];
  /** Those that came while the log was being cut. */
  #waiting: WaitingFence[] = [];

  constructor(options: FencesOptions) {
    this.#options = options;
  }

  /** A promise to another copy is on its way to the disk. */
  get isGranting(): boolean {
    return this.#granting.length > 0;
  }

  /** Answers a fence, or keeps it waiting. True: this copy is to promise its epoch, and then to `grant` it. */
  asked(fence: WaitingFence, occupation: Occupation, peers: PeerView, out: Out): boolean {
    const verdict = this.#judge(fence, occupation, peers);
    switch (verdict.kind) {
      case 'promise':
        return true;
      case 'refuse':
        this.refuse(fence, verdict.reason, out);
        return false;
      case 'wait':
        this.#waiting.push(fence);
        return false;
      case 'repeat':
        // It is granted no sooner than the first time.
        if (this.#options.promise.isSynced(fence.request.epoch)) this.#answer(fence, out);
        else this.grant(fence);
        return false;
      case 'probe': {
        const { shard, nextRound } = this.#options;
        const { epoch, node } = verdict.leader;
        const fences = [...(this.#probing?.fences ?? []), fence];
        if (this.#probing?.leader === node) {
          this.#probing = { ...this.#probing, fences };
          return false;
        }
        const round = nextRound();
        this.#probing = { fences, leader: node, round };
        out.push({ kind: 'probe', to: [node], request: { shard, epoch }, round });
        return false;
      }
    }
  }

  #judge({ from, request }: WaitingFence, occupation: Occupation, peers: PeerView): Verdict {
    const { self, strict, promise, set } = this.#options;
    const { reigning, streaming } = occupation;
    const believed = promise.saw(request.epoch.num);
    if (occupation.faulted) return { kind: 'refuse', reason: 'FAULTED' };
    if (!believed) return { kind: 'refuse', reason: 'PROMISED' };
    if (!strict && request.set.mapEpoch < set().mapEpoch) return { kind: 'refuse', reason: 'SET_NEWER' };
    const order = compareEpochs(request.epoch, promise.epoch);
    if (order < 0) return { kind: 'refuse', reason: 'PROMISED' };
    if (order === 0) return { kind: 'repeat' };
    // A cut takes as long as the disk needs for it: a refusal would end the candidacy each time.
    if (occupation.altering === 'cutting' && !strict) return { kind: 'wait' };
    const reason = keptFrom(occupation);
    if (reason !== undefined) return { kind: 'refuse', reason };
    if (request.cause !== 'suspect' || reigning === 'held') return { kind: 'promise' };
    if (reigning === 'acknowledging') return { kind: 'refuse', reason: 'PRIMARY_LIVES' };
    const leader = this.#options.leader();
    if (leader === undefined || leader.node === from || leader.node === self) return { kind: 'promise' };
    if (streaming === leader.node) return { kind: 'refuse', reason: 'PRIMARY_LIVES' };
    const facts = peers.get(leader.node);
    const mayLive = facts !== undefined && !facts.gone && !facts.refused;
    return mayLive ? { kind: 'probe', leader } : { kind: 'promise' };
  }

  /**
   * A probe was answered. Undefined: no fence waited for it. What this copy does now counts, not what it did when it was asked.
   * @returns those to be granted, the highest epoch first
   */
  probed(round: number, alive: boolean, occupation: Occupation, out: Out): readonly WaitingFence[] | undefined {
    if (this.#probing?.round !== round) return undefined;
    const { fences } = this.#probing;
    this.#probing = undefined;
    const lives = alive || occupation.reigning === 'acknowledging' ? 'PRIMARY_LIVES' : undefined;
    const reason = keptFrom(occupation) ?? lives;
    if (reason === undefined) return [...fences].sort((a, b) => compareEpochs(b.request.epoch, a.request.epoch));
    for (const fence of fences) this.refuse(fence, reason, out);
    return [];
  }

  /** The log was cut: those that waited for that, the highest epoch first. */
  takeWaiting(): readonly WaitingFence[] {
    return this.#waiting.splice(0).sort((a, b) => compareEpochs(b.request.epoch, a.request.epoch));
  }

  /** Answered when its promise, which is on its way, is on the disk. */
  grant(fence: WaitingFence): void {
    this.#granting.push(fence);
  }

  /** A promise is synced: who waited for it is answered. */
  promised(epoch: Epoch, out: Out): void {
    for (const fence of this.#granting) if (sameEpoch(fence.request.epoch, epoch)) this.#answer(fence, out);
    this.#granting = this.#granting.filter(({ request }) => !sameEpoch(request.epoch, epoch));
  }

  /** The copy is damaged: it can keep none of those promises, nor make one. */
  forsake(out: Out): void {
    const waiting = [...(this.#probing?.fences ?? []), ...this.#waiting.splice(0), ...this.#granting];
    for (const fence of waiting) this.refuse(fence, 'FAULTED', out);
    this.#probing = undefined;
    this.#granting = [];
  }

  /** The log is durable as a whole: the promise went to the disk behind everything that was appended. */
  #answer({ ticket }: WaitingFence, out: Out): void {
    const { log, set } = this.#options;
    const answer = { kind: 'granted', setEpoch: set().mapEpoch, end: log.end() } as const;
    out.push({ kind: 'answerFence', ticket, answer });
  }

  refuse({ ticket }: WaitingFence, reason: Refusal, out: Out): void {
    const { promise, set, leader } = this.#options;
    const hint = leader();
    const answer: FenceAnswer = {
      kind: 'refused',
      reason,
      promised: promise.epoch,
      ...(reason === 'SET_NEWER' ? { set: set() } : {}),
      ...(hint === undefined ? {} : { hint }),
    };
    out.push({ kind: 'answerFence', ticket, answer });
  }
}

/** Why a copy can grant nothing now. A log that is being cut has no end to tell for a moment; one that a snapshot replaces counts nowhere until then. */
function keptFrom({ faulted, altering }: Occupation): Refusal | undefined {
  if (faulted || altering === 'replacing') return 'FAULTED';
  return altering === 'cutting' ? 'PROMISED' : undefined;
}
