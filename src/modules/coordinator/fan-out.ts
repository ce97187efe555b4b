import { assert } from '../../kernel/assert.js';
import { NodeError } from '../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { CallSignal } from './call-signal.js';
import { HedgePolicy } from './core/hedge-policy.js';
import type { Positions } from './core/positions.js';
import type { ShardFailureReason, ShardsReport } from './core/requests.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import { planRoutes, type Choice, type ShardWish } from './core/route-plan.js';
import type { GatedCall, GatedValue, Refusal, ShardAsk, ShardGate, ShardReply } from './core/shard-calls.js';
import type { Deadline } from './deadline.js';
import type { Routes } from './routes.js';
import type { PeerShards, ShardAccess } from './shard-access.js';

/** A request that is not answered for so long is sent to another copy whatever the share of hedges. */
const PATIENCE_MS = 500;
/** A call that ends so near to the deadline ended because of it. */
const END_MS = 50;
/** A suspect node gets this long before another copy is asked beside it. */
const SUSPECT_MS = 50;

/** Why a shard has no answer. */
export interface ShardFailed {
  readonly node?: string;
  readonly reason: ShardFailureReason;
}

/** What came back; every asked shard is in exactly one of `values` and `failed`. */
export interface FanOutAnswer<T> {
  readonly values: ReadonlyMap<number, { readonly node: NodeUuid; readonly value: T }>;
  /** Of the values, those of copies that were behind. */
  readonly stale: ReadonlyMap<number, { readonly node: string; readonly lagMs: number }>;
  readonly failed: ReadonlyMap<number, ShardFailed>;
  /** Of the failed ones, those whose reachable copies have not what the session saw. */
  readonly notCaughtUp: readonly number[];
}

export interface FanOutOptions {
  readonly deadline: Deadline;
  readonly session: Positions;
  /** Only primaries answer. */
  readonly primary: boolean;
}

/**
 * Asks each of many shards once, wherever they are (replication 7.2): one request a node, hedged, repeated on another
 * copy when one fails, stale rather than nothing, and over by the deadline. An error is never an empty answer.
 */
export class FanOut {
  readonly #outstanding = new Map<NodeUuid, number>();
  readonly #hedges = new Map<GatedCall, HedgePolicy>();

  constructor(
    private readonly routes: Routes,
    private readonly local: ShardAccess & { readonly underWay: number },
    private readonly peers: PeerShards,
    private readonly random: () => number,
  ) {}

  /** The shards of a node. */
  accessOf(node: NodeUuid): ShardAccess {
    return node === this.routes.self ? this.local : this.peers.of(node);
  }

  /**
   * Asks `shards`; `make` puts the question to those behind some of the gates.
   * @throws NodeError QUERY_TIMEOUT when the client went away, OVERLOADED when nothing else is the matter
   */
  ask<C extends GatedCall>(
    kind: C,
    shards: readonly number[],
    make: (gates: readonly ShardGate[]) => ShardAsk<C>,
    options: FanOutOptions,
  ): Promise<FanOutAnswer<GatedValue<C>>> {
    let hedge = this.#hedges.get(kind);
    if (hedge === undefined) {
      hedge = new HedgePolicy();
      this.#hedges.set(kind, hedge);
    }
    const run = new FanOutRun<C>(kind, shards, make, options, {
      routes: this.routes,
      hedge,
      access: (node) => this.accessOf(node),
      load: (copy) => this.#load(copy),
      count: (node, change) => this.#outstanding.set(node, (this.#outstanding.get(node) ?? 0) + change),
      random: this.random,
    });
    return run.start();
  }

  /** Requests under way at a copy's node, as far as is known here. */
  #load({ node, self }: CopyRoute): number {
    return Math.max(this.#outstanding.get(node) ?? 0, self ? this.local.underWay : this.peers.reportedLoad(node));
  }
}

