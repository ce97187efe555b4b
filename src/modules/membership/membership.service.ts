import { unreachable } from '../../kernel/assert.js';
import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { Listeners } from '../../kernel/listeners.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { CancelTimer, Timers } from '../../kernel/timers.js';
import { ClusterEntry, type Entered } from './cluster-entry.js';
import type { ClusterRegistry } from './cluster-registry.js';
import { givesWay, namesThisNode, seedText, type BootstrapFacts } from './core/bootstrap.js';
import { Membership } from './core/membership.js';
import type { At, MapMember, MembershipEffect, MembershipInput, PeerEvent } from './core/membership-io.js';
import { INCARNATIONS_PER_BOOT, type NodeLoad, type NodeRecord } from './core/node-record.js';
import { TICK_MS, timingOf, type MembershipTiming } from './core/timing.js';
import { JoinDesk } from './join-desk.js';
import { MembershipCalls } from './membership-calls.js';
import { MembershipRefusedError } from './membership-refused-error.js';
import type {
  Exchange,
  Heartbeat,
  Introduction,
  JoinAnswer,
  JoinRequest,
  MembershipPeers,
  MembershipServer,
} from './membership-peers.js';
import { NoticeLog, type MembershipLogger } from './notice-log.js';
import { peerFacts, type PeerFacts } from './peer-facts.js';

export interface MembershipSettings extends BootstrapFacts {
  /** `host:port` each, as other nodes reach them. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly version: string;
  readonly protocolMin: number;
  readonly protocolMax: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
}

export interface MembershipPorts {
  readonly peers: MembershipPeers;
  readonly registry: ClusterRegistry;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly hasher: Hasher;
  readonly logger: MembershipLogger;
}

const REJOIN_MS = 1_000;
/** How long a leaving node waits for others to have heard it. */
const FAREWELL_MS = 500;

/**
 * Membership of a node: drives the machine, answers other nodes, finds the way into the cluster. Positions of shards pass
 * through as bytes. Listeners are called within the step that caused them and must not throw.
 */
export class MembershipService implements MembershipServer {
  readonly timing: MembershipTiming;
  readonly #settings: MembershipSettings;
  readonly #ports: MembershipPorts;
  readonly #membership: Membership;
  readonly #entry: ClusterEntry;
  readonly #desk: JoinDesk;
  readonly #calls: MembershipCalls;
  readonly #notices: NoticeLog;
  readonly #viewListeners = new Listeners<[records: readonly NodeRecord[]]>();
  readonly #peerListeners = new Listeners<[event: PeerEvent]>();
  readonly #pauseListeners = new Listeners<[ms: number]>();
  readonly #refusedListeners = new Listeners<[error: MembershipRefusedError]>();
  #cancelTick: CancelTimer | undefined;
  #positions: { readonly bytes: Uint8Array; readonly atMs: number } | undefined;
  #load: NodeLoad = { diskFreeBytes: 0, diskTotalBytes: 0, wallMs: 0 };
  #entering = false;
  #stopped = false;

