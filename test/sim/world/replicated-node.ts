import { NO_EPOCH } from '../../../src/kernel/epoch.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import { PeerError, PROTOCOL } from '../../../src/kernel/peer.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { CancelTimer } from '../../../src/kernel/timers.js';
import { entryCollectionId, entryId, entryOp } from '../../../src/modules/log/core/entry-codec.js';
import type { NodeRecord } from '../../../src/modules/membership/core/node-record.js';
import type { MembershipServer } from '../../../src/modules/membership/membership-peers.js';
import { MembershipService } from '../../../src/modules/membership/membership.service.js';
import type { ShardLeader } from '../../../src/modules/replication/core/protocol.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import { BulkPlaces } from '../../../src/modules/replication/bulk-places.js';
import { MovePace } from '../../../src/modules/replication/core/move-pace.js';
import { ShardView } from '../../../src/modules/replication/fellows.js';
import { LogDamagedError } from '../../../src/modules/log/log-store.js';
import { MembershipFellows } from '../../../src/modules/replication/membership-fellows.js';
import type { ReplicaServer } from '../../../src/modules/replication/replica-peers.js';
import { ShardReplica } from '../../../src/modules/replication/shard-replica.js';
import { TurnShare } from '../../../src/modules/replication/turn-share.js';
import { inspectReplica, seedOf } from './inspect.js';
import type { NodePorts, ReplicaInspection, ReplicaNode } from './node.js';

/** Timers as the end-to-end suites have them. */
export const HEARTBEAT_MS = 500;
const TIMEOUT_MS = 3_000;
const TICK_MS = 100;
const PROBE_RELAY_MS = 350;
const CLUSTER = 'simulated';
/** Left behind by a compaction. */
const KEPT_ENTRIES = 3;

/**
 * A node of production classes: a ShardReplica for every copy, and membership; only the map comes from the run's oracle.
 * What ReplicationService does around the copies is done here as it does it.
 */
export class ReplicatedNode implements ReplicaNode {
  readonly replicas: ReplicaServer;
  readonly membership: MembershipServer;
  readonly #ports: NodePorts;
  readonly #service: MembershipService;
  readonly #fellows: MembershipFellows;
  readonly #copies = new Map<number, ShardReplica>();
  readonly #opening = new Set<number>();
  readonly #leaders = new Map<number, ShardLeader>();
  readonly #bulk = new BulkPlaces();
  readonly #moves = new MovePace(2 ** 26);
  #cancelTick: CancelTimer | undefined;
  #leaving = false;
  #stopped = false;

  constructor(ports: NodePorts) {
    this.#ports = ports;
    this.#service = membershipOf(ports);
    this.#fellows = new MembershipFellows(this.#service, () => ports.clock.monotonicMs());
    this.membership = this.#service;
    this.replicas = this.#server();
  }

  async start(): Promise<void> {
    const { placement } = this.#ports;
    this.#learnMap();
    placement.onChange(() => {
      this.#learnMap();
      this.#openPlaced().catch((error: unknown) => this.#ports.fail(error));
      for (const copy of this.#copies.values()) copy.tick();
    });
    this.#service.onPaused(() => {
      for (const copy of this.#copies.values()) copy.paused();
    });
    await this.#service.start();
    this.#service.setStatus('ACTIVE');
    await this.#openPlaced();
    this.#tick();
  }

