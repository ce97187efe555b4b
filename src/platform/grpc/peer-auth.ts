import type { Metadata } from '@grpc/grpc-js';
import type { PeerCertificate } from 'node:tls';
import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import { NODE_ID_PATTERN } from '../../kernel/ids.js';
import { PeerRefusal } from '../../kernel/peer.js';
import { MembershipService } from '../../gen/spector/peer/v1/membership_pb.js';
import { LogLimit } from '../logging/log-limit.js';
import type { Logger } from '../logging/logger.js';
import { methodPath } from './package-definition.js';
import type { PeerIdentity } from './peer-identity.js';
import { PEER_METADATA } from './peer-identity.js';
import type { PeerClaim } from './peer-proof.js';
import { PROOF_WINDOW_MS, ReplayGuard, isProof } from './peer-proof.js';
import type { PeerSecurity } from './peer-security.js';
import { certificateNames, namesIn } from './peer-security.js';

/** Why a call to a peers' service was refused: a label for metrics. */
export type PeerRefusalReason =
  | 'client'
  | 'malformed'
  | 'certificate'
  | 'proof'
  | 'time'
  | 'replay'
  | 'wrong-node'
  | 'foreign-cluster'
  | 'unregistered';

export interface PeerAuthOptions {
  readonly nodeId: string;
  readonly security: PeerSecurity;
  /** '' while this node belongs to none. */
  readonly clusterId: () => string;
  /** Whether a peer of this cluster may call; absent: every peer may. Introductions and joins are not asked about. */
  readonly registered?: (peer: PeerIdentity) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Counts. */
  readonly refused: (reason: PeerRefusalReason) => void;
}

/** A caller and what it proves with. */
export interface PeerCall {
  /** Path of the method. */
  readonly method: string;
  readonly metadata: Metadata;
  /** `address:port` of the caller, for the log. */
  readonly from: string;
  /** The certificate it presented and TLS verified, if any. */
  readonly certificate: () => PeerCertificate | undefined;
}

/** Nodes of another cluster may ask this much (replication 9.2). */
const ACROSS_CLUSTERS: ReadonlySet<string> = new Set([
  methodPath(MembershipService.method.introduce),
  methodPath(MembershipService.method.join),
]);

const REPEAT_LOG_MS = 30_000;
const UUID_PATTERN = /^[0-9a-f]{32}$/;
const TIME_PATTERN = /^\d{1,15}$/;

/** Tells peers from clients, and refuses everybody else at the peers' services (api.md, Security). */
export class PeerAuth {
  readonly #options: PeerAuthOptions;
  readonly #replays = new ReplayGuard();
  readonly #limit: LogLimit;

  constructor(options: PeerAuthOptions) {
    this.#options = options;
    this.#limit = new LogLimit(options.clock, REPEAT_LOG_MS);
  }

  /**
   * Who calls.
   * @throws NodeError FORBIDDEN or UNAUTHENTICATED, or PeerRefusal; logged (rate limited) and counted
   */
  admit(call: PeerCall): PeerIdentity {
    const claim = this.#claim(call);
    this.#prove(call, claim);
    const { to, clusterId } = claim;
    const own = this.#options.clusterId();
    if (to !== '' && to !== this.#options.nodeId) {
      const said = `this is ${this.#options.nodeId}, not ${to}: the address has passed to another node`;
      throw this.#refuse(call, 'wrong-node', new PeerRefusal('WRONG_NODE', said));
    }
    if (ACROSS_CLUSTERS.has(call.method)) return identityOf(claim);
    if (clusterId !== '' && own !== '' && clusterId !== own) {
      const said = `${claim.nodeId} belongs to cluster ${clusterId}, this node to ${own}`;
      throw this.#refuse(call, 'foreign-cluster', new PeerRefusal('FOREIGN_CLUSTER', said));
    }
    if (this.#options.registered?.(identityOf(claim)) === false) {
      const said = `${claim.nodeId} is not registered in the map: it may only join`;
      throw this.#refuse(call, 'unregistered', new PeerRefusal('UNREGISTERED', said));
    }
    return identityOf(claim);
  }