interface FanOutPorts {
  readonly routes: Routes;
  readonly hedge: HedgePolicy;
  readonly access: (node: NodeUuid) => ShardAccess;
  readonly load: (copy: CopyRoute) => number;
  readonly count: (node: NodeUuid, change: 1 | -1) => void;
  readonly random: () => number;
}

/** Copies with an older map are asked again so often, each having waited a moment for it. */
const OLD_MAPS_MAX = 3;

/**
 * A read of primaries waits for one that is being handed over or replaced, while another copy lives that may become it:
 * looked for this often, two seconds in all.
 */
const PRIMARY_AGAIN_MS = 50;
const PRIMARY_LOOKS_MAX = 40;
const REPLACED: ReadonlySet<ShardFailureReason> = new Set(['STALE_ROUTE', 'UNREACHABLE', 'FAULTED']);

const NONE: readonly NodeUuid[] = [];

/** A shard that has no answer yet. */
interface Pending {
  tried: readonly NodeUuid[];
  behind: readonly NodeUuid[];
  primary: boolean;
  /** A copy had not what the session saw. */
  notCaughtUp: boolean;
  /** Times that a copy had an older map. */
  oldMaps: number;
  /** Its primary is there, and its index behind. */
  primaryIsBehind: boolean;
  /** Times that its primary was looked for in vain. */
  looks: number;
  inFlight: number;
  /** Whom it waits for, or what it was told last. */
  last: ShardFailed | undefined;
}

interface Attempt {
  readonly node: NodeUuid;
  readonly choices: readonly Choice[];
  /** Absent: only the deadline ends it. */
  readonly controller: CallSignal | undefined;
  timer: NodeJS.Timeout | undefined;
  done: boolean;
}

/** The course of one question. */
class FanOutRun<C extends GatedCall> {
  readonly #pending = new Map<number, Pending>();
  readonly #values = new Map<number, { readonly node: NodeUuid; readonly value: GatedValue<C> }>();
  readonly #stale = new Map<number, { readonly node: string; readonly lagMs: number }>();
  readonly #failed = new Map<number, ShardFailed>();
  readonly #notCaughtUp: number[] = [];
  readonly #attempts: Attempt[] = [];
  readonly #looking = new Set<NodeJS.Timeout>();
  readonly #onAbort = (): void => this.#finish();
  #overloaded: NodeError | undefined;
  #resolve!: (answer: FanOutAnswer<GatedValue<C>>) => void;
  #reject!: (error: unknown) => void;
  #over = false;

