import { fromUtf8, toHex } from '../../../src/kernel/bytes.js';
import { NO_EPOCH } from '../../../src/kernel/epoch.js';
import { InvariantError } from '../../../src/kernel/assert.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import { versionText } from '../../../src/kernel/version.js';
import {
  decodeEntry,
  entryOffset,
  entryOp,
  entryPayload,
  entryVersion,
} from '../../../src/modules/log/core/entry-codec.js';
import { MembershipRefusedError } from '../../../src/modules/membership/membership-refused-error.js';
import { RECORD_NAMES } from '../../../src/modules/log/core/log-records.js';
import { documentKey, shardKey } from '../../../src/modules/log/core/keys.js';
import { decodeBranches } from '../../../src/modules/replication/core/branch-epochs.js';
import { BRANCHES_ROW } from '../../../src/modules/replication/core/replica-log.js';
import type {
  FenceRequest,
  FollowerMessage,
  PrimaryMessage,
  ProbeAnswer,
} from '../../../src/modules/replication/core/protocol.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import { openIdentity, readIdentity } from '../../../src/modules/replication/node-identity.js';
import { decodeSet } from '../../../src/modules/replication/core/set-codec.js';
import { decodeRow } from '../../../src/modules/shard/core/rows.js';
import { nodeHasher } from '../../../src/platform/crypto/node-hasher.js';
import { checkAcknowledgement } from '../checkers/acknowledged.js';
import type { Call } from '../checkers/deadlines.js';
import { LogOrder } from '../checkers/log-order.js';
import { epochText } from '../checkers/observation.js';
import type {
  Acknowledgement,
  Observation,
  ObservedCopy,
  ObservedDocument,
  Operation,
} from '../checkers/observation.js';
import type { Violation } from '../checkers/violation.js';
import { SimDisk } from './disk.js';
import type { RunningNode, SimHost } from './host.js';
import { MapOracle } from './map-oracle.js';
import type { PlacedMap } from './map-oracle.js';
import { MemoryIndex } from './memory-index.js';
import { addressOf, Network } from './network.js';
import type { Endpoint } from './network.js';
import type { ClusterShape, NodeFactory } from './node.js';
import { SimProcess } from './process.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';
import { Trace } from './trace.js';

export interface WorldOptions {
  readonly seed: number;
  readonly hosts: number;
  /** Copies of each shard, by shard. */
  readonly replicas: ReadonlyMap<number, number>;
  readonly strictShards: ReadonlySet<number>;
  readonly factory: NodeFactory;
  readonly bugs: ReadonlySet<string>;
  /** The nodes make their map themselves (META_SHARD, planner and operations); undefined: the oracle gives them one. */
  readonly cluster?: ClusterShape | undefined;
  /** Lines of the trace as they are written. */
  readonly print?: ((line: string) => void) | undefined;
}

/** 2024-01-01: wall clocks begin about here. */
const WALL_MS = 1_704_067_200_000;
/** A violation seldom comes alone; the first ones tell the story. */
const VIOLATIONS_MAX = 20;
/** How long after a pause a process is not expected to be right. */
const AWAKE_MS = 4_000;
/** An entry that was appended is on the disk within this, however slow that is. */
const SET_LOGGED_MS = 2_000;