  /** A message of an admitted caller is no message of the method, or too large: it was refused, and is counted. */
  unreadable(call: Pick<PeerCall, 'method' | 'from'>, problem: string): void {
    this.#note(call, 'malformed', problem);
  }

  #claim(call: PeerCall): PeerClaim {
    const read = (name: string) => {
      const values = call.metadata.get(name);
      return values.length === 1 ? String(values[0]) : '';
    };
    const claim = {
      method: call.method,
      nodeId: read(PEER_METADATA.node),
      nodeUuid: read(PEER_METADATA.uuid),
      clusterId: read(PEER_METADATA.cluster),
      to: read(PEER_METADATA.to),
      time: read(PEER_METADATA.time),
      nonce: read(PEER_METADATA.nonce),
    };
    if (claim.nodeId === '')
      throw this.#refuse(call, 'client', new NodeError('FORBIDDEN', 'Only nodes of the cluster may call this service'));
    if (!NODE_ID_PATTERN.test(claim.nodeId) || !UUID_PATTERN.test(claim.nodeUuid))
      throw this.#refuse(call, 'malformed', new NodeError('INVALID_REQUEST', 'The metadata of a peer is not valid'));
    return claim;
  }

  #prove(call: PeerCall, claim: PeerClaim): void {
    const { security } = this.#options;
    switch (security.kind) {
      case 'tls':
        this.#proveByCertificate(call, claim);
        break;
      case 'secret':
        this.#proveBySecret(call, claim, security.secret);
        break;
      case 'open':
    }
  }

  #proveByCertificate(call: PeerCall, { nodeId }: PeerClaim): void {
    const certificate = call.certificate();
    if (certificate !== undefined && certificateNames(certificate, nodeId)) return;
    const named = certificate === undefined ? 'is missing' : `names ${namesIn(certificate)}`;
    const said = `The caller says it is ${nodeId}, but its certificate ${named}`;
    throw this.#refuse(call, 'certificate', new NodeError('FORBIDDEN', said));
  }

  #proveBySecret(call: PeerCall, claim: PeerClaim, secret: string): void {
    const given = call.metadata.get(PEER_METADATA.auth).map(String).join();
    if (given === '') {
      const said = 'Only nodes that know the cluster secret may call this service';
      throw this.#refuse(call, 'proof', new NodeError('FORBIDDEN', said));
    }
    if (!TIME_PATTERN.test(claim.time) || claim.nonce === '' || !isProof(secret, claim, given)) {
      const said = `The proof of ${claim.nodeId} does not hold: it has another cluster secret`;
      throw this.#refuse(call, 'proof', new NodeError('UNAUTHENTICATED', said));
    }
    const nowMs = this.#options.clock.wallMs();
    const timeMs = Number(claim.time);
    if (Math.abs(nowMs - timeMs) > PROOF_WINDOW_MS) {
      const said = `The clock of ${claim.nodeId} is ${Math.round((timeMs - nowMs) / 1_000)} s off this node's`;
      throw this.#refuse(call, 'time', new NodeError('UNAUTHENTICATED', said));
    }
    if (!this.#replays.accept(claim.nodeUuid, claim.nonce, timeMs, nowMs)) {
      const said = `The proof of ${claim.nodeId} was used before`;
      throw this.#refuse(call, 'replay', new NodeError('UNAUTHENTICATED', said));
    }
  }

  #refuse<E extends Error>(call: PeerCall, reason: PeerRefusalReason, error: E): E {
    this.#note(call, reason, error.message);
    return error;
  }

  #note(call: Pick<PeerCall, 'method' | 'from'>, reason: PeerRefusalReason, problem: string): void {
    this.#options.refused(reason);
    const host = call.from.slice(0, call.from.lastIndexOf(':'));
    const suppressed = this.#limit.take(`${reason} ${host}`);
    if (suppressed !== undefined)
      this.#options.log.warn(
        { from: call.from, method: call.method, reason, suppressed },
        `refused a call between nodes: ${problem}`,
      );
  }
}

function identityOf({ nodeId, nodeUuid, clusterId }: PeerClaim): PeerIdentity {
  return { nodeId, nodeUuid, clusterId };
}
