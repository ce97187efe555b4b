import { compareEpochs, sameEpoch, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { PeerView } from './peer-view.js';
import type { FenceAnswer, FenceRequest, ShardLeader, ShardSet } from './protocol.js';

/** A fence that another copy asked for, and by what its answer is known. */
export interface WaitingFence {
  readonly ticket: number;
  readonly from: NodeUuid;
  readonly request: FenceRequest;
}

export type FenceRefusal = Extract<FenceAnswer, { readonly kind: 'refused' }>['reason'];

/** How a copy stands when it is asked for a promise. */
export interface FencedCopy {
  readonly self: NodeUuid;
  readonly strict: boolean;
  readonly set: ShardSet;
  readonly promised: Epoch;
  /** The log is being cut, or a snapshot takes its place. */
  readonly altering: 'cutting' | 'receiving' | undefined;
  /** It reigns, and could acknowledge a write now. */
  readonly acknowledges: boolean;
  /** Whom it takes for the primary; undefined when it reigns itself. */
  readonly leader: ShardLeader | undefined;
  /** Whose stream brought something just now. */
  readonly streaming: NodeUuid | undefined;
  /** A fence waits for a probe already: another one is not probed for. */
  readonly probing: boolean;
  readonly peers: PeerView;
}

export type FenceVerdict =
  | { readonly kind: 'refuse'; readonly reason: FenceRefusal }
  /** The promise is made, then the fence is granted. */
  | { readonly kind: 'promise' }
  /** It was promised before: a grant that is repeated. */
  | { readonly kind: 'repeat' }
  /** Its own probe of the primary decides. */
  | { readonly kind: 'probe'; readonly leader: ShardLeader };

/** What a copy that is not faulted answers a fence in an epoch that is believed (5.4). */
export function judgeFence({ from, request }: WaitingFence, copy: FencedCopy): FenceVerdict {
  if (!copy.strict && request.set.mapEpoch < copy.set.mapEpoch) return { kind: 'refuse', reason: 'SET_NEWER' };
  const order = compareEpochs(request.epoch, copy.promised);
  if (order < 0) return { kind: 'refuse', reason: 'PROMISED' };
  if (order === 0) return { kind: 'repeat' };
  // A log that is being cut has no end to tell for a moment; one that a snapshot replaces counts nowhere until then.
  if (copy.altering === 'receiving') return { kind: 'refuse', reason: 'FAULTED' };
  if (copy.altering === 'cutting') return { kind: 'refuse', reason: 'PROMISED' };
  if (request.cause !== 'suspect') return { kind: 'promise' };
  if (copy.acknowledges) return { kind: 'refuse', reason: 'PRIMARY_LIVES' };
  const { leader, peers } = copy;
  if (leader === undefined || leader.node === from || leader.node === copy.self) return { kind: 'promise' };
  if (copy.streaming === leader.node) return { kind: 'refuse', reason: 'PRIMARY_LIVES' };
  const facts = peers.get(leader.node);
  const mayLive = facts !== undefined && !facts.gone && !facts.refused;
  return mayLive && !copy.probing ? { kind: 'probe', leader } : { kind: 'promise' };
}

/** Fences of others that wait for something here (5.4): the own probe of their primary, or their promise to be synced. */
export class Fences {
  #probing: { readonly fence: WaitingFence; readonly round: number } | undefined;
  #granting: WaitingFence[] = [];

  /** One waits for a probe. */
  get isProbing(): boolean {
    return this.#probing !== undefined;
  }

  /** A promise to another copy is on its way to the disk. */
  get isGranting(): boolean {
    return this.#granting.length > 0;
  }

  probe(fence: WaitingFence, round: number): void {
    this.#probing = { fence, round };
  }

  /** The fence that waited for this probe. */
  probed(round: number): WaitingFence | undefined {
    if (this.#probing?.round !== round) return undefined;
    const { fence } = this.#probing;
    this.#probing = undefined;
    return fence;
  }

  grant(fence: WaitingFence): void {
    this.#granting.push(fence);
  }

  /** Those that waited for a promise which is synced now. */
  promised(epoch: Epoch): readonly WaitingFence[] {
    return this.#take(({ request }) => sameEpoch(request.epoch, epoch));
  }

  /** All whose promise is not synced: the copy can keep none of them. */
  forsake(): readonly WaitingFence[] {
    return this.#take(() => true);
  }

  #take(which: (fence: WaitingFence) => boolean): readonly WaitingFence[] {
    const taken = this.#granting.filter(which);
    this.#granting = this.#granting.filter((fence) => !which(fence));
    return taken;
  }
}