/** Everything of one run: hosts, network, map, and what was seen of them. */
export class World {
  readonly random: SeededRandom;
  readonly trace: Trace;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly hosts: readonly SimHost[];
  readonly map: MapOracle;
  readonly options: WorldOptions;
  readonly counters = new Map<string, number>();
  readonly violations: Violation[] = [];
  readonly operations: Operation[] = [];
  readonly acknowledgements: Acknowledgement[] = [];
  readonly calls: (Call & { readonly process: SimProcess })[] = [];
  /** Told to stop, and not gone yet. */
  readonly stopping = new Set<SimHost>();
  /** Disks that are gone. */
  readonly destroyed = new Set<NodeUuid>();
  /** A process that ends is started again, as a supervisor does; not while faults are made. */
  supervised = false;
  readonly #logs = new LogOrder();
  /** Node, shard and map epoch of every SET entry that was stored. */
  /** By node and shard, under which the log is kept. */
  readonly #generations = new Map<string, number>();
  /** Entries whose result a client was given. */
  readonly #answeredPlaces = new Set<string>();
  /** What lay on disks that are gone: an acknowledgement may be on its way from them. */
  readonly #remains = new Map<NodeUuid, SimDisk>();
  readonly #retired = new Set<SimHost>();
  readonly #setsLogged = new Set<string>();
  #processes = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = new SeededRandom(options.seed, 'world');
    this.trace = new Trace(options.print);
    this.scheduler = new Scheduler(this.random.fork('scheduler'), (process, error) => this.#onError(process, error));
    this.network = new Network({
      scheduler: this.scheduler,
      random: this.random.fork('network'),
      note: (who, line) => this.note(who, line),
      count: (what) => this.count(what),
      onError: (process, error) => this.#onError(process, error),
      tap: {
        answered: (kind, _asker, answerer, request, answer) => this.#answered(kind, answerer, request, answer),
        streamed: (_from, _to, _shard, message) => this.#streamed(message as FollowerMessage | PrimaryMessage),
      },
    });
    this.hosts = Array.from({ length: options.hosts }, (_, i) => this.#makeHost(`n${i + 1}`));
    this.map = new MapOracle(
      this.#firstMap(),
      this.hosts.map(({ name }) => name),
      options.strictShards,
    );
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  note(who: string, line: string): void {
    this.trace.write(this.scheduler.nowUs, who, line);
  }

  count(what: string): void {
    this.counters.set(what, (this.counters.get(what) ?? 0) + 1);
  }

  report(violations: readonly Violation[]): void {
    for (const violation of violations) {
      if (this.violations.length >= VIOLATIONS_MAX) return;
      this.violations.push(violation);
      this.note('!', `${violation.rule} ${violation.detail}`);
    }
  }

  host(name: string): SimHost {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  hostOf(uuid: NodeUuid): SimHost | undefined {
    return this.hosts.find((host) => host.nodeUuid === uuid);
  }

  up(): readonly SimHost[] {
    return this.hosts.filter(({ running }) => running?.node !== undefined);
  }

  /** Runs the world for so long, sampling nothing. */
  async pass(ms: number): Promise<void> {
    await this.scheduler.run(this.nowMs + ms);
  }

  start(host: SimHost): void {
    if (host.running !== undefined || this.#retired.has(host)) return;
    host.starts++;
    this.count('start');
    this.note(host.name, `starts (${host.starts})`);
    const process = new SimProcess(++this.#processes, host.name, this.scheduler, host.hardware);
    const running: RunningNode = { process, indexes: new Map(), node: undefined, failed: false, resumedMs: -AWAKE_MS };
    host.running = running;
    this.#boot(host, running).catch((error: unknown) => {
      if (process.alive) this.#exit(host, running, error);
    });
  }

  /** SIGKILL; what was not synced may be lost or not. */
  crash(host: SimHost): void {
    if (host.running === undefined) return;
    this.count('crash');
    this.note(host.name, 'is killed');
    this.#bury(host, host.running);
    host.disk.crash(this.random.below(2));
    this.#recall(host);
  }

  /** SIGTERM. */
  stop(host: SimHost): void {
    const { running } = host;
    if (running?.node === undefined) return;
    this.count('stop');
    this.note(host.name, 'is told to stop');
    this.stopping.add(host);
    running.node.stop().then(
      () => {
        if (!running.process.alive) return;
        this.note(host.name, 'has stopped');
        this.#bury(host, running);
        host.disk.crash();
        this.#recall(host);
      },
      (error: unknown) => this.#onError(running.process, error),
    );
  }

  /** It is gone for good, its disk with it: nothing starts it again. */
  retire(host: SimHost): void {
    this.crash(host);
    this.note(host.name, 'is taken away');
    this.#retired.add(host);
  }

  /** SIGSTOP. */
  pause(host: SimHost): void {
    if (host.running === undefined || host.running.process.paused) return;
    this.count('pause');
    this.note(host.name, 'is paused');
    host.running.process.pause();
    this.network.watchPause(host.running.process);
  }

  /** SIGCONT. */
  resume(host: SimHost): void {
    if (host.running?.process.paused !== true) return;
    this.note(host.name, 'goes on');
    host.running.resumedMs = this.nowMs;
    host.running.process.resume();
  }

  /** The disk is replaced by an empty one; the node must be down. */
  wipe(host: SimHost): void {
    this.crash(host);
    this.count('wipe');
    this.note(host.name, 'loses its disk');
    this.destroyed.add(host.nodeUuid);
    this.#remains.set(host.nodeUuid, host.disk.remains());
    host.disk.wipe();
    host.identity = this.random.bytes(16);
    host.nodeUuid = toHex(host.identity);
    if (this.options.cluster !== undefined) return;
    this.map.register({ nodeId: host.name, nodeUuid: host.nodeUuid, address: addressOf(host.name) });
    // What the old disk knew of the map is gone with it.
    this.map.teach(host.name);
  }

  /** Both clocks run at another speed from now on. */
  drift({ name, hardware }: SimHost, rate: number): void {
    const gained = this.nowMs * (hardware.rate - rate);
    hardware.wallOffsetMs += gained;
    hardware.monotonicOffsetMs += gained;
    hardware.rate = rate;
    this.note(name, `has clocks that run at ${rate.toFixed(4)}`);
  }

  /** One bit of the payload of a stored document is another one; false when there is none. */
  flip(host: SimHost, shard: number, offset: number): boolean {
    const entry = host.disk.entry(shard, offset);
    const length = entry === undefined || entryOp(entry) !== 'UPSERT' ? 0 : entryPayload(entry).length;
    if (entry === undefined || length === 0) return false;
    this.count('bit flipped');
    this.note(host.name, `has a damaged entry at offset ${offset} of shard ${shard}`);
    return host.disk.flipEntry(shard, offset, entry.length - 1 - this.random.below(length));
  }

  /** Its superseded entries go. */
  compact(host: SimHost, shard: number): void {
    const { running } = host;
    running?.node?.compact?.(shard).then(
      () => this.count('compaction'),
      (error: unknown) => {
        // What a failed disk does to its process is known already.
        if (running.process.alive && !running.failed) this.note(host.name, `compacts no further: ${String(error)}`);
      },
    );
  }

  /** Both directions between every host of one group and every other. */
  partition(group: readonly SimHost[]): void {
    this.note('net', `cut off: ${group.map(({ name }) => name).join(' ')}`);
    for (const inside of group)
      for (const outside of this.hosts) {
        if (group.includes(outside)) continue;
        this.network.block(inside.name, outside.name);
        this.network.block(outside.name, inside.name);
      }
  }

  block(from: SimHost, to: SimHost): void {
    this.note('net', `blocked: ${from.name} > ${to.name}`);
    this.network.block(from.name, to.name);
  }

  /** Every path is open again; other faults of paths stay. */
  connect(): void {
    this.note('net', 'every path is open');
    for (const path of this.network.paths()) this.network.unblock(path.from, path.to);
  }

  reaches(from: SimHost, to: SimHost): boolean {
    return from === to || !this.network.path(from.name, to.name).faults.blocked;
  }

  /** Reaches more than half of all running hosts both ways: the map can be read and changed from here. */
  hasMajority(host: SimHost): boolean {
    const reached = this.hosts.filter(
      (other) =>
        other.running !== undefined &&
        !other.running.process.paused &&
        this.reaches(host, other) &&
        this.reaches(other, host),
    );
    return 2 * reached.length > this.hosts.length;
  }

  /** Makes a write at one node, and watches what it says. */
  async write(endpoint: Endpoint, operation: Operation, request: WriteRequest): Promise<WriteOutcome> {
    const { process, node } = endpoint;
    const askedMs = this.nowMs;
    const at = this.calls.length;
    const what = `write ${operation.index} on ${process.host}`;
    this.calls.push({ what, startedMs: askedMs, endedMs: undefined, pausedMs: 0, bereft: false, process });
    const outcome = await node.write(operation.shard, request);
    this.calls[at] = { ...this.calls[at], endedMs: this.nowMs };
    if (outcome.kind === 'refused') this.count(`write ${outcome.code}`);
    if (outcome.kind === 'written' && process.alive) {
      const place = `${operation.shard}|${outcome.epoch}|${outcome.offset}`;
      if (this.#answeredPlaces.has(place)) this.count('idempotent replay');
      this.#answeredPlaces.add(place);
      const ack = this.#acknowledgement(endpoint, operation, request, outcome, askedMs);
      this.acknowledgements.push(ack);
      this.note(process.host, `acknowledges ${operation.index} ${ack.level} ${ack.epoch}:${ack.offset} ${ack.version}`);
      this.count(`acknowledged ${ack.level}`);
      this.report(checkAcknowledgement(ack));
      this.#expectSetLogged(endpoint, operation);
    }
    return outcome;
  }

  /** What every disk and node shows now. `documents`: with their rows, which takes longer. */
  async observe(documents: boolean): Promise<Observation> {
    const copies: ObservedCopy[] = [];
    const views = new Map<string, string>();
    for (const host of this.hosts) {
      const view = host.running?.node?.view();
      // Who left is forgotten by each in its own time.
      if (view !== undefined) views.set(host.name, JSON.stringify(view.filter(({ status }) => status !== 'LEFT')));
      for (const shard of this.map.shards()) {
        const copy = await this.#observeCopy(host, shard, documents);
        if (copy !== undefined) copies.push(copy);
      }
    }
    return { atMs: this.nowMs, copies, views };
  }

  /** How everything stands, in words: what one wants to see when it does not come right. */
  async describe(): Promise<readonly string[]> {
    const { copies } = await this.observe(false);
    const name = (uuid: NodeUuid) => this.hostOf(uuid)?.name ?? (uuid === '' ? '-' : `gone:${uuid.slice(0, 6)}`);
    return copies.map(({ host, shard, up, tail, lastEpoch, inspection }) => {
      const log = `shard ${shard} on ${host}${up ? '' : ' (down)'}: log to ${tail} in ${epochText(lastEpoch)}`;
      if (inspection === undefined) return log;
      const { role, epoch, leader, promised, set, learners, highWaterMark, applied, inSync, loose } = {
        learners: this.map.placed(shard).learners,
        ...inspection,
      };
      return [
        `${log}, ${role} in ${epochText(epoch)} of ${name(leader)}, promised ${epochText(promised)}`,
        `set ${set.mapEpoch} ${set.members.map(name).join('+')}, learners ${learners.map(name).join('+')}`,
        `hwm ${highWaterMark}, applied ${applied}, in sync ${inSync.map(name).join('+')}, itself ${inspection.selfInSync}, loose ${loose}`,
        ...(inspection.faulted ? ['faulted'] : []),
      ].join('; ');
    });
  }

  /** Names the start of a copy's process, for the checks over time. */
  startOf(copy: ObservedCopy): string {
    return `${copy.host}#${this.host(copy.host).starts}`;
  }

  #makeHost(name: string): SimHost {
    const random = this.random.fork(name);
    const identity = random.bytes(16);
    const disk = new SimDisk(this.scheduler, random.fork('disk'), nodeHasher);
    disk.faults.lying = this.options.bugs.has('sync-lies');
    if (this.options.bugs.has('promise-not-kept')) disk.faults.forgets = isPromise;
    return {
      name,
      hardware: {
        wallOffsetMs: WALL_MS + random.between(-200, 200),
        rate: 1 + random.between(-0.0005, 0.0005),
        monotonicOffsetMs: random.between(1_000, 1_000_000),
      },
      disk,
      nodeUuid: toHex(identity),
      identity,
      running: undefined,
      starts: 0,
      slowness: { minMs: 0.1, maxMs: random.between(0.5, 8) },
    };
  }

  #firstMap(): PlacedMap {
    if (this.options.cluster !== undefined) return { mapEpoch: 0, shards: new Map(), nodes: [] };
    const mapEpoch = 1;
    const shards = [...this.options.replicas].map(([shard, replicas], i) => {
      const members = Array.from(
        { length: Math.min(replicas, this.hosts.length) },
        (_, r) => this.hosts[(i + r) % this.hosts.length].nodeUuid,
      );
      return [shard, { set: { mapEpoch, members }, learners: [] }] as const;
    });
    const nodes = this.hosts.map(({ name, nodeUuid }) => ({ nodeId: name, nodeUuid, address: addressOf(name) }));
    return { mapEpoch, shards: new Map(shards), nodes };
  }

  async #boot(host: SimHost, running: RunningNode): Promise<void> {
    const { process } = running;
    const { nodeUuid, identity: fresh } = host;
    const random = this.random.fork(`${host.name} ${host.starts}`);
    const log = await host.disk.open(process, {
      onFailure: (error) => {
        running.failed = true;
        this.#exit(host, running, error);
      },
      onWritten: (shards) => this.#written(host, nodeUuid, shards),
    });
    const identity =
      this.options.cluster !== undefined
        ? (readIdentity(log) ?? { nodeUuid: fresh, bootCount: 0 })
        : await openIdentity(log, { bytes: () => fresh });
    if (!process.alive) return;
    const node = this.options.factory({
      nodeId: host.name,
      address: addressOf(host.name),
      identity,
      nodeUuid,
      clock: process.clock,
      timers: process.timers,
      random: random.fork('node'),
      hasher: nodeHasher,
      log,
      peers: this.network.replicaPeers(process, nodeUuid),
      membershipPeers: this.network.membershipPeers(process),
      index: (shard) => {
        let index = running.indexes.get(shard);
        if (index === undefined) {
          index = new MemoryIndex(this.scheduler, process, random.fork(`index ${shard}`), host.slowness);
          running.indexes.set(shard, index);
        }
        return index;
      },
      placement: this.map.placementOf(host.name, nodeUuid),
      calls: this.network.nodeCalls(process),
      learned: (map) => this.map.follow(map),
      seeds: this.hosts.map(({ name }) => addressOf(name)),
      bugs: this.options.bugs,
      fail: (error) => {
        if (process.alive) this.#exit(host, running, error);
      },
      note: (line) => this.note(host.name, line),
      count: (what) => this.count(what),
    });
    running.node = node;
    this.network.attach({ process, nodeUuid, node });
    await node.start();
  }

  /** The process ends by itself, as it must when its log fails (replication 2.6). */
  #exit(host: SimHost, running: RunningNode, error: unknown): void {
    const unwanted = error instanceof MembershipRefusedError;
    if (error instanceof InvariantError || !(running.failed || unwanted)) this.#onError(running.process, error);
    this.count('exit');
    this.note(host.name, `exits: ${error instanceof Error ? error.message : String(error)}`);
    this.scheduler.in(this.random.between(0, 20), undefined, () => {
      if (host.running === running) this.crash(host);
    });
  }

