import { InvariantError } from '../../../src/kernel/assert.js';
import { NodeError } from '../../../src/kernel/errors.js';
import { PeerError } from '../../../src/kernel/peer.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { MembershipPeers } from '../../../src/modules/membership/membership-peers.js';
import type { FollowerMessage, PrimaryMessage } from '../../../src/modules/replication/core/protocol.js';
import type { Link, LinkEvents } from '../../../src/kernel/link.js';
import type { ReplicaPeers } from '../../../src/modules/replication/replica-peers.js';
import { carry } from './carry.js';
import type { MapOperation } from '../../../src/modules/ring/core/map-operations.js';
import type { NodeCalls } from './node.js';
import { Traffic } from './traffic.js';
import type { ReplicaNode } from './node.js';
import { Path } from './paths.js';
import type { SimProcess } from './process.js';
import type { Scheduler } from './scheduler.js';
import type { SeededRandom } from './seeded-random.js';
import { SimStream } from './stream.js';
import type { Lane, StreamHost } from './stream.js';

/** Where a process listens. */
export interface Endpoint {
  readonly process: SimProcess;
  readonly nodeUuid: NodeUuid;
  readonly node: ReplicaNode;
}

/** What passes on the network, for the checkers: seen when it is sent. */
export interface NetworkTap {
  answered(kind: string, asker: Endpoint | undefined, answerer: Endpoint, request: unknown, answer: unknown): void;
  streamed(from: SimProcess, to: SimProcess, shard: number, message: unknown): void;
}

export interface NetworkOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly tap: NetworkTap;
  readonly note: (who: string, line: string) => void;
  readonly count: (what: string) => void;
  /** A process broke an invariant while it answered. */
  readonly onError: (process: SimProcess, error: unknown) => void;
}

interface Pending {
  readonly asker: SimProcess;
  readonly reset: () => void;
}

/** Address of a host: one for replicas and membership. */
export function addressOf(host: string): string {
  return `${host}:7000`;
}

/**
 * The network between all nodes: every direction between two hosts has its own faults. Questions may be lost, doubled and
 * overtake each other; streams keep order and break. A host without a process refuses at once, one that is paused or cut
 * off is silent.
 */
export class Network implements StreamHost {
  readonly scheduler: Scheduler;
  readonly windowBytes: number;
  readonly retransmitMs: number;
  /** How long a connection lives without a sign of the other end (replication 8.3: keep-alive 2 s). */
  readonly keepAliveMs: number;
  readonly traffic = new Traffic();
  readonly #random: SeededRandom;
  readonly #options: NetworkOptions;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #hosts = new Map<NodeUuid, string>();
  readonly #paths = new Map<string, Path>();
  readonly #streams = new Set<SimStream>();
  readonly #pending = new Map<SimProcess, Set<Pending>>();

