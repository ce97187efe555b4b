import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { Registration } from '../cluster-registry.js';
import type { SeedAddress } from '../core/bootstrap.js';
import type { MapMember } from '../core/membership-io.js';
import { isUp, type NodeRecord } from '../core/node-record.js';
import { MembershipService } from '../membership.service.js';
import { VirtualNetwork } from './virtual-network.js';
import { VirtualProcess, VirtualTime } from './virtual-time.js';

/** What a data directory holds that membership cares for. */
interface Disk {
  nodeUuid: string;
  bootCount: number;
  clusterId: string;
  empty: boolean;
}

interface SharedMap {
  readonly bootstrappedMs: number;
  epoch: number;
  members: readonly MapMember[];
}

export interface VirtualClusterOptions {
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
}

const PORT = 9090;
const addressOf = (host: string): string => `${host}:${PORT}`;

/** Nodes named n1, n2, … in virtual time, with a map that every node learns a moment after it changed. */
export class VirtualCluster {
  readonly time = new VirtualTime();
  readonly network = new VirtualNetwork(this.time);
  readonly nodes = new Map<string, VirtualNode>();
  readonly maps = new Map<string, SharedMap>();
  readonly options: VirtualClusterOptions;
  /** The map cannot change. */
  frozen = false;
  #uuids = 0;

  constructor(options: VirtualClusterOptions = {}) {
    this.options = options;
  }

  node(name: string): VirtualNode {
    let node = this.nodes.get(name);
    if (node === undefined) this.nodes.set(name, (node = new VirtualNode(this, name)));
    return node;
  }

  /** Starts n1 … n`count`, each with all others as seeds, and lets them find each other. */
  async start(count: number): Promise<readonly VirtualNode[]> {
    const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
    const nodes = names.map((name) => this.node(name));
    for (const node of nodes) node.start(names);
    await this.time.pass(30_000, () => nodes.every((node) => node.service.self.status === 'ACTIVE'));
    await this.time.pass(5_000);
    return nodes;
  }

  uuid(): string {
    return (0x1000 + this.#uuids++ * 7919).toString(16).padStart(32, '0');
  }

  changeMap(clusterId: string, change: (members: readonly MapMember[]) => readonly MapMember[]): void {
    const map = this.maps.get(clusterId)!;
    map.members = change(map.members);
    map.epoch++;
    for (const node of this.nodes.values()) this.time.in(5, node.process, () => node.learnMap());
  }

  /** Whether all these nodes hold the same of who has not left. */
  agree(nodes: readonly VirtualNode[]): boolean {
    const views = nodes.map((node) => JSON.stringify(node.members()));
    return views.every((view) => view === views[0]);
  }
}

export class VirtualNode {
  address: string;
  readonly disk: Disk;
  process: VirtualProcess;
  service!: MembershipService;
  /** Why the cluster did not take it. */
  refused: Error | undefined;
  readonly events: string[] = [];
  readonly logged: string[] = [];
  wallOffsetMs = 0;
  readonly #cluster: VirtualCluster;
  #seeds: readonly string[] = [];

  constructor(
    cluster: VirtualCluster,
    readonly name: string,
  ) {
    this.#cluster = cluster;
    this.address = addressOf(name);
    this.process = new VirtualProcess(cluster.time);
    this.disk = { nodeUuid: cluster.uuid(), bootCount: 0, clusterId: '', empty: true };
  }

  get uuid(): string {
    return this.disk.nodeUuid;
  }

  /** `status` of each member that has not left, by node id. */
  members(): Readonly<Record<string, string>> {
    const members = this.service.view().filter(({ status }) => status !== 'LEFT');
    return Object.fromEntries(members.map(({ nodeId, status, incarnation }) => [nodeId, `${status} ${incarnation}`]));
  }

  statusOf(other: VirtualNode): string | undefined {
    return this.service.record(other.uuid)?.status;
  }

  up(): readonly NodeRecord[] {
    return this.service.view().filter(({ status }) => isUp(status));
  }

