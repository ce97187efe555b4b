import { NodeError } from '../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { ClusterRegistry } from './cluster-registry.js';
import type { Membership } from './core/membership.js';
import { isUp, protocolsOverlap, recordProblem, type NodeRecord } from './core/node-record.js';
import { protocolRefusal } from './core/refusal.js';
import { MEMBERS_MAX } from './core/view.js';
import type { Introduction, JoinAnswer, JoinRequest, MembershipPeers } from './membership-peers.js';

export interface JoinDeskPorts {
  readonly peers: MembershipPeers;
  readonly registry: ClusterRegistry;
}

const PROBE_MS = 1_000;
/** A holder that is silent is asked again: a name must not change hands for one lost packet. */
const PROBES = 3;
/** Requests being decided at once; the map takes one change at a time anyway. */
const WAITING_MAX = 64;

/** Takes other nodes into the cluster (replication 5.8, 9.2): one name, one node. */
export class JoinDesk {
  readonly #membership: Membership;
  readonly #ports: JoinDeskPorts;
  readonly #introduction: () => Introduction;
  readonly #admitted: (record: NodeRecord) => void;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(
    membership: Membership,
    ports: JoinDeskPorts,
    introduction: () => Introduction,
    admitted: (record: NodeRecord) => void,
  ) {
    this.#membership = membership;
    this.#ports = ports;
    this.#introduction = introduction;
    this.#admitted = admitted;
  }

  /** Decides one after the other: two newcomers of one name must not both find it free. */
  async decide(request: JoinRequest): Promise<JoinAnswer> {
    const problem = recordProblem(request.record);
    if (problem !== undefined) throw new NodeError('INVALID_REQUEST', problem);
    if (this.#waiting >= WAITING_MAX) return { kind: 'later', detail: 'too many nodes join at once' };
    this.#waiting++;
    const decided = this.#last.then(() => this.#decide(request.record));
    this.#last = decided.catch(() => undefined);
    try {
      return await decided;
    } finally {
      this.#waiting--;
    }
  }

  async #decide(record: NodeRecord): Promise<JoinAnswer> {
    const { clusterId, roster } = this.#membership;
    if (clusterId === '') return { kind: 'later', detail: 'this node belongs to no cluster yet' };
    if (roster.self.status === 'LEAVING' || roster.self.status === 'LEFT')
      return { kind: 'later', detail: 'this node is leaving the cluster' };
    if (!protocolsOverlap(record, roster.self))
      return { kind: 'refused', reason: 'PROTOCOL', detail: protocolRefusal(roster.self, record) };
    const known = roster.view.get(record.nodeUuid);
    if ((known === undefined || known.status === 'LEFT') && roster.view.members() >= MEMBERS_MAX)
      return { kind: 'later', detail: `a cluster has at most ${MEMBERS_MAX} nodes` };

    const twin = await this.#living(record.nodeUuid, record.grpcAddress);
    if (twin !== undefined) {
      const detail = `node uuid ${record.nodeUuid} is in use at ${twin}: a copied data directory cannot join its original`;
      return { kind: 'refused', reason: 'DUPLICATE_NODE_ID', detail };
    }
    const holder = this.#holderOf(record);
    if (holder !== undefined) {
      const address = await this.#living(holder);
      if (address !== undefined) {
        const detail = `node id "${record.nodeId}" is in use by a running node at ${address}; give this one another id`;
        return { kind: 'refused', reason: 'DUPLICATE_NODE_ID', detail };
      }
    }
    const registered = await this.#ports.registry.register(record, holder);
    if (registered.kind === 'later') return registered;
    if (registered.kind === 'refused')
      return { kind: 'refused', reason: 'DUPLICATE_NODE_ID', detail: registered.detail };
    this.#admitted(record);
    return { kind: 'joined', clusterId, records: roster.view.records() };
  }

  /** Another node of the same name: in the map, or else in the view. */
  #holderOf(record: NodeRecord): NodeUuid | undefined {
    const { roster } = this.#membership;
    const members = [...roster.members.values(), ...roster.view.records().filter(({ status }) => status !== 'LEFT')];
    return members.find(({ nodeId, nodeUuid }) => nodeId === record.nodeId && nodeUuid !== record.nodeUuid)?.nodeUuid;
  }

  /** Where the node answers now as itself; undefined when it does not. `unlessAt`: there it is the newcomer itself. */
  async #living(nodeUuid: NodeUuid, unlessAt?: string): Promise<string | undefined> {
    const { roster } = this.#membership;
    if (nodeUuid === roster.self.nodeUuid) return roster.self.grpcAddress;
    const address = roster.addressOf(nodeUuid);
    if (address === undefined || address === unlessAt) return undefined;
    if (unlessAt !== undefined && !isUp(roster.view.get(nodeUuid)?.status ?? 'LEFT')) return undefined;
    for (let i = 0; i < PROBES; i++) {
      try {
        const other = await this.#ports.peers.introduce(address, this.#introduction(), PROBE_MS);
        return other.nodeUuid === nodeUuid ? address : undefined;
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        if (error.reason === 'REFUSED' || error.reason === 'UNRESOLVED') return undefined;
      }
    }
    return undefined;
  }
}