  async write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    const copy = this.#copies.get(shard);
    if (copy !== undefined) return copy.write(request);
    const hint = this.#leaders.get(shard);
    return { kind: 'redirect', ...(hint === undefined ? {} : { hint }) };
  }

  transfer(shard: number, to: NodeUuid): Promise<void> {
    this.#copies.get(shard)?.transfer(to);
    return Promise.resolve();
  }

  /** Superseded entries older than the last few go, as upkeep does it: who lacks them needs a snapshot (4.7). */
  async compact(shard: number): Promise<void> {
    const { log } = this.#ports;
    const copy = this.#copies.get(shard);
    if (copy === undefined || shard === META_SHARD || copy.fault !== undefined) return;
    const upTo = copy.position.durable - KEPT_ENTRIES;
    if (upTo <= log.state(shard).start.offset) return;
    const live = (offset: number, entry: Uint8Array): boolean => {
      const op = entryOp(entry);
      const row = op === 'UPSERT' || op === 'DELETE' ? copy.row(entryCollectionId(entry), entryId(entry)) : undefined;
      return row !== undefined && !row.loose && row.offset === offset;
    };
    const report = await log.compact(shard, upTo, live, new AbortController().signal, 0, () => copy.compacting(upTo));
    copy.compacted(report.bytes);
  }

  inspect(shard: number): ReplicaInspection | undefined {
    const copy = this.#copies.get(shard);
    return copy && inspectReplica(copy, false);
  }

  view(): readonly NodeRecord[] {
    return this.#service.view();
  }

  async stop(): Promise<void> {
    this.#leaving = true;
    const { clock, timers, log } = this.#ports;
    this.#service.setStatus('LEAVING');
    const until = clock.monotonicMs() + 3_000;
    while (clock.monotonicMs() < until && this.#giveAway()) {
      await new Promise<void>((resolve) => void timers.after(TICK_MS / 2, resolve));
    }
    this.#stopped = true;
    this.#cancelTick?.();
    for (const copy of this.#copies.values()) copy.close();
    await this.#service.stop();
    await log.close();
  }

  /** Hands reigns over while another copy is in sync; false when none is left to hand over. */
  #giveAway(): boolean {
    let moving = false;
    for (const copy of this.#copies.values()) {
      if (copy.role !== 'primary') continue;
      const to = copy.syncedNodes.find((node) => node !== this.#ports.nodeUuid);
      if (to === undefined) continue;
      copy.transfer(to);
      moving = true;
    }
    return moving;
  }

  #learnMap(): void {
    const { placement } = this.#ports;
    const { mapEpoch, members } = placement.nodes();
    this.#service.setMap(mapEpoch, members);
  }

  async #openPlaced(): Promise<void> {
    const { placement, log } = this.#ports;
    const wanted = new Set([...placement.shards(), ...log.shards()]);
    for (const shard of [...wanted].sort((a, b) => a - b)) {
      if (this.#copies.has(shard) || this.#opening.has(shard) || this.#stopped) continue;
      this.#opening.add(shard);
      try {
        await this.#open(shard);
      } catch (error) {
        if (error instanceof LogDamagedError) {
          // A damaged log fails its shard only (replication 2.6); every start says it again.
          this.#ports.count('shard faulted');
          this.#ports.note(`shard ${shard} is faulted: ${error.message}`);
        } else if (!this.#stopped) throw error;
      } finally {
        this.#opening.delete(shard);
      }
    }
  }

  async #open(shard: number): Promise<void> {
    const { log, hasher, clock, timers, random, peers, placement, nodeUuid, identity, note } = this.#ports;
    const damage = log.openDamages().find((found) => found.shard === shard);
    if (damage !== undefined) throw new LogDamagedError(damage);
    const index = shard === META_SHARD ? undefined : this.#ports.index(shard);
    const applied = log.state(shard).tail;
    if (index !== undefined && applied > 0) {
      const entries = await log.scan(shard, 1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      // By the versions of the table, which is ahead of the index, nothing would be left to do.
      await index.apply(this.#ports.bugs.has('replay-by-the-table') ? [] : entries);
    }
    const view = new ShardView(this.#fellows, shard);
    const copy = await ShardReplica.open(shard, nodeUuid, identity.bootCount, applied, {
      log,
      hasher,
      clock,
      timers,
      random,
      times: { heartbeatMs: HEARTBEAT_MS, failoverAfterMs: this.#service.timing.failoverAfterMs },
      index: index && {
        apply: (entries) => index.apply(entries),
        rewind: (offset) => index.rewind(offset),
        rebuild: () => index.rebuild(() => log.scan(shard, 1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)),
      },
      bulk: this.#bulk,
      moves: this.#moves,
      turns: new TurnShare(clock, timers),
      peers,
      view: () => view,
      plan: () => ({
        configured: placement.set(shard),
        leaving: this.#leaving,
        epochFloor: 0,
        room: 'upserts',
        isDropped: () => false,
      }),
      report: {
        map: () => undefined,
        sweep: () => undefined,
        fault: (error) => {
          this.#ports.count('shard faulted');
          note(`shard ${shard} is faulted: ${error.message}`);
        },
        durable: () => undefined,
        role: (role, epoch) => {
          note(`shard ${shard}: ${role} in epoch ${epoch.num}`);
          this.#ports.count(`role ${role}`);
          if (role === 'primary') this.#leaders.set(shard, { shard, epoch, node: nodeUuid });
          timers.soon(() => this.#tell(true));
        },
        held: () => undefined,
        received: () => undefined,
        streamed: () => undefined,
        resumed: () => this.#ports.count('snapshot resumed'),
        broken: (node) => this.#fellows.doubt(node),
      },
    });
    if (this.#stopped) copy.close();
    else this.#copies.set(shard, copy);
  }

  #tick(): void {
    if (this.#stopped) return;
    for (const copy of this.#copies.values()) copy.tick();
    for (const { positions } of this.#fellows.all().values())
      for (const { shard, epoch, leader } of positions.values())
        if (leader !== '' && epoch.num > (this.#leaders.get(shard) ?? { epoch: NO_EPOCH }).epoch.num)
          this.#learn({ shard, epoch, node: leader });
    this.#tell(false);
    this.#cancelTick = this.#ports.timers.after(TICK_MS, () => this.#tick());
  }

  #tell(atOnce: boolean): void {
    if (this.#stopped) return;
    const positions = [...this.#copies.values()].map((copy) => ({ ...copy.standing(), documents: 0 }));
    this.#fellows.tell(positions, atOnce);
  }

  #learn(leader: ShardLeader): void {
    const known = this.#leaders.get(leader.shard);
    if (known === undefined || leader.epoch.num > known.epoch.num) this.#leaders.set(leader.shard, leader);
    this.#copies.get(leader.shard)?.announced(leader);
  }

  #server(): ReplicaServer {
    const { peers, nodeUuid, log } = this.#ports;
    const copies = this.#copies;
    return {
      onFollow: (from, shard, link) => {
        const copy = copies.get(shard);
        if (copy !== undefined) return copy.onFollow(from, link);
        const hint = this.#leaders.get(shard);
        link.send({
          kind: 'answer',
          answer: { kind: 'reject', reason: 'UNKNOWN_SHARD', ...(hint === undefined ? {} : { hint }) },
        });
        link.close();
        return { message: () => undefined, ended: () => undefined };
      },
      onFence: async (from, request) =>
        copies.get(request.shard)?.onFence(from, request) ?? {
          kind: 'refused',
          reason: 'UNKNOWN_SHARD',
          promised: log.promised(request.shard),
        },
      onProbe: async (_from, { shard, epoch, via }) => {
        if (via === undefined || via === nodeUuid)
          return { alive: copies.get(shard)?.couldAcknowledge(epoch) === true };
        try {
          return await peers.probe(via, { shard, epoch }, PROBE_RELAY_MS);
        } catch (error) {
          if (error instanceof PeerError) return { alive: false };
          throw error;
        }
      },
      onPull: async (_from, request) => {
        const copy = copies.get(request.shard);
        if (copy === undefined) throw new PeerError('REJECTED', `shard ${request.shard} has no copy here`);
        return copy.onPull(request);
      },
      onFetch: async (_from, request) => {
        const copy = copies.get(request.shard);
        if (copy === undefined) throw new PeerError('REJECTED', `shard ${request.shard} has no copy here`);
        return copy.onFetch(request);
      },
      onCovers: async (from, request) => copies.get(request.shard)?.onCovers(from, request) ?? { covered: false },
      onAnnounce: (_from, leader) => this.#learn(leader),
    };
  }
}

function membershipOf(ports: NodePorts): MembershipService {
  const { nodeId, nodeUuid, address, identity, clock, timers, hasher, note, membershipPeers } = ports;
  const say = (_fields: object, message: string) => note(message);
  return new MembershipService(
    {
      nodeId,
      nodeUuid,
      advertisedHost: seedOf(address).host,
      grpcPort: seedOf(address).port,
      interfaces: [],
      clusterMode: true,
      seeds: ports.seeds.map(seedOf),
      storedClusterId: CLUSTER,
      emptyDirectory: false,
      bootCount: identity.bootCount,
      grpcAddress: address,
      httpAddress: address,
      version: 'simulated',
      protocolMin: PROTOCOL.min,
      protocolMax: PROTOCOL.max,
      heartbeatIntervalMs: HEARTBEAT_MS,
      heartbeatTimeoutMs: TIMEOUT_MS,
    },
    {
      peers: membershipPeers,
      registry: {
        create: () => Promise.resolve(CLUSTER),
        adopt: () => Promise.resolve(),
        surrender: () => Promise.resolve(),
        register: () => Promise.resolve({ kind: 'joined' }),
        standing: () => ({ provisional: false, bootstrappedMs: 0 }),
      },
      clock,
      timers,
      hasher,
      logger: { info: say, warn: say, error: say },
    },
  );
}