  constructor(settings: MembershipSettings, ports: MembershipPorts) {
    this.#settings = settings;
    this.#ports = ports;
    this.timing = timingOf(settings.heartbeatIntervalMs, settings.heartbeatTimeoutMs);
    const seeds = settings.seeds.filter((seed) => !namesThisNode(seed, settings)).map(seedText);
    this.#membership = new Membership(
      { self: firstRecord(settings), timing: this.timing, seeds: settings.clusterMode ? seeds : [] },
      ports.hasher,
    );
    this.#entry = new ClusterEntry(ports);
    this.#notices = new NoticeLog(ports.logger);
    this.#calls = new MembershipCalls(
      ports,
      this.timing,
      () => this.#introduction(),
      (input) => this.#step(input),
    );
    this.#desk = new JoinDesk(
      this.#membership,
      ports,
      () => this.#introduction(),
      (record) => this.#step({ kind: 'admitted', record }),
    );
  }

  /**
   * Finds the way into the cluster and resolves when this node belongs to one: at once when it did before or makes one.
   * Peers may ask from before on. Undefined: stopped meanwhile.
   * @throws MembershipRefusedError when the cluster does not take it in
   */
  async start(): Promise<Entered | undefined> {
    const entered = await this.#enter(this.#settings);
    if (entered !== undefined) this.#tick();
    return entered;
  }

  /** Tells everybody that this node leaves, and falls silent. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#entry.stop();
    this.#step({ kind: 'status', status: 'LEFT' });
    this.#stopped = true;
    this.#cancelTick?.();
    await this.#calls.exchanged(FAREWELL_MS);
  }

  /** '' while it belongs to none. */
  get clusterId(): string {
    return this.#membership.clusterId;
  }

  get self(): NodeRecord {
    return this.#membership.roster.self;
  }

  /** All members known, this one and those that left lately included, by uuid. */
  view(): readonly NodeRecord[] {
    return this.#membership.roster.view.records();
  }

  /** Equal on every node that sees the same members (replication 8.3). */
  viewDigest(): string {
    return this.#membership.roster.view.digest();
  }

  record(nodeUuid: NodeUuid): NodeRecord | undefined {
    return this.#membership.roster.view.get(nodeUuid);
  }

  /** `host:port` for gRPC: as it says itself, else as the map says. */
  addressOf(nodeUuid: NodeUuid): string | undefined {
    return this.#membership.roster.addressOf(nodeUuid);
  }

  loadOf(nodeUuid: NodeUuid): NodeLoad | undefined {
    if (nodeUuid === this.self.nodeUuid) return { ...this.#load, wallMs: this.#ports.clock.wallMs() };
    return this.#membership.roster.peers.get(nodeUuid)?.told?.load;
  }

  /** What a node told last, and when we heard it by our monotonic clock. */
  positionsOf(nodeUuid: NodeUuid): { readonly bytes: Uint8Array; readonly atMs: number } | undefined {
    if (nodeUuid === this.self.nodeUuid) return this.#positions;
    const told = this.#membership.roster.peers.get(nodeUuid)?.told;
    return told === undefined ? undefined : { bytes: told.positions, atMs: told.atMs };
  }

  factsOf(nodeUuid: NodeUuid): PeerFacts | undefined {
    return peerFacts(this.#membership, nodeUuid, this.#ports.clock.monotonicMs(), this.timing);
  }

  setStatus(status: 'ACTIVE' | 'LEAVING'): void {
    this.#step({ kind: 'status', status });
  }

  /** The map as this node knows it now. */
  setMap(mapEpoch: number, members: readonly MapMember[]): void {
    this.#step({ kind: 'map', mapEpoch, members });
  }

  /** Told with the next heartbeats; `pushNow` does not wait for them. */
  setPositions(bytes: Uint8Array): void {
    this.#positions = { bytes, atMs: this.#ports.clock.monotonicMs() };
    this.#step({ kind: 'positions', positions: bytes });
  }

  setDisk(freeBytes: number, totalBytes: number): void {
    this.#load = { diskFreeBytes: freeBytes, diskTotalBytes: totalBytes, wallMs: 0 };
    this.#step({ kind: 'disk', freeBytes, totalBytes });
  }

  /** Sends a heartbeat to everybody now, at most every 50 ms. */
  pushNow(): void {
    this.#step({ kind: 'pushNow' });
  }

  /** A connection to that node broke: it is asked at once, so that a crash is known in a moment (replication 5.1). */
  doubt(nodeUuid: NodeUuid): void {
    this.#step({ kind: 'doubt', nodeUuid });
  }

  /** Calls `listener` with every changed view, until the returned function is called. */
  onView(listener: (records: readonly NodeRecord[]) => void): () => void {
    return this.#viewListeners.add(listener);
  }

  onPeer(listener: (event: PeerEvent) => void): () => void {
    return this.#peerListeners.add(listener);
  }

  /** This process stood still, or its clocks went apart: primaries revalidate (replication 1.5, 5.4). */
  onPaused(listener: (ms: number) => void): () => void {
    return this.#pauseListeners.add(listener);
  }

  /** The cluster does not want this node any more: the process shall end and say why. */
  onRefused(listener: (error: MembershipRefusedError) => void): () => void {
    return this.#refusedListeners.add(listener);
  }

  onIntroduce(other: Introduction): Introduction {
    if (other.nodeUuid !== this.self.nodeUuid) {
      if (this.clusterId === '') this.#entry.meet(other.grpcAddress);
      else this.#compareClusters(other);
    }
    return this.#introduction();
  }

  async onJoin(request: JoinRequest): Promise<JoinAnswer> {
    if (this.#stopped) return { kind: 'later', detail: 'this node is stopping' };
    return this.#desk.decide(request);
  }

  onHeartbeat(beat: Heartbeat): Heartbeat {
    const effects = this.#step({ kind: 'beat', beat });
    for (const effect of effects) if (effect.kind === 'answerBeat') return effect.beat;
    throw refusal(effects);
  }

  onExchange(exchange: Exchange): readonly NodeRecord[] {
    const effects = this.#step({ kind: 'exchange', exchange });
    for (const effect of effects) if (effect.kind === 'answerExchange') return effect.records;
    throw refusal(effects);
  }

  async #enter(facts: BootstrapFacts): Promise<Entered | undefined> {
    this.#entering = true;
    try {
      const entered = await this.#entry.enter(
        facts,
        () => this.self,
        () => this.#introduction(),
      );
      if (entered === undefined || this.#stopped) return undefined;
      this.#step({ kind: 'entered', clusterId: entered.clusterId, records: entered.records });
      this.#ports.logger.info({ clusterId: entered.clusterId }, `the node ${entered.kind} its cluster`);
      return entered;
    } finally {
      this.#entering = false;
    }
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#cancelTick = this.#ports.timers.after(TICK_MS, () => this.#tick());
    this.#step({ kind: 'tick' });
  }

  #introduction(): Introduction {
    const { nodeId, nodeUuid, bootCount, protocolMin, protocolMax, version, grpcAddress } = this.#settings;
    const clusterId = this.clusterId;
    const standing = clusterId === '' ? { provisional: false, bootstrappedMs: 0 } : this.#ports.registry.standing();
    return { nodeId, nodeUuid, bootCount, clusterId, ...standing, protocolMin, protocolMax, version, grpcAddress };
  }

  #step(input: MembershipInput): readonly MembershipEffect[] {
    if (this.#stopped) return [];
    const effects = this.#membership.step(input, this.#now());
    for (const effect of effects) this.#perform(effect);
    return effects;
  }

  #now(): At {
    const { clock } = this.#ports;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  #perform(effect: MembershipEffect): void {
    switch (effect.kind) {
      case 'heartbeat':
      case 'exchange':
      case 'introduce':
        this.#calls.make(effect);
        return;
      case 'answerBeat':
      case 'answerExchange':
      case 'reject':
        // The caller of the step answers with it.
        return;
      case 'view':
        this.#viewListeners.tell(effect.records);
        return;
      case 'peer':
        this.#peerListeners.tell(effect.event);
        return;
      case 'paused':
        // While it looks for its cluster nothing ticks, and nobody counts on it.
        if (this.#cancelTick === undefined) return;
        this.#ports.logger.warn({ ms: Math.round(effect.ms) }, 'the process stood still or a clock jumped');
        this.#pauseListeners.tell(effect.ms);
        return;
      case 'evicted':
        this.#ports.logger.warn(
          {},
          'the cluster holds that this node left, or its map does not have it; it asks to be taken back',
        );
        void this.#rejoin();
        return;
      case 'foreign':
        this.#compareClusters(effect.other);
        return;
      case 'notice':
        this.#notices.tell(effect.notice);
        return;
      default:
        unreachable(effect);
    }
  }

  /** Two clusters met: the provisional one gives way (replication 9.2). */
  #compareClusters(other: Introduction): void {
    const own = this.#introduction();
    if (own.clusterId === '' || other.clusterId === '' || own.clusterId === other.clusterId) return;
    if (givesWay(own, other)) {
      this.#entry.meet(other.grpcAddress);
      if (!this.#entering) void this.#giveWay(other);
      return;
    }
    if (givesWay(other, own)) return;
    this.#notices.foreign(other);
  }

  async #giveWay(other: Introduction): Promise<void> {
    this.#entering = true;
    this.#ports.logger.warn(
      { clusterId: other.clusterId },
      'an older cluster was found; the provisional one is given up',
    );
    const { status } = this.self;
    this.#step({ kind: 'surrendered' });
    await this.#ports.registry.surrender();
    await this.#untilTaken(async () => {
      // It had its chance to make a cluster.
      const entered = await this.#enter({ ...this.#settings, storedClusterId: '', emptyDirectory: false });
      if (entered !== undefined && status === 'ACTIVE') this.setStatus('ACTIVE');
    });
  }

  async #rejoin(): Promise<void> {
    await this.#untilTaken(async () => {
      while (!this.#stopped && this.#membership.roster.evicted) {
        const { roster } = this.#membership;
        // A node that was removed while it was away sees nobody: those its old map names are asked.
        const addresses = roster.sorted().flatMap(([nodeUuid]) => roster.addressOf(nodeUuid) ?? []);
        const joined = await this.#entry.join(addresses, this.self, this.#settings.bootCount);
        if (joined !== undefined) this.#step({ kind: 'readmitted', records: joined.records });
        else await new Promise<void>((resolve) => void this.#ports.timers.after(REJOIN_MS, resolve));
      }
    });
  }

  async #untilTaken(attempt: () => Promise<unknown>): Promise<void> {
    try {
      await attempt();
    } catch (error) {
      if (!(error instanceof MembershipRefusedError)) throw error;
      this.#ports.logger.error({ reason: error.reason }, error.message);
      this.#refusedListeners.tell(error);
    }
  }
}

function firstRecord(settings: MembershipSettings): NodeRecord {
  const { nodeId, nodeUuid, bootCount, grpcAddress, httpAddress, version, protocolMin, protocolMax } = settings;
  const incarnation = bootCount * INCARNATIONS_PER_BOOT;
  return {
    nodeId,
    nodeUuid,
    incarnation,
    status: 'JOINING',
    grpcAddress,
    httpAddress,
    version,
    protocolMin,
    protocolMax,
  };
}

function refusal(effects: readonly MembershipEffect[]): NodeError {
  for (const effect of effects) if (effect.kind === 'reject') return new NodeError(effect.code, effect.detail);
  return new NodeError('DRAINING', 'this node is stopping');
}
