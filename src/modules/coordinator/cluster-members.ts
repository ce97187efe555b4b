import type { Clock } from '../../kernel/clock.js';
import type { NodeRecord } from '../membership/core/node-record.js';
import type { ClusterPlace } from '../replication/cluster-place.js';
import { silenceMs } from '../replication/fellows.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { Member, Members } from './members.js';
import type { NodeFacts } from './node-facts.js';

/** The members as the view has them. */
export class ClusterMembers implements Members {
  constructor(
    private readonly place: ClusterPlace,
    private readonly replication: ReplicationService,
    private readonly facts: NodeFacts,
    private readonly clock: Pick<Clock, 'monotonicMs'>,
  ) {}

  all(): readonly Member[] {
    return this.#present()
      .map((record) => this.#member(record))
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : a.nodeId > b.nodeId ? 1 : 0));
  }

  digest(): string {
    return this.place.taken?.membership.viewDigest() ?? '';
  }

  #present(): readonly NodeRecord[] {
    return (this.place.taken?.membership.view() ?? []).filter(({ status }) => status !== 'LEFT');
  }

  #member({ nodeId, nodeUuid, incarnation, status, grpcAddress, httpAddress, version }: NodeRecord): Member {
    const self = nodeUuid === this.replication.self;
    const load = this.place.taken?.membership.loadOf(nodeUuid);
    const facts = this.place.fellows.all().get(nodeUuid);
    const positions = self ? this.replication.positions() : [...(facts?.positions.values() ?? [])];
    const silentMs = facts === undefined ? 0 : silenceMs(facts, this.clock.monotonicMs());
    return {
      nodeId,
      nodeUuid,
      incarnation,
      status: self && this.facts.draining ? 'LEAVING' : status,
      addresses: { http: httpAddress, grpc: grpcAddress },
      lagMs: Math.round(silentMs + Math.max(0, ...positions.map(({ lagMs }) => lagMs))),
      disk: self ? this.facts.disk : { freeBytes: load?.diskFreeBytes ?? 0, totalBytes: load?.diskTotalBytes ?? 0 },
      version,
    };
  }
}
