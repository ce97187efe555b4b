import type { ChannelCredentials } from '@grpc/grpc-js';
import { Metadata, credentials } from '@grpc/grpc-js';
import { toHex } from '../../kernel/bytes.js';
import type { Clock } from '../../kernel/clock.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import { PEER_METADATA } from './peer-identity.js';
import { proofOf } from './peer-proof.js';
import type { PeerSecurity } from './peer-security.js';
import { certificateNames, namesIn } from './peer-security.js';

export interface PeerCredentialsOptions {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  /** '' while this node belongs to none. */
  readonly clusterId: () => string;
  readonly security: PeerSecurity;
  readonly clock: Clock;
  readonly random: Random;
}

const NONCE_BYTES = 16;

/** How this node shows peers who it is, and makes sure of them: the counterpart of PeerAuth. */
export class PeerCredentials {
  readonly #options: PeerCredentialsOptions;

  constructor(options: PeerCredentialsOptions) {
    this.#options = options;
  }

  get security(): PeerSecurity {
    return this.#options.security;
  }

  /** For a channel to the node `nodeId`: '' when it is not known yet, then any certificate of the authority will do. */
  channel(nodeId: string): ChannelCredentials {
    const { security } = this.#options;
    if (security.kind !== 'tls') return credentials.createInsecure();
    return security.certificates.channelCredentials((certificate) => {
      if (nodeId === '' || certificateNames(certificate, nodeId)) return undefined;
      return new Error(`the certificate is not that of ${nodeId}: it names ${namesIn(certificate)}`);
    });
  }

  /** The metadata of one call of `method` to the node `to`; '' when it is not known yet. */
  metadata(method: string, to: string): Metadata {
    const { nodeId, nodeUuid, security } = this.#options;
    const clusterId = this.#options.clusterId();
    const metadata = new Metadata();
    metadata.set(PEER_METADATA.node, nodeId);
    metadata.set(PEER_METADATA.uuid, nodeUuid);
    if (clusterId !== '') metadata.set(PEER_METADATA.cluster, clusterId);
    if (to !== '') metadata.set(PEER_METADATA.to, to);
    if (security.kind === 'secret') {
      const time = String(this.#options.clock.wallMs());
      const nonce = toHex(this.#options.random.bytes(NONCE_BYTES));
      metadata.set(PEER_METADATA.time, time);
      metadata.set(PEER_METADATA.nonce, nonce);
      const claim = { method, nodeId, nodeUuid, clusterId, to, time, nonce };
      metadata.set(PEER_METADATA.auth, proofOf(security.secret, claim));
    }
    return metadata;
  }
}