  /** A new process on this disk, known as `nodeId`. */
  start(seeds: readonly string[] = this.#seeds, nodeId = this.name): void {
    this.#seeds = seeds;
    this.disk.bootCount++;
    const process = new VirtualProcess(this.#cluster.time);
    process.wallOffsetMs += this.wallOffsetMs;
    this.process = process;
    this.service = this.#makeService(seeds, nodeId, process);
    const { service } = this;
    this.#cluster.network.listen(this.address, process, service);
    service.onPeer((event) => {
      const name = [...this.#cluster.nodes.values()].find(({ uuid }) => uuid === event.nodeUuid)?.name ?? '?';
      if (event.kind === 'status') this.events.push(`${name} ${event.status}`);
      else if (event.kind === 'refused') this.events.push(`${name} refused`);
    });
    service.onPaused(() => this.events.push('paused'));
    service.onRefused((error) => (this.refused = error));
    void service.start().then(
      (entered) => {
        if (entered === undefined || !process.alive) return;
        this.learnMap();
        // A moment for opening shards.
        process.timers.after(10, () => service.setStatus('ACTIVE'));
      },
      (error: unknown) => (this.refused = error as Error),
    );
  }

  /** Its next process listens on another host. */
  moveTo(host: string): void {
    this.address = addressOf(host);
  }

  kill(): void {
    this.process.alive = false;
  }

  async stop(): Promise<void> {
    this.service.setStatus('LEAVING');
    await this.#cluster.time.pass(100);
    const stopped = this.service.stop();
    await this.#cluster.time.pass(600);
    await stopped;
    this.kill();
  }

  /** A new data directory in the place of the old one. */
  wipe(): void {
    Object.assign(this.disk, { nodeUuid: this.#cluster.uuid(), bootCount: 0, clusterId: '', empty: true });
  }

  learnMap(): void {
    const map = this.#cluster.maps.get(this.service.clusterId);
    if (map !== undefined) this.service.setMap(map.epoch, map.members);
  }

  #makeService(seeds: readonly string[], nodeId: string, process: VirtualProcess): MembershipService {
    const cluster = this.#cluster;
    const { disk, address, logged } = this;
    const [host] = address.split(':');
    const log = (_: object, message: string): void => void logged.push(message);
    return new MembershipService(
      {
        nodeId,
        nodeUuid: disk.nodeUuid,
        advertisedHost: host,
        grpcPort: PORT,
        interfaces: [],
        clusterMode: seeds.length > 0,
        seeds: seeds.map((host): SeedAddress => ({ host, port: PORT })),
        storedClusterId: disk.clusterId,
        emptyDirectory: disk.empty,
        bootCount: disk.bootCount,
        grpcAddress: address,
        httpAddress: `${host}:8080`,
        version: '1.0.0',
        protocolMin: 1,
        protocolMax: 1,
        heartbeatIntervalMs: cluster.options.intervalMs ?? 2_000,
        heartbeatTimeoutMs: cluster.options.timeoutMs ?? 10_000,
      },
      {
        peers: cluster.network.peers(address, process),
        clock: process.clock,
        timers: process.timers,
        hasher: nodeHasher,
        logger: { info: log, warn: log, error: log },
        registry: {
          create: async () => {
            const clusterId = `cluster-of-${disk.nodeUuid}`;
            const bootstrappedMs = process.clock.wallMs();
            const member = { nodeUuid: disk.nodeUuid, nodeId, address };
            cluster.maps.set(clusterId, { bootstrappedMs, epoch: 1, members: [member] });
            Object.assign(disk, { clusterId, empty: false });
            return clusterId;
          },
          adopt: async (clusterId) => void Object.assign(disk, { clusterId, empty: false }),
          surrender: async () => void Object.assign(disk, { clusterId: '', empty: true }),
          register: async (record, replaces): Promise<Registration> => {
            if (cluster.frozen) return { kind: 'later', detail: 'the map has no majority' };
            const member = { nodeUuid: record.nodeUuid, nodeId: record.nodeId, address: record.grpcAddress };
            const gone = [record.nodeUuid, replaces];
            cluster.changeMap(disk.clusterId, (members) => [
              ...members.filter(({ nodeUuid }) => !gone.includes(nodeUuid)),
              member,
            ]);
            return { kind: 'joined' };
          },
          standing: () => {
            const map = cluster.maps.get(disk.clusterId);
            return {
              provisional: disk.bootCount === 1 && map?.members.length === 1,
              bootstrappedMs: map?.bootstrappedMs ?? 0,
            };
          },
        },
      },
    );
  }
}
