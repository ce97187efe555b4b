import type { ErrorCode } from '../../../kernel/errors.js';
import type { NodeUuid, PeerFailure } from '../../../kernel/peer.js';
import type { Exchange, Heartbeat, Introduction } from '../membership-peers.js';
import type { NodeRecord, NodeStatus } from './node-record.js';

/** When something happened. */
export interface At {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** A node the map knows (replication 9.1): looked for until it is removed from the map. */
export interface MapMember {
  readonly nodeUuid: NodeUuid;
  readonly nodeId: string;
  readonly address: string;
}

export type MembershipInput =
  | { readonly kind: 'tick' }
  /** The node belongs to a cluster now; `records` is what it was told of the others. */
  | { readonly kind: 'entered'; readonly clusterId: string; readonly records: readonly NodeRecord[] }
  /** The node gave its provisional cluster up (replication 9.2): it belongs to none. */
  | { readonly kind: 'surrendered' }
  /** It was taken back into the cluster that had seen it leave. */
  | { readonly kind: 'readmitted'; readonly records: readonly NodeRecord[] }
  /** This node registered another one in the map. */
  | { readonly kind: 'admitted'; readonly record: NodeRecord }
  | { readonly kind: 'status'; readonly status: Extract<NodeStatus, 'ACTIVE' | 'LEAVING' | 'LEFT'> }
  | { readonly kind: 'map'; readonly mapEpoch: number; readonly members: readonly MapMember[] }
  | { readonly kind: 'positions'; readonly positions: Uint8Array }
  | { readonly kind: 'disk'; readonly freeBytes: number; readonly totalBytes: number }
  /** Tell everybody now, not at the next heartbeat. */
  | { readonly kind: 'pushNow' }
  /** A connection to it broke: ask it at once (replication 5.1). */
  | { readonly kind: 'doubt'; readonly nodeUuid: NodeUuid }
  /** Another node's heartbeat; the effects hold an answer or a refusal. */
  | { readonly kind: 'beat'; readonly beat: Heartbeat }
  | { readonly kind: 'answered'; readonly to: NodeUuid; readonly sentMs: number; readonly beat: Heartbeat }
  | {
      readonly kind: 'unanswered';
      readonly to: NodeUuid;
      readonly reason: PeerFailure;
      /** It answered that its map does not know this node. */
      readonly unregistered?: boolean;
    }
  /** Another node's exchange; the effects hold an answer or a refusal. */
  | { readonly kind: 'exchange'; readonly exchange: Exchange }
  | {
      readonly kind: 'exchanged';
      readonly to: NodeUuid;
      readonly asked: boolean;
      readonly records: readonly NodeRecord[];
    }
  | { readonly kind: 'unexchanged'; readonly to: NodeUuid; readonly reason: PeerFailure }
  | { readonly kind: 'introduced'; readonly address: string; readonly other: Introduction }
  | { readonly kind: 'unintroduced'; readonly address: string };

export type PeerEvent =
  /** It answered us. */
  | { readonly kind: 'heard'; readonly nodeUuid: NodeUuid }
  /** It told its positions, load and map epoch anew. */
  | { readonly kind: 'told'; readonly nodeUuid: NodeUuid }
  /** Two probes of ours found nobody listening (replication 5.1, 5.4). */
  | { readonly kind: 'refused'; readonly nodeUuid: NodeUuid }
  /** Its status in the view changed, whoever found out. */
  | { readonly kind: 'status'; readonly nodeUuid: NodeUuid; readonly status: NodeStatus };

/** Something an operator should read once. */
export type Notice =
  | { readonly kind: 'skewed' | 'in-step'; readonly nodeUuid: NodeUuid; readonly skewMs: number }
  | { readonly kind: 'flapping' | 'steady'; readonly nodeUuid: NodeUuid }
  /** Round trips above 10 ms (replication 8.4). */
  | { readonly kind: 'slow-link'; readonly nodeUuid: NodeUuid; readonly rttMs: number }
  /** Another process claims this node's uuid: its data directory was copied. */
  | { readonly kind: 'twin'; readonly address: string };

export type MembershipEffect =
  | { readonly kind: 'heartbeat'; readonly to: NodeUuid; readonly address: string; readonly beat: Heartbeat }
  | {
      readonly kind: 'exchange';
      readonly to: NodeUuid;
      readonly address: string;
      /** It asks for the other's records; false: it tells some. */
      readonly asked: boolean;
      readonly exchange: Exchange;
    }
  | { readonly kind: 'introduce'; readonly address: string }
  | { readonly kind: 'answerBeat'; readonly beat: Heartbeat }
  | { readonly kind: 'answerExchange'; readonly records: readonly NodeRecord[] }
  | { readonly kind: 'reject'; readonly code: ErrorCode; readonly detail: string }
  | { readonly kind: 'view'; readonly records: readonly NodeRecord[] }
  | { readonly kind: 'peer'; readonly event: PeerEvent }
  /** This process stood still, or its clocks went apart: primaries revalidate (replication 1.5, 5.4). */
  | { readonly kind: 'paused'; readonly ms: number }
  /** The others hold that this node left, or the map no longer has it: it must join again. */
  | { readonly kind: 'evicted' }
  /** A seed belongs to another cluster. */
  | { readonly kind: 'foreign'; readonly address: string; readonly other: Introduction }
  | { readonly kind: 'notice'; readonly notice: Notice };