  constructor(
    private readonly kind: C,
    shards: readonly number[],
    private readonly make: (gates: readonly ShardGate[]) => ShardAsk<C>,
    private readonly options: FanOutOptions,
    private readonly ports: FanOutPorts,
  ) {
    for (const shard of shards) {
      this.#pending.set(shard, {
        tried: NONE,
        behind: NONE,
        primary: options.primary,
        notCaughtUp: false,
        oldMaps: 0,
        primaryIsBehind: false,
        looks: 0,
        inFlight: 0,
        last: undefined,
      });
    }
  }

  start(): Promise<FanOutAnswer<GatedValue<C>>> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      const { signal } = this.options.deadline;
      signal.addEventListener('abort', this.#onAbort, { once: true });
      if (signal.aborted) this.#finish();
      else this.#dispatch([...this.#pending.keys()], 'first');
    });
  }

  /** Sends the question for these shards to copies that were not asked yet. */
  #dispatch(shards: readonly number[], why: 'first' | 'hedge'): void {
    if (this.#over) return;
    const routes = this.ports.routes.shards();
    const wishes = shards.map((shard) => this.#wish(routes[shard], shard, why === 'hedge'));
    const plan = planRoutes(wishes, this.ports.load, this.ports.random);
    for (const { shard, node, reason } of plan.failed) {
      const pending = this.#pending.get(shard);
      // Another copy may still answer.
      if (pending === undefined || pending.inFlight > 0) continue;
      if (this.#looksAgain(shard, pending, routes[shard])) continue;
      this.#fail(shard, pending, pending.last ?? (node === undefined ? { reason } : { node, reason }));
    }
    // A lone question to this node needs no way to be called back.
    const lone = why === 'first' && plan.requests.length === 1 && this.#attempts.length === 0;
    for (const { node, choices } of plan.requests) this.#send(node, choices, lone && choices[0].copy.self);
    this.#finishIfDone();
  }

  /** The primary of a shard is not there: it is looked for again in a moment, when there can be one soon. */
  #looksAgain(shard: number, pending: Pending, route: ShardRoute | undefined): boolean {
    if (!this.options.primary || pending.notCaughtUp || pending.looks >= PRIMARY_LOOKS_MAX) return false;
    // One that has too much to do is there.
    if (pending.last !== undefined && !REPLACED.has(pending.last.reason)) return false;
    const lives =
      pending.primaryIsBehind ||
      route?.copies.some(
        ({ node, status, faulted, role }) =>
          status === 'ACTIVE' && !faulted && role !== 'learner' && node !== route.primary,
      );
    if (lives !== true) return false;
    pending.looks++;
    pending.tried = NONE;
    const timer = setTimeout(() => {
      this.#looking.delete(timer);
      this.#dispatch([shard], 'first');
    }, PRIMARY_AGAIN_MS);
    this.#looking.add(timer);
    return true;
  }

  #wish(route: ShardRoute | undefined, shard: number, inSyncOnly: boolean): ShardWish {
    const pending = this.#pending.get(shard);
    assert(pending !== undefined, 'only shards without an answer are asked');
    const { tried, behind, primary } = pending;
    return { route: route ?? nowhere(shard), primary, tried, behind, inSyncOnly };
  }

  #send(node: NodeUuid, choices: readonly Choice[], lone: boolean): void {
    const { deadline, session } = this.options;
    const controller = lone ? undefined : new CallSignal();
    const attempt: Attempt = { node, choices, controller, timer: undefined, done: false };
    const gates = choices.map(({ shard, epoch, stale, copy }): ShardGate => {
      const pending = this.#pending.get(shard);
      assert(pending !== undefined, 'only shards without an answer are asked');
      pending.tried = including(pending.tried, node);
      pending.inFlight++;
      pending.last = { node: copy.nodeId, reason: 'TIMEOUT' };
      const position = session.get(shard);
      const { primary } = pending;
      return position === undefined ? { shard, epoch, primary, stale } : { shard, epoch, primary, stale, position };
    });
    this.#attempts.push(attempt);
    this.ports.count(node, 1);
    this.ports.hedge.sent();
    const startedMs = performance.now();
    this.#watch(attempt);
    const options = { timeoutMs: deadline.remainingMs, signal: controller ?? deadline.signal };
    this.#ask(node, gates, options).then(
      (replies) => {
        this.#ended(attempt);
        this.ports.hedge.answered(performance.now() - startedMs);
        this.#answered(attempt, replies);
      },
      (error: unknown) => {
        this.#ended(attempt);
        this.#broke(attempt, error);
      },
    );
  }

  /** As the node's own call, also when it throws at once. */
  async #ask(
    node: NodeUuid,
    gates: readonly ShardGate[],
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<readonly ShardReply<GatedValue<C>>[]> {
    const replies = await this.ports.access(node).call(this.kind, this.make(gates), options);
    return replies as readonly ShardReply<GatedValue<C>>[];
  }

  #ended(attempt: Attempt): void {
    attempt.done = true;
    clearTimeout(attempt.timer);
    this.ports.count(attempt.node, -1);
  }

  /** Asks other copies when this one takes long: soon, for a few; later, whatever they are. */
  #watch(attempt: Attempt): void {
    const routes = this.ports.routes.shards();
    if (attempt.choices.every(({ shard }) => routes[shard].copies.length < 2)) return;
    const { hedge } = this.ports;
    const suspect = attempt.choices.some(({ copy }) => copy.status === 'SUSPECT');
    const again = (kind: 'first' | 'hedge'): void => {
      const late = attempt.choices.map(({ shard }) => shard).filter((shard) => this.#pending.has(shard));
      if (late.length > 0) this.#dispatch(late, kind);
    };
    const patienceMs = Math.max(
      1,
      Math.min(Math.max(PATIENCE_MS, 4 * hedge.afterMs), this.options.deadline.remainingMs / 2),
    );
    const hedgeMs = Math.min(suspect ? SUSPECT_MS : hedge.afterMs, patienceMs);
    attempt.timer = setTimeout(() => {
      attempt.timer = setTimeout(() => again('first'), patienceMs - hedgeMs);
      if (suspect) again('first');
      else if (hedge.take()) again('hedge');
    }, hedgeMs);
  }

  #answered(attempt: Attempt, replies: readonly ShardReply<GatedValue<C>>[]): void {
    if (this.#over) return;
    const again: number[] = [];
    for (let at = 0; at < attempt.choices.length; at++) {
      const choice = attempt.choices[at];
      const { shard, copy } = choice;
      const pending = this.#pending.get(shard);
      if (pending === undefined) continue;
      pending.inFlight--;
      // Replies mostly come in the order of the question.
      const reply =
        replies.at(at)?.shard === shard ? replies[at] : replies.find((candidate) => candidate.shard === shard);
      if (reply !== undefined && reply.refusal === undefined) {
        this.#values.set(shard, { node: attempt.node, value: reply.value });
        if (reply.lagMs !== undefined) this.#stale.set(shard, { node: copy.nodeId, lagMs: reply.lagMs });
        this.#pending.delete(shard);
      } else {
        this.#refused(pending, choice, reply?.refusal ?? { code: 'STARTING' });
        again.push(shard);
      }
    }
    if (again.length > 0) this.#dispatch(again, 'first');
    else this.#finishIfDone();
  }

  #refused(pending: Pending, { shard, copy, stale }: Choice, refusal: Refusal): void {
    const { routes } = this.ports;
    pending.last = { node: copy.nodeId, reason: reasonOf(refusal) };
    switch (refusal.code) {
      case 'NOT_PRIMARY':
        routes.onStaleLeader(shard, refusal.hint);
        return;
      case 'STALE_MAP':
        routes.onStaleLeader(shard, refusal.hint);
        // The map is on its way to it: it is asked again where no other copy has an answer (replication 3).
        pending.behind = including(pending.behind, copy.node);
        if (pending.oldMaps++ < OLD_MAPS_MAX) pending.tried = without(pending.tried, copy.node);
        return;
      case 'NOT_IN_SYNC':
        pending.behind = including(pending.behind, copy.node);
        if (pending.primary) pending.primaryIsBehind = true;
        // It has an answer, as the last resort.
        if (!stale && !pending.primary) pending.tried = without(pending.tried, copy.node);
        return;
      case 'NOT_CAUGHT_UP':
        pending.notCaughtUp = true;
        pending.primary = true;
        return;
      default:
        return;
    }
  }

  #broke(attempt: Attempt, error: unknown): void {
    if (this.#over) return;
    const failure = failureOf(error);
    // Nobody answered on that connection, and there was time left.
    const reason = failure === 'TIMEOUT' && this.options.deadline.remainingMs > END_MS ? 'UNREACHABLE' : failure;
    if (reason === undefined) {
      this.#end();
      this.#reject(error);
      return;
    }
    if (error instanceof NodeError) this.#overloaded = error;
    const again: number[] = [];
    for (const { shard, copy } of attempt.choices) {
      const pending = this.#pending.get(shard);
      if (pending === undefined) continue;
      pending.inFlight--;
      pending.last = { node: copy.nodeId, reason };
      again.push(shard);
    }
    if (again.length > 0) this.#dispatch(again, 'first');
  }

  #fail(shard: number, pending: Pending, failed: ShardFailed): void {
    this.#pending.delete(shard);
    this.#failed.set(shard, failed);
    if (pending.notCaughtUp) this.#notCaughtUp.push(shard);
  }

  #finishIfDone(): void {
    if (this.#pending.size === 0) this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#end();
    const { deadline } = this.options;
    if (deadline.signal.aborted && !deadline.expired) {
      this.#reject(new NodeError('QUERY_TIMEOUT', 'the client went away'));
      return;
    }
    for (const [shard, pending] of this.#pending) this.#fail(shard, pending, pending.last ?? { reason: 'TIMEOUT' });
    if (
      this.#overloaded !== undefined &&
      this.#values.size === 0 &&
      [...this.#failed.values()].every(({ reason }) => reason === 'OVERLOADED')
    ) {
      this.#reject(this.#overloaded);
      return;
    }
    this.#resolve({
      values: this.#values,
      stale: this.#stale,
      failed: this.#failed,
      notCaughtUp: this.#notCaughtUp,
    });
  }

  /** What is still under way is not waited for: the other side is told. */
  #end(): void {
    this.#over = true;
    this.options.deadline.signal.removeEventListener('abort', this.#onAbort);
    for (const timer of this.#looking) clearTimeout(timer);
    for (const attempt of this.#attempts) {
      if (attempt.done) continue;
      clearTimeout(attempt.timer);
      attempt.controller?.abort();
    }
  }
}

