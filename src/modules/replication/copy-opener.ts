import type { Epoch } from '../../kernel/epoch.js';
import { META_SHARD } from '../../kernel/ids.js';
import { LogDamagedError } from '../log/log-store.js';
import { BulkPlaces } from './bulk-places.js';
import { toSpec } from './collection-spec.js';
import type { MovePace } from './core/move-pace.js';
import type { CopyPlan, FailoverTimes } from './core/peer-view.js';
import { ShardView, type Fellows } from './fellows.js';
import { LooseStore } from './loose-store.js';
import type { MapService } from './map.service.js';
import type { ReplicaPeers } from './replica-peers.js';
import type { ReplicaIndex } from './replica-ports.js';
import type { ReplicationPorts } from './replication-ports.js';
import { ShardReplica } from './shard-replica.js';
import { TurnShare } from './turn-share.js';

/** What a copy is opened with, and what it tells its node. */
export interface OpenerPorts {
  readonly map: MapService;
  readonly times: FailoverTimes;
  self(): { readonly node: string; readonly bootCount: number };
  peers(): ReplicaPeers;
  fellows(): Fellows;
  plan(shard: number): CopyPlan;
  sweep(shard: number, collectionId: number): void;
  fault(shard: number, error: Error): void;
  durable(shard: number, offset: number): void;
  held(shard: number, held: boolean): void;
  role(shard: number, role: 'primary' | 'follower' | 'candidate', epoch: Epoch): void;
}

/** Opens the copies of this node, each with its index, and connects them to the node's clocks, peers and listeners. */
export class CopyOpener {
  readonly #ports: ReplicationPorts;
  readonly #node: OpenerPorts;
  readonly #bulk = new BulkPlaces();
  readonly #moves: MovePace;
  readonly #turns: TurnShare;

  /** @param moves what copies that are being built elsewhere are sent */
  constructor(ports: ReplicationPorts, moves: MovePace, node: OpenerPorts) {
    this.#ports = ports;
    this.#moves = moves;
    this.#turns = new TurnShare(ports.clock, ports.timers);
    this.#node = node;
  }

  /** @throws LogDamagedError */
  async open(shard: number): Promise<ShardReplica> {
    const { log, hasher, clock, timers, random, logger, events, disk } = this.#ports;
    const node = this.#node;
    const damage = log.openDamages().find((found) => found.shard === shard);
    if (damage !== undefined) throw new LogDamagedError(damage);
    // Nothing is logged while a copy is opened, and all there is gets indexed: entries at the end that are gone (a snapshot, compaction) hold nothing.
    const applied = log.state(shard).tail;
    let index: ReplicaIndex | undefined;
    if (shard !== META_SHARD) {
      const report = await this.openIndex(shard);
      logger.info({ shard, ...report }, 'shard opened');
      index = this.#index(shard);
    }
    const view = new ShardView(node.fellows(), shard);
    const self = node.self();
    return ShardReplica.open(shard, self.node, self.bootCount, applied, {
      log,
      hasher,
      clock,
      timers,
      random,
      times: node.times,
      index,
      peers: node.peers(),
      view: () => view,
      plan: () => node.plan(shard),
      bulk: this.#bulk,
      moves: this.#moves,
      turns: this.#turns,
      report: {
        map: (map) => node.map.accept(map),
        sweep: (collectionId) => node.sweep(shard, collectionId),
        fault: (error) => node.fault(shard, error),
        durable: (offset) => node.durable(shard, offset),
        role: (role, epoch) => node.role(shard, role, epoch),
        held: (held) => node.held(shard, held),
        received: (bytes) => disk?.takes(bytes),
        streamed: (to, entries, bytes) => events.streamed(shard, to, entries, bytes),
        resumed: (rows) => logger.info({ shard, rows }, 'a snapshot goes on from where it was interrupted'),
        broken: (other) => node.fellows().doubt(other),
      },
    });
  }

  /** Opens the index of a copy, or anew: from a checkpoint where there is one of its log, and what the log has beyond. */
  openIndex(shard: number): ReturnType<ReplicationPorts['shards']['open']> {
    const { log, hasher, shards } = this.#ports;
    const loose = (): AsyncIterable<readonly Uint8Array[]> => new LooseStore(log, hasher).entries(shard);
    return shards.open(shard, this.#node.map.current().collections.map(toSpec), undefined, loose);
  }

  #index(shard: number): ReplicaIndex {
    const { shards } = this.#ports;
    return {
      apply: (entries) => shards.apply(shard, entries),
      rewind: (offset) => shards.rewind(shard, offset),
      rebuild: async () => {
        await this.openIndex(shard);
      },
    };
  }
}
