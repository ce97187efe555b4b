import { sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { Adoption } from './adoption.js';
import { Candidacy } from './candidacy.js';
import type { Out } from './effects.js';
import { appendFollowed } from './followed-entries.js';
import type { MapState } from './map-state.js';
import type { PeerView } from './peer-view.js';
import type { FenceAnswer, FenceCause, ShardSet } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';

export interface ElectionOptions {
  readonly shard: number;
  readonly self: NodeUuid;
  readonly epoch: Epoch;
  readonly cause: FenceCause;
  readonly log: ReplicaLog;
  readonly strict: boolean;
  /** The set counted by: an adopted log may bring another one. */
  readonly set: () => ShardSet;
  readonly map: MapState | undefined;
  readonly beganMs: number;
}

/** How an attempt to reign ended. */
export type ElectionEnd =
  | { readonly kind: 'reign'; readonly granters: ReadonlySet<NodeUuid> }
  /** It cannot succeed now. */
  | { readonly kind: 'give up' }
  /** A granter's log goes further and only a snapshot would do: that one is the better candidate (5.2). */
  | { readonly kind: 'leave to another' }
  /** A member stands by another reign, or promised a higher epoch. */
  | { readonly kind: 'refused'; readonly answer: Extract<FenceAnswer, { readonly kind: 'refused' }> };

/**
 * The candidate's part of a copy, for the length of one attempt (5.4, 5.5): fences the members once its own promise is synced,
 * and adopts the log that goes furthest. What the grants allow the Candidacy decides; the Replica changes the role.
 */
export class Election {
  readonly #options: ElectionOptions;
  readonly #log: ReplicaLog;
  readonly #candidacy: Candidacy;
  /** The own promise is synced, and the members are asked. */
  #fencing = false;
  #adoption: Adoption | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#candidacy = new Candidacy(options.beganMs);
  }

  get epoch(): Epoch {
    return this.#options.epoch;
  }

  /** The log is being cut to the fork with the one that is adopted. */
  get isCutting(): boolean {
    return this.#adoption?.phase === 'cutting';
  }

  /** The own promise is on the disk. */
  promised(epoch: Epoch, peers: PeerView, nowMs: number, out: Out): ElectionEnd | undefined {
    if (this.#fencing || !sameEpoch(this.epoch, epoch)) return undefined;
    this.#fencing = true;
    const { self, shard, cause, set: current } = this.#options;
    const set = current();
    const to = set.members.filter((node) => node !== self);
    if (to.length > 0) out.push({ kind: 'fence', to, request: { shard, epoch, cause, set } });
    return this.proceed(peers, nowMs, out);
  }

  /** A member answered the fence, or did not. */
  answered(
    from: NodeUuid,
    answer: FenceAnswer | 'refused' | 'silent',
    peers: PeerView,
    nowMs: number,
    out: Out,
  ): ElectionEnd | undefined {
    if (answer === 'refused') this.#candidacy.unreachable(from);
    else if (answer !== 'silent') {
      if (answer.kind === 'granted') this.#candidacy.granted(from, { setEpoch: answer.setEpoch, end: answer.end });
      else if (answer.reason === 'FAULTED' || answer.reason === 'UNKNOWN_SHARD') this.#candidacy.unreachable(from);
      else return { kind: 'refused', answer };
    }
    return this.proceed(peers, nowMs, out);
  }

  /** Looks whether it can be decided. */
  proceed(peers: PeerView, nowMs: number, out: Out): ElectionEnd | undefined {
    if (!this.#fencing || this.#adoption !== undefined || this.#log.durable !== this.#log.tail) return undefined;
    const { self, strict, set } = this.#options;
    const decision = this.#candidacy.decide(self, this.#log.end(), set(), strict, peers, nowMs);
    switch (decision.kind) {
      case 'wait':
        return undefined;
      case 'give up':
        return { kind: 'give up' };
      case 'reign':
        return { kind: 'reign', granters: this.#candidacy.granters() };
      case 'adopt':
        return this.#adopt(new Adoption(this.#log, this.epoch, decision.from, decision.end), out);
    }
  }

  #adopt(adoption: Adoption, out: Out): ElectionEnd | undefined {
    if (!adoption.begin(out)) return { kind: 'leave to another' };
    this.#adoption = adoption;
    if (!this.isCutting) this.#pullNext(out);
    return undefined;
  }

  /** The log was cut. */
  cut(out: Out): void {
    this.#pullNext(out);
  }

  /** More of the log is durable. */
  persisted(out: Out): void {
    if (this.#adoption?.phase === 'pulling') this.#pullNext(out);
  }

  #pullNext(out: Out): void {
    // Looked at again as a whole, with the next tick: the adopted log may have brought another set (5.5).
    if (this.#adoption?.proceed(out) === true) this.#adoption = undefined;
  }

  /** @param entries verified ones that continue this log; undefined: the granter has none of use */
  pulled(
    entries: readonly Uint8Array[] | undefined,
    stored: readonly (Uint8Array | undefined)[],
    peers: PeerView,
    nowMs: number,
    out: Out,
  ): ElectionEnd | undefined {
    if (this.#adoption?.phase !== 'pulling') return undefined;
    if (entries !== undefined && entries.length > 0) {
      appendFollowed(this.#log, this.#options.map, entries, stored, out);
      return undefined;
    }
    const { from } = this.#adoption;
    this.#adoption = undefined;
    if (this.#options.strict) return { kind: 'give up' };
    this.#candidacy.forget(from);
    return this.proceed(peers, nowMs, out);
  }
}