  constructor(options: NetworkOptions) {
    this.scheduler = options.scheduler;
    this.#options = options;
    this.#random = options.random;
    this.windowBytes = 1_024 * (1 + this.#random.below(64));
    this.retransmitMs = 200 + this.#random.below(300);
    this.keepAliveMs = 2_000 + this.#random.below(1_500);
  }

  /** A process begins to listen. */
  attach(endpoint: Endpoint): void {
    this.#endpoints.set(endpoint.process.host, endpoint);
    this.#hosts.set(endpoint.nodeUuid, endpoint.process.host);
  }

  /** A process is gone: its connections break, and who waits for its answer learns of it. */
  detach(process: SimProcess): void {
    if (this.#endpoints.get(process.host)?.process === process) this.#endpoints.delete(process.host);
    for (const { asker, reset } of this.#pending.get(process) ?? []) {
      const path = this.path(process.host, asker.host);
      if (!path.faults.blocked) this.scheduler.in(path.passage().delayMs, asker, reset);
    }
    this.#pending.delete(process);
    for (const stream of [...this.#streams]) if (stream.involves(process)) this.#bereave(stream, process);
  }

  endpoint(host: string): Endpoint | undefined {
    return this.#endpoints.get(host);
  }

  hostOf(uuid: NodeUuid): string | undefined {
    return this.#hosts.get(uuid);
  }

  path(from: string, to: string): Path {
    const key = `${from}>${to}`;
    let path = this.#paths.get(key);
    if (path === undefined) this.#paths.set(key, (path = new Path(from, to, this.#random.fork(key))));
    return path;
  }

  paths(): readonly Path[] {
    return [...this.#paths.values()];
  }

  /** From now on nothing comes through one direction; a connection that uses it dies if that lasts. */
  block(from: string, to: string): void {
    const path = this.path(from, to);
    if (path.faults.blocked) return;
    path.faults.blocked = true;
    path.blockades++;
    for (const stream of this.#streams) if (stream.uses(path)) this.#watchBlockade(stream, path);
  }

  unblock(from: string, to: string): void {
    const path = this.path(from, to);
    if (!path.faults.blocked) return;
    path.faults.blocked = false;
    for (const stream of this.#streams)
      for (const lane of [stream.opener, stream.acceptor]) if (lane.path === path) lane.release();
  }

  /** A paused process answers no keep-alive: its connections die if that lasts. */
  watchPause(process: SimProcess): void {
    const streams = [...this.#streams].filter((stream) => stream.involves(process));
    this.scheduler.in(this.keepAliveMs, undefined, () => {
      if (!process.alive || !process.paused) return;
      for (const stream of streams) stream.break('no answer to a keep-alive', 0, 0);
    });
  }

  /** Asks the process at `to`, whoever it is; the way of everything that is not a stream. */
  ask<A>(
    asker: SimProcess,
    to: string,
    kind: string,
    request: unknown,
    timeoutMs: number,
    serve: (endpoint: Endpoint, request: never) => A | Promise<A>,
    expected?: NodeUuid,
  ): Promise<A> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (how: () => void) => {
        if (settled) return;
        settled = true;
        cancelTimeout();
        if (target !== undefined) this.#pending.get(target.process)?.delete(pending);
        how();
      };
      const fail = (reason: 'REFUSED' | 'TIMEOUT' | 'RESET') =>
        settle(() => {
          this.#options.count(`ask ${reason}`);
          reject(new PeerError(reason, `${kind} to ${to}: ${reason.toLowerCase()}`));
        });
      const cancelTimeout = asker.timers.after(timeoutMs, () => fail('TIMEOUT'));
      const pending: Pending = { asker, reset: () => fail('RESET') };
      const target = this.#endpoints.get(to);
      const there = this.path(asker.host, to);
      const passage = there.passage();
      if (target === undefined || (expected !== undefined && target.nodeUuid !== expected)) {
        this.#back(to, asker, passage.delayMs, () => fail('REFUSED'), there.faults.blocked || passage.dropped);
        return;
      }
      if (!this.#pending.has(target.process)) this.#pending.set(target.process, new Set());
      this.#pending.get(target.process)?.add(pending);
      if (passage.reset) {
        this.#options.count('ask broken');
        this.scheduler.in(passage.delayMs, asker, pending.reset);
        if (passage.duplicated || passage.dropped) return;
      } else if (there.faults.blocked || passage.dropped) {
        this.#options.count('ask lost');
        return;
      }
      const { message, hash, bytes } = carry(request);
      this.traffic.add(asker.host, kind, bytes);
      const delays = passage.duplicated ? [passage.delayMs, there.passage().delayMs] : [passage.delayMs];
      if (passage.duplicated) this.#options.count('ask doubled');
      for (const delayMs of delays) {
        this.scheduler.in(delayMs, target.process, () => {
          if (there.faults.blocked) return;
          this.#options.note(to, `${kind} < ${asker.host} ${hash}`);
          this.#serve(asker, target, kind, message, serve, (how) => settle(() => how(resolve, reject)));
        });
      }
    });
  }

  /** The way to other replicas for one process. */
  replicaPeers(self: SimProcess, uuid: NodeUuid): ReplicaPeers {
    const question = <Q, A>(
      kind: string,
      to: NodeUuid,
      request: Q,
      timeoutMs: number,
      serve: (endpoint: Endpoint, request: Q) => A | Promise<A>,
    ): Promise<A> => {
      const host = this.#hosts.get(to);
      if (host === undefined) return Promise.reject(new PeerError('REFUSED', `nobody knows where ${to} is`));
      return this.ask<A>(self, host, kind, request, timeoutMs, serve, to);
    };
    return {
      follow: (to, shard, events) => this.#follow(self, uuid, to, shard, events),
      fence: (to, request, ms) => question('fence', to, request, ms, ({ node }, q) => node.replicas.onFence(uuid, q)),
      probe: (to, request, ms) => question('probe', to, request, ms, ({ node }, q) => node.replicas.onProbe(uuid, q)),
      pull: (to, request, ms) => question('pull', to, request, ms, ({ node }, q) => node.replicas.onPull(uuid, q)),
      fetch: (to, request, ms) => question('fetch', to, request, ms, ({ node }, q) => node.replicas.onFetch(uuid, q)),
      covers: (to, request, ms) =>
        question('covers', to, request, ms, ({ node }, q) => node.replicas.onCovers(uuid, q)),
      announce: (leader) => {
        for (const host of this.#endpoints.keys()) {
          if (host === self.host) continue;
          this.ask(self, host, 'announce', leader, 1_000, ({ node }, q) => node.replicas.onAnnounce(uuid, q)).catch(
            () => this.#options.count('announce lost'),
          );
        }
      },
    };
  }

  /** The way to other members for one process. */
  membershipPeers(self: SimProcess): MembershipPeers {
    const member = ({ node }: Endpoint) => {
      if (node.membership === undefined) throw new PeerError('REJECTED', 'no membership is served here', 'STARTING');
      return node.membership;
    };
    const host = (address: string) => address.slice(0, address.lastIndexOf(':'));
    return {
      introduce: (address, self_, ms) =>
        this.ask(self, host(address), 'introduce', self_, ms, (end, q) => member(end).onIntroduce(q)),
      join: (address, request, ms) =>
        this.ask(self, host(address), 'join', request, ms, (end, q) => member(end).onJoin(q)),
      heartbeat: (address, beat, ms) =>
        this.ask(self, host(address), 'heartbeat', beat, ms, (end, q) => member(end).onHeartbeat(q)),
      exchange: (address, exchange, ms) =>
        this.ask(self, host(address), 'exchange', exchange, ms, (end, q) => member(end).onExchange(q)),
    };
  }

  /** The coordinator's questions for one process. */
  nodeCalls(self: SimProcess): NodeCalls {
    return {
      transfer: async (from, shard, to) => {
        const host = this.#hosts.get(from);
        if (host === undefined) throw new PeerError('REFUSED', `nobody knows where ${from} is`);
        await this.ask(self, host, 'transfer', { shard, to }, 2_000, ({ node }, q: { shard: number; to: NodeUuid }) =>
          node.transfer?.(q.shard, q.to),
        );
      },
      change: async (to, operation) => {
        const host = this.#hosts.get(to);
        if (host === undefined) throw new PeerError('REFUSED', `nobody knows where ${to} is`);
        return this.ask(self, host, 'change', operation, 5_000, ({ node }, q: MapOperation) => {
          if (node.change === undefined) throw new PeerError('REJECTED', 'this node has no map of its own');
          return node.change(q);
        });
      },
    };
  }

  delivered(stream: SimStream, lane: Lane, message: unknown, hash: string): void {
    this.#options.note(lane.receiver.host, `stream ${stream.shard} < ${lane.sender.host} ${kindOf(message)} ${hash}`);
    this.#options.tap.streamed(lane.sender, lane.receiver, stream.shard, message);
  }

  overrun(stream: SimStream, from: SimProcess, bytes: number): void {
    this.#options.onError(
      from,
      new InvariantError(`${bytes} bytes wait on a stream of shard ${stream.shard}: its sender does not hold back`),
    );
  }

  reset(stream: SimStream): void {
    this.#options.count('stream reset');
    stream.break('connection reset', this.#random.between(0, 5), this.#random.between(0, 5));
  }

  over(stream: SimStream): void {
    this.#streams.delete(stream);
  }

  #follow(
    self: SimProcess,
    uuid: NodeUuid,
    to: NodeUuid,
    shard: number,
    events: LinkEvents<PrimaryMessage>,
  ): Link<FollowerMessage> {
    const host = this.#hosts.get(to);
    const target = host === undefined ? undefined : this.#endpoints.get(host);
    if (host === undefined || target?.nodeUuid !== to) {
      const path = host === undefined ? undefined : this.path(self.host, host);
      const delayMs = path?.faults.blocked === true ? this.keepAliveMs : 1;
      let closed = false;
      this.scheduler.in(delayMs, self, () => {
        if (!closed) events.ended(new PeerError(path?.faults.blocked === true ? 'TIMEOUT' : 'REFUSED', 'nobody there'));
      });
      return { send: () => true, drained: () => Promise.resolve(), close: () => (closed = true) };
    }
    const stream = new SimStream(shard, this, self, target.process, {
      there: this.path(self.host, host),
      back: this.path(host, self.host),
    });
    this.#streams.add(stream);
    stream.opener.events = events;
    // The first message opens the other end; what it says at once goes into the stream.
    stream.acceptor.events = {
      message: (message) => {
        const served = target.node.replicas.onFollow(uuid, shard, stream.acceptor);
        stream.acceptor.events = served;
        served.message(message as FollowerMessage);
      },
      ended: () => undefined,
    };
    for (const lane of [stream.opener, stream.acceptor])
      if (lane.path.faults.blocked) this.#watchBlockade(stream, lane.path);
    return stream.opener;
  }

  #serve<A>(
    asker: SimProcess,
    target: Endpoint,
    kind: string,
    message: unknown,
    serve: (endpoint: Endpoint, request: never) => A | Promise<A>,
    settle: (how: (resolve: (answer: A) => void, reject: (error: Error) => void) => void) => void,
  ): void {
    const answering = async () => serve(target, message as never);
    answering().then(
      (answer) => {
        if (!target.process.alive) return;
        this.#options.tap.answered(kind, this.#endpoints.get(asker.host), target, message, answer);
        const { message: copy, hash, bytes } = carry(answer);
        this.traffic.add(target.process.host, kind, bytes);
        const back = this.path(target.process.host, asker.host);
        const passage = back.passage();
        this.#back(
          target.process.host,
          asker,
          passage.delayMs,
          () =>
            settle((resolve) => {
              this.#options.note(asker.host, `${kind} = ${target.process.host} ${hash}`);
              resolve(copy);
            }),
          passage.dropped,
        );
      },
      (error: unknown) => {
        if (error instanceof InvariantError || !(error instanceof PeerError || error instanceof NodeError)) {
          this.#options.onError(target.process, error);
          return;
        }
        const rejection = new PeerError('REJECTED', error.message, error.code);
        const passage = this.path(target.process.host, asker.host).passage();
        this.#back(target.process.host, asker, passage.delayMs, () => settle((_, reject) => reject(rejection)));
      },
    );
  }

  /** Something comes back to who asked, unless the way is closed. */
  #back(from: string, asker: SimProcess, delayMs: number, run: () => void, lost = false): void {
    const path = this.path(from, asker.host);
    if (lost || path.faults.blocked) return;
    this.scheduler.in(delayMs, asker, () => {
      if (!path.faults.blocked) run();
    });
  }

  /** One end's process died: the other learns of it when the way from there is open, else by its keep-alive. */
  #bereave(stream: SimStream, dead: SimProcess): void {
    const lane = stream.opener.sender === dead ? stream.opener : stream.acceptor;
    const delayMs = lane.path.faults.blocked ? this.keepAliveMs : lane.path.passage().delayMs;
    const atUs = Math.max(lane.lastArrivalUs + 1, this.scheduler.nowUs + delayMs * 1_000);
    this.#streams.delete(stream);
    this.scheduler.at(atUs, undefined, () => stream.break(`${dead.host} is gone`, 0, 0));
  }

  #watchBlockade(stream: SimStream, path: Path): void {
    const blockade = path.blockades;
    this.scheduler.in(this.keepAliveMs, undefined, () => {
      if (!path.faults.blocked || path.blockades !== blockade) return;
      stream.break('no answer to a keep-alive', this.#random.between(0, 500), this.#random.between(0, 500));
    });
  }
}

/** What a message is, in a word or two. */
function kindOf(message: unknown): string {
  if (typeof message !== 'object' || message === null || !('kind' in message)) return 'message';
  const kind = String(message.kind);
  if (!('answer' in message)) return kind;
  const { answer } = message as { answer: { kind: string; reason?: string } };
  return [kind, answer.kind, ...(answer.reason === undefined ? [] : [answer.reason])].join(' ');
}
