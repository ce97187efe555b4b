import type { Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { CopyPlan, Now, PeerView } from './peer-view.js';
import type {
  Ack,
  EntriesBatch,
  FenceAnswer,
  FenceRequest,
  Hello,
  HelloAnswer,
  Offer,
  PullAnswer,
  ShardLeader,
} from './protocol.js';
import type { ReplicaLogOptions } from './replica-log.js';
import type { Proposal } from './write.js';

/** An operator's word that the map goes on from this copy (5.8): the operation to remember it by, and when it began. */
export interface MapForce {
  readonly id: string;
  /** Wall clock. */
  readonly startedMs: number;
}

/** What a replica is told by its driver: a tick, a message, a proposal, or what became of an earlier effect. */
export type ReplicaInput =
  | {
      readonly kind: 'tick';
      readonly now: Now;
      readonly peers: PeerView;
      readonly plan: CopyPlan;
      readonly opId: Uint8Array;
    }
  | { readonly kind: 'propose'; readonly now: Now; readonly proposals: readonly Proposal[] }
  /** Everything up to the offset is durable here. */
  | { readonly kind: 'persisted'; readonly offset: number; readonly now: Now }
  /** The promise is durable here. */
  | { readonly kind: 'promised'; readonly epoch: Epoch; readonly now: Now; readonly opId: Uint8Array }
  /** Everything up to the offset is in the index. */
  | { readonly kind: 'applied'; readonly offset: number; readonly now: Now }
  /** A snapshot is on its way to a node, which goes on at the offset then: it begins or goes on, or more of it is staged there (2.11). */
  | { readonly kind: 'sending' | 'staged'; readonly node: NodeUuid; readonly offset: number; readonly now: Now }
  /** The log is kept no more for a replica that is behind (2.11). */
  | { readonly kind: 'demote'; readonly node: NodeUuid }
  /** Superseded entries up to `start` are about to be deleted from the log: said at once before its start moves, if it may. */
  | { readonly kind: 'compacting'; readonly start: number }
  /** That has ended, and took so many. */
  | { readonly kind: 'compacted'; readonly bytes: number }
  /** The log failed or the copy is damaged: everything waiting is answered, nothing is admitted any more. */
  | { readonly kind: 'fail'; readonly detail: string }
  /** The process stood still, or its clock jumped (1.5): a primary asks its followers before it acknowledges again. */
  | { readonly kind: 'paused'; readonly now: Now }
  /** Hand the reign over to a follower (5.7). */
  | { readonly kind: 'transfer'; readonly to: NodeUuid; readonly now: Now }
  /** Somebody says who is primary. */
  | { readonly kind: 'announced'; readonly leader: ShardLeader; readonly now: Now }
  /** An operator makes this copy of the map the only voter, whose others are gone (5.8). */
  | { readonly kind: 'force'; readonly force: MapForce; readonly now: Now }
  // As a follower
  | { readonly kind: 'welcomed'; readonly answer: HelloAnswer; readonly now: Now }
  | {
      readonly kind: 'batch';
      readonly batch: EntriesBatch;
      /** What is wrong with the entries, found by the driver (4.3). */
      readonly problem: string | undefined;
      /** The stored rows of the entries' documents, in their order. */
      readonly stored: readonly (Uint8Array | undefined)[];
      readonly now: Now;
    }
  | { readonly kind: 'streamEnded'; readonly now: Now }
  /** The primary asks to be relieved (5.7). */
  | { readonly kind: 'takeOver'; readonly epoch: Epoch; readonly now: Now }
  /** A snapshot that is whole is about to take the log's place: told at once before that begins. */
  | { readonly kind: 'replacing' }
  /** The log was cut, or a snapshot took its place; this is how it ends now, and how far the index is. */
  | {
      readonly kind: 'replaced';
      readonly log: Omit<ReplicaLogOptions, 'shard' | 'hasher' | 'lastHlc'>;
      readonly applied: number;
      readonly now: Now;
    }
  // As a primary
  | {
      readonly kind: 'hello';
      readonly link: number;
      readonly hello: Hello;
      /** Chain of this log at the follower's last offset; undefined when it is not in this log. */
      readonly chainThere: Uint8Array | undefined;
      readonly now: Now;
    }
  | { readonly kind: 'acked'; readonly link: number; readonly ack: Ack; readonly now: Now }
  | {
      readonly kind: 'offered';
      readonly link: number;
      readonly offer: Offer;
      readonly stored: readonly (Uint8Array | undefined)[];
      readonly now: Now;
      readonly opId: Uint8Array;
    }
  | { readonly kind: 'linkEnded'; readonly link: number }
  /** The loose rows of this replica itself, which now reigns; at last none. */
  | {
      readonly kind: 'loose';
      readonly entries: readonly Uint8Array[];
      readonly stored: readonly (Uint8Array | undefined)[];
      readonly last: boolean;
      readonly now: Now;
      readonly opId: Uint8Array;
    }
  // Elections
  | { readonly kind: 'probed'; readonly round: number; readonly alive: boolean; readonly now: Now }
  | {
      readonly kind: 'fenced';
      readonly epoch: Epoch;
      readonly from: NodeUuid;
      /** `refused`: nobody listens there; `silent`: no answer in time. */
      readonly answer: FenceAnswer | 'refused' | 'silent';
      readonly now: Now;
      readonly opId: Uint8Array;
    }
  | {
      readonly kind: 'fence';
      readonly ticket: number;
      readonly from: NodeUuid;
      readonly request: FenceRequest;
      readonly now: Now;
    }
  | {
      readonly kind: 'pulled';
      readonly epoch: Epoch;
      /** Undefined: the granter did not answer, or no longer stands by its grant. */
      readonly answer: PullAnswer | undefined;
      readonly problem: string | undefined;
      readonly stored: readonly (Uint8Array | undefined)[];
      readonly now: Now;
      readonly opId: Uint8Array;
    };