/** Of a shard the map does not have. */
function nowhere(shard: number): ShardRoute {
  return { shard, epoch: 0, lastEpoch: 0, primary: undefined, copies: [], documents: 0, wanted: 1 };
}

function including(nodes: readonly NodeUuid[], node: NodeUuid): readonly NodeUuid[] {
  return nodes.includes(node) ? nodes : [...nodes, node];
}

function without(nodes: readonly NodeUuid[], node: NodeUuid): readonly NodeUuid[] {
  return nodes.filter((other) => other !== node);
}

/** What a client is told of a shard whose copy refused. */
export function reasonOf({ code }: Refusal): ShardFailureReason {
  switch (code) {
    case 'NOT_PRIMARY':
    case 'STALE_MAP':
    case 'FROZEN':
      return 'STALE_ROUTE';
    case 'FAULTED':
      return 'FAULTED';
    case 'OVERLOADED':
      return 'OVERLOADED';
    case 'NOT_IN_SYNC':
    case 'NOT_CAUGHT_UP':
    case 'STARTING':
      return 'UNREACHABLE';
  }
}

/** What a client is told of the shards of a node that gave no answer; undefined for an error that is a bug. */
export function failureOf(error: unknown): ShardFailureReason | undefined {
  if (error instanceof NodeError) return error.code === 'OVERLOADED' ? 'OVERLOADED' : undefined;
  if (!(error instanceof PeerError)) return undefined;
  if (error.reason === 'TIMEOUT') return 'TIMEOUT';
  return error.code === 'OVERLOADED' ? 'OVERLOADED' : 'UNREACHABLE';
}

/** The shards block of an answer (api.md, Search answer); of all shards `asked` were needed for it. */
export function shardsReport(
  total: number,
  { stale, failed }: Pick<FanOutAnswer<unknown>, 'stale' | 'failed'>,
  asked = total,
): ShardsReport {
  const ascending = (a: { readonly shard: number }, b: { readonly shard: number }): number => a.shard - b.shard;
  return {
    total,
    ok: asked - failed.size - stale.size,
    stale: [...stale].map(([shard, { node, lagMs }]) => ({ shard, node, lagMs })).sort(ascending),
    failed: [...failed]
      .map(([shard, { node, reason }]) => ({ shard, ...(node === undefined ? {} : { node }), reason }))
      .sort(ascending),
  };
}
