import type { Metadata } from '@grpc/grpc-js';
import { assert } from '../../kernel/assert.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { ServerCall } from './grpc-call.js';

/** Who calls, as it says itself and as far as the mode of security proves (api.md, Security). */
export interface PeerIdentity {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  /** '' while it belongs to none. */
  readonly clusterId: string;
}

/** Names of the metadata that nodes send each other with every call. */
export const PEER_METADATA = {
  node: 'spector-node',
  uuid: 'spector-uuid',
  cluster: 'spector-cluster',
  /** The node id the caller means to reach: an address can have passed to another node. */
  to: 'spector-to',
  time: 'spector-time',
  nonce: 'spector-nonce',
  auth: 'spector-auth',
} as const;

/** By the metadata of the call: the one object that the server's interceptors and its handlers both see. */
const identities = new WeakMap<Metadata, PeerIdentity>();

export function admitPeer(metadata: Metadata, identity: PeerIdentity): void {
  identities.set(metadata, identity);
}

/** The caller of a peers' service; its handlers run for peers only. */
export function peerOf(call: Pick<ServerCall, 'metadata'>): PeerIdentity {
  const identity = identities.get(call.metadata);
  assert(identity !== undefined, 'the call was admitted as one of a peer');
  return identity;
}