  #bury(host: SimHost, running: RunningNode): void {
    running.process.kill();
    this.stopping.delete(host);
    this.network.detach(running.process);
    host.running = undefined;
    if (this.supervised) this.scheduler.in(500, undefined, () => this.start(host));
    for (const [at, call] of this.calls.entries())
      if (call.process === running.process && call.endedMs === undefined) this.calls[at] = { ...call, bereft: true };
  }

  /** What the disk forgot is no part of its logs. */
  #recall(host: SimHost): void {
    for (const shard of this.map.shards()) {
      const state = host.disk.logState(shard);
      if (state !== undefined) this.#logs.cut(host.nodeUuid, shard, state.tail);
    }
  }

  #onError(process: SimProcess | undefined, error: unknown): void {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.report([{ rule: 'INVARIANT', detail: `${process?.host ?? 'the world'}: ${detail}` }]);
    const host = process === undefined ? undefined : this.host(process.host);
    if (host?.running !== undefined && host.running.process === process) this.crash(host);
  }

  /** A batch came to lie on a disk. */
  #written(host: SimHost, nodeUuid: NodeUuid, written: ReadonlyMap<number, readonly Uint8Array[]>): void {
    for (const [shard, entries] of written) {
      const state = host.disk.logState(shard);
      if (state === undefined) continue;
      // Put back in its place, the end of the log being where it was (replication 2.12).
      if (entries.length > 0 && entryOffset(entries[entries.length - 1]) < state.tail) {
        this.count('entry restored');
        continue;
      }
      const first = entries.length === 0 ? state.tail : decodeEntry(entries[0]).offset - 1;
      const generation = this.#generations.get(`${nodeUuid}|${shard}`) ?? state.generation;
      if (generation !== state.generation) this.count('snapshot flip');
      this.#generations.set(`${nodeUuid}|${shard}`, state.generation);
      this.#logs.settle(nodeUuid, shard, {
        before: first,
        start: state.start.offset,
        generation: state.generation,
      });
      for (const bytes of entries) {
        const { epoch, offset, op, collectionId, id, version, origin, payload } = decodeEntry(bytes);
        if (op === 'SET') this.#setsLogged.add(`${nodeUuid}|${shard}|${decodeSet(payload).mapEpoch}`);
        this.count(`entry ${op}`);
        this.report(
          this.#logs.append({
            nodeUuid,
            shard,
            epoch,
            offset,
            op,
            document: op === 'UPSERT' || op === 'DELETE' ? `${collectionId}/${id}` : '',
            version: versionText(version),
            merged: origin !== undefined,
            bytes,
          }),
        );
      }
    }
  }

  /** Rare paths of a stream. */
  #streamed(message: FollowerMessage | PrimaryMessage): void {
    switch (message.kind) {
      case 'answer':
        this.count(
          `hello ${message.answer.kind}${message.answer.kind === 'reject' ? ` ${message.answer.reason}` : ''}`,
        );
        return;
      case 'offer':
        if (message.offer.entries.length > 0) this.count('loose rows offered');
        return;
      case 'chunk':
        this.count('snapshot chunk');
        return;
      case 'handOver':
        this.count('hand over');
        return;
      default:
    }
  }

  #answered(kind: string, answerer: Endpoint, request: unknown, answer: unknown): void {
    if (kind === 'pull') this.count('adoption pull');
    if (kind === 'probe' && (answer as ProbeAnswer).alive) this.count('probe alive');
    if (kind !== 'fence') return;
    const { kind: outcome, reason } = answer as { kind: string; reason?: string };
    this.count(`fence ${reason ?? outcome}`);
    if (outcome !== 'granted') return;
    const { shard, epoch } = request as FenceRequest;
    this.report(this.#logs.granted(answerer.nodeUuid, shard, epoch));
  }

  /** S8: a strict shard counts by a SET entry of its primary's log (replication 9.6), which may be on its way to the disk. */
  #expectSetLogged({ process, node, nodeUuid }: Endpoint, { shard, index }: Operation): void {
    const set = node.inspect(shard)?.set;
    if (set === undefined || set.mapEpoch <= 1 || !this.map.isStrict(shard)) return;
    const entry = `${nodeUuid}|${shard}|${set.mapEpoch}`;
    if (this.#setsLogged.has(entry)) return;
    this.scheduler.in(SET_LOGGED_MS, undefined, () => {
      if (this.#setsLogged.has(entry) || !process.alive) return;
      const detail = `write ${index} was acknowledged by a set that the log of ${process.host} does not name, of map epoch ${set.mapEpoch}`;
      this.report([{ rule: 'S8', detail }]);
    });
  }

  #acknowledgement(
    endpoint: Endpoint,
    operation: Operation,
    request: WriteRequest,
    outcome: Extract<WriteOutcome, { kind: 'written' }>,
    askedMs: number,
  ): Acknowledgement {
    const { shard } = operation;
    const inspection = endpoint.node.inspect(shard);
    const version = versionText(outcome.version);
    return {
      operation,
      atMs: this.nowMs,
      nodeUuid: endpoint.nodeUuid,
      askedMs,
      version,
      epoch: outcome.epoch,
      tag: outcome.reign,
      offset: outcome.offset,
      reign: inspection?.epoch ?? NO_EPOCH,
      strict: this.map.isStrict(shard),
      level: request.level,
      set: inspection?.set.members ?? [],
      holders: [...this.hosts.map(({ nodeUuid, disk }) => [nodeUuid, disk] as const), ...this.#remains]
        .filter(([, disk]) => this.#holds(disk, shard, request, version, outcome))
        .map(([nodeUuid]) => nodeUuid),
      afterFailure: this.host(endpoint.process.host).running?.failed === true,
    };
  }

  #holds(
    disk: SimDisk,
    shard: number,
    { collectionId, id }: WriteRequest,
    version: string,
    { offset, epoch }: { readonly offset: number; readonly epoch: number },
  ): boolean {
    const entry = disk.entry(shard, offset);
    if (entry !== undefined) {
      const decoded = decodeEntry(entry);
      if (decoded.epoch.num === epoch && versionText(decoded.version) === version) return true;
    }
    const row = disk.value(documentKey(disk.generationOf(shard), shard, collectionId, id));
    return row !== undefined && versionText(decodeRow(row).version) >= version;
  }

  async #observeCopy(host: SimHost, shard: number, documents: boolean): Promise<ObservedCopy | undefined> {
    const { running, disk, nodeUuid } = host;
    const inspection = running?.node?.inspect(shard);
    const state = disk.logState(shard);
    if (state === undefined || (state.tail === 0 && inspection === undefined)) return undefined;
    const indexed = new Map<string, string>();
    for (const [document, { version }] of running?.indexes.get(shard)?.documents ?? [])
      indexed.set(document, versionText(version));
    return {
      nodeUuid,
      host: host.name,
      shard,
      up: running?.node !== undefined && !running.process.paused,
      awake: running !== undefined && !running.process.paused && this.nowMs - running.resumedMs > AWAKE_MS,
      tail: state.tail,
      lastEpoch: state.epoch,
      chain: toHex(state.chain),
      start: state.start.offset,
      history: state.history,
      branches: decodeBranches(disk.value(shardKey(shard, BRANCHES_ROW))),
      entries: documents && this.map.isStrict(shard) ? await this.#entries(host, shard) : new Map(),
      documents: documents ? await this.#documents(host, shard) : [],
      indexed,
      inspection,
    };
  }

  async #entries(host: SimHost, shard: number): Promise<ReadonlyMap<number, string>> {
    const stored = await host.disk.entries(shard);
    return new Map(stored.map(({ offset, bytes }) => [offset, versionText(entryVersion(bytes))]));
  }

  async #documents(host: SimHost, shard: number): Promise<readonly ObservedDocument[]> {
    const stored = await host.disk.documents(shard);
    return stored.map(({ collectionId, id, version, tombstone, offset }) => {
      const entry = host.disk.entry(shard, offset);
      const text = versionText(version);
      const readable = entry !== undefined && entryOp(entry) === 'UPSERT' && versionText(entryVersion(entry)) === text;
      return {
        document: `${collectionId}/${id}`,
        version: text,
        tombstone,
        payload: readable ? payloadHash(entryPayload(entry)) : undefined,
      };
    });
  }
}

/** Whether a key is that of a shard's promise. */
function isPromise(key: Uint8Array): boolean {
  return key[0] === 0x6d && fromUtf8(key.subarray(6)) === RECORD_NAMES.promise;
}

/** Short name of a payload, for comparisons. */
export function payloadHash(payload: Uint8Array): string {
  return nodeHasher.crc32(payload).toString(16);
}
