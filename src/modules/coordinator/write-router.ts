import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { NodeError } from '../../kernel/errors.js';
import type { Random } from '../../kernel/random.js';
import { OP_ID_BYTES } from '../../kernel/version.js';
import { EqualWaits } from './equal-waits.js';
import type { MadeOrRefused, Refusal, ShardWrite, ShardWriteOutcome, WriteRelay } from './core/shard-calls.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import type { LocalShards } from './local-shards.js';
import type { Routes } from './routes.js';
import type { PeerShards } from './shard-access.js';
import { until } from './until.js';

/** A write that is neither durable nor refused by then may or may not have happened (replication 2.8). */
export const WRITE_WAIT_MS = 5_000;
/** So long the routes get to change before a write is sent again; the last time, until its deadline (replication 3). */
const PAUSES_MS = [100, 400, WRITE_WAIT_MS];
/** A write that is passed on over another node is answered within this, or counts as lost. */
const RELAY_WAIT_MS = 2_000;
/** How often an unanswered write looks whether another primary reigns by now. */
const UNANSWERED_MS = 100;
/** A node to which the connection broke, or that could not be reached, is not asked itself for so long, while another one can pass on what is meant for it. */
const AVOID_MS = 1_000;

const UNKNOWN: MadeOrRefused = {
  kind: 'refused',
  code: 'WRITE_OUTCOME_UNKNOWN',
  detail: 'the write was not acknowledged in time and may or may not be stored; retry with the same idempotency key',
};
/** What a primary says of a write that was certainly not made, and was not made before either. */
const CONCLUSIVE: ReadonlySet<string> = new Set([
  'VERSION_CONFLICT',
  'DOCUMENT_NOT_FOUND',
  'IDEMPOTENCY_CONFLICT',
  'COLLECTION_NOT_FOUND',
]);

/** What one sending brought. */
type Sent =
  | { readonly kind: 'outcome'; readonly outcome: MadeOrRefused }
  /** Not made there: the shard is, or will be, somewhere else. */
  | { readonly kind: 'elsewhere' }
  /** The connection broke, or another primary reigns before it was answered: it may have been made. */
  | { readonly kind: 'lost' };

const ELSEWHERE: Sent = { kind: 'elsewhere' };
const LOST: Sent = { kind: 'lost' };

/** What is to be remembered of a write between its sendings. */
interface Course {
  readonly endsMs: number;
  /** It went over another node already: once is enough. */
  relayed: boolean;
}

/**
 * Brings a write to the primary of its shard (replication 3): sent again at most three times when the primary is another
 * one by now, answered or not, or the connection broke, inside the deadline and under one opId, so that it is made once.
 * While the way to the primary is broken, a copy in sync with it passes the write on.
 */
export class WriteRouter {
  /** Writes that nobody waits for less long than the rule says. */
  readonly #overdue = new EqualWaits(WRITE_WAIT_MS);
  readonly #unanswered = new EqualWaits(UNANSWERED_MS);
  /** Nodes that could not be reached lately, and until when they are avoided. */
  readonly #avoided = new Map<NodeUuid, number>();

  constructor(
    private readonly routes: Routes,
    private readonly local: LocalShards,
    private readonly peers: PeerShards,
    private readonly random: Random,
  ) {}

  /** Resolves with the outcome, by `timeoutMs` at the latest. */
  write(asked: Omit<ShardWrite, 'opId' | 'repeatedFrom'>, timeoutMs: number): Promise<MadeOrRefused> {
    const waitMs = Math.min(WRITE_WAIT_MS, timeoutMs);
    const endsMs = performance.now() + waitMs;
    const write: ShardWrite = { ...asked, opId: asked.key ?? this.random.bytes(OP_ID_BYTES) };
    const route = this.routes.shards()[write.shard];
    const course = { endsMs, relayed: false };
    if (route.primary !== this.routes.self) return this.#anywhere(write, route, course);
    // As nearly always where one node holds all shards: not a promise more than the wait takes.
    return new Promise((resolve, reject) => {
      this.#here(
        write,
        waitMs,
        (outcome) => {
          if (outcome.kind !== 'turned-away') resolve(outcome);
          else resolve(this.#further(write, route, this.#turnedAway(write.shard, outcome.refusal), course));
        },
        (error) => {
          if (error instanceof NodeError) resolve(refused(error.code, error.message, error.retryAfterMs));
          else reject(error);
        },
      );
    });
  }

  async #anywhere(write: ShardWrite, route: ShardRoute, course: Course): Promise<MadeOrRefused> {
    return this.#further(write, route, await this.#bring(write, route, course), course);
  }

  /** What follows from the first sending, by the route it was sent by: the outcome, or further ones. */
  async #further(write: ShardWrite, first: ShardRoute, firstSent: Sent, course: Course): Promise<MadeOrRefused> {
    const { endsMs } = course;
    let [route, sent] = [first, firstSent];
    let repeatedFrom: number | undefined;
    for (let attempt = 0; ; attempt++) {
      if (sent.kind === 'outcome') return this.#conclude(sent.outcome, repeatedFrom !== undefined);
      if (sent.kind === 'lost') repeatedFrom ??= primaryOf(route)?.durable ?? 0;
      const pauseMs = PAUSES_MS.at(attempt);
      const sentBy = route;
      if (pauseMs === undefined || performance.now() >= endsMs || this.#hopeless(route))
        return this.#gaveUp(write.shard, repeatedFrom);
      // What another copy can pass on need not wait for the routes to change.
      const open = (): boolean =>
        this.#moved(sentBy) || (!course.relayed && this.#relayOf(this.routes.shards()[write.shard]) !== undefined);
      await until(open, Math.min(endsMs, performance.now() + pauseMs));
      if (performance.now() >= endsMs) return this.#gaveUp(write.shard, repeatedFrom);
      route = this.routes.shards()[write.shard];
      const again = repeatedFrom === undefined ? write : { ...write, repeatedFrom };
      sent = await this.#bring(again, route, course);
    }
  }

  /** Sends it to the primary, or once over a copy that can reach it when this node cannot. */
  #bring(write: ShardWrite, route: ShardRoute, course: Course): Promise<Sent> {
    const primary = primaryOf(route);
    if (primary === undefined) return Promise.resolve(ELSEWHERE);
    const over = course.relayed ? undefined : this.#relayOf(route);
    if (over === undefined) return this.#unlessMoved(route, this.#send(write, primary, course.endsMs));
    course.relayed = true;
    const relay = { from: this.routes.self, generation: this.peers.generation(primary.node), to: primary.node };
    // It may come late, behind one that was sent again: looked for in the log in any case.
    const known = { ...write, repeatedFrom: write.repeatedFrom ?? primary.durable };
    return this.#unlessMoved(
      route,
      this.#send(known, over, Math.min(course.endsMs, performance.now() + RELAY_WAIT_MS), relay),
    );
  }

  /** Whether the shard has another reign than by this route. */
  #moved({ shard, primary, epoch }: ShardRoute): boolean {
    const now = this.routes.shards()[shard];
    return now.primary !== undefined && (now.primary !== primary || now.epoch !== epoch);
  }

  /**
   * What a sending brought. A primary that fell silent is not waited for once there is another: when it goes on it logs
   * nothing before its set has confirmed it (5.4). One that reigns anew itself answers what it was sent.
   */
  #unlessMoved({ shard, primary }: ShardRoute, sending: Promise<Sent>): Promise<Sent> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const now = this.routes.shards()[shard].primary;
        if (now !== undefined && now !== primary) resolve(LOST);
        else wait = this.#unanswered.begin(look);
      };
      let wait = this.#unanswered.begin(look);
      const ended = (): void => this.#unanswered.end(wait);
      sending.finally(ended).then(resolve, reject);
    });
  }

  /** A copy in sync with a primary that this node itself cannot reach, as far as it knows. */
  #relayOf(route: ShardRoute): CopyRoute | undefined {
    const primary = primaryOf(route);
    if (primary === undefined || primary.self) return undefined;
    const avoidedMs = this.#avoided.get(primary.node) ?? 0;
    if (primary.status === 'ACTIVE' && performance.now() >= avoidedMs) return undefined;
    return route.copies.find(
      ({ node, self, status, inSync }) => node !== primary.node && !self && inSync && status === 'ACTIVE',
    );
  }

  async #send(
    write: ShardWrite,
    { node, self }: { readonly node: string; readonly self: boolean },
    endsMs: number,
    relay?: WriteRelay,
  ): Promise<Sent> {
    const { mapEpoch } = this.routes;
    const ask = relay === undefined ? { mapEpoch, writes: [write] } : { mapEpoch, writes: [write], relay };
    const timeoutMs = Math.max(1, Math.ceil(endsMs - performance.now()));
    try {
      const outcome = self
        ? await new Promise<ShardWriteOutcome>((resolve, reject) => this.#here(write, timeoutMs, resolve, reject))
        : (await this.peers.of(node).call('write', ask, { timeoutMs })).at(0);
      if (!self) this.#avoided.delete(node);
      if (outcome === undefined) return LOST;
      if (relay !== undefined && outcome.kind === 'refused' && outcome.code === 'WRITE_OUTCOME_UNKNOWN') return LOST;
      return outcome.kind === 'turned-away'
        ? this.#turnedAway(write.shard, outcome.refusal)
        : { kind: 'outcome', outcome };
    } catch (error) {
      if (error instanceof NodeError) {
        const { code, message: detail, retryAfterMs } = error;
        return { kind: 'outcome', outcome: refused(code, detail, retryAfterMs) };
      }
      if (!(error instanceof PeerError)) throw error;
      if (error.reason !== 'REJECTED' && error.reason !== 'TIMEOUT')
        this.#avoided.set(node, performance.now() + AVOID_MS);
      if (error.code === 'OVERLOADED') return { kind: 'outcome', outcome: refused('OVERLOADED', error.message, 100) };
      return error.reason === 'RESET' || error.reason === 'TIMEOUT' ? LOST : ELSEWHERE;
    }
  }

  /** Makes it here; the outcome is UNKNOWN when it takes too long. */
  #here(
    write: ShardWrite,
    waitMs: number,
    resolve: (outcome: ShardWriteOutcome) => void,
    reject: (error: Error) => void,
  ): void {
    const late = (): void => resolve(UNKNOWN);
    const wait = waitMs >= WRITE_WAIT_MS ? this.#overdue.begin(late) : undefined;
    const timer = wait === undefined ? setTimeout(late, waitMs) : undefined;
    const end = (): void => {
      if (wait === undefined) clearTimeout(timer);
      else this.#overdue.end(wait);
    };
    const failed = (error: unknown): void => {
      end();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    try {
      this.local.write(write, this.routes.mapEpoch, waitMs).then((outcome) => {
        end();
        resolve(outcome);
      }, failed);
    } catch (error) {
      failed(error);
    }
  }

  #turnedAway(shard: number, { code, hint, retryAfterMs }: Refusal): Sent {
    switch (code) {
      case 'OVERLOADED':
        return {
          kind: 'outcome',
          outcome: refused(
            code,
            'too many writes wait at the shard; send it again a little later',
            retryAfterMs ?? 100,
          ),
        };
      case 'FROZEN':
        return {
          kind: 'outcome',
          outcome: refused(
            code,
            'the range of this document is moving; send it again a little later',
            retryAfterMs ?? 500,
          ),
        };
      default:
        this.routes.onStaleLeader(shard, hint);
        return { kind: 'elsewhere' };
    }
  }

  /** What is said of a write that may have been made before it was refused. */
  #conclude(outcome: MadeOrRefused, lost: boolean): MadeOrRefused {
    if (!lost || outcome.kind === 'written' || CONCLUSIVE.has(outcome.code)) return outcome;
    return UNKNOWN;
  }

  /** Whether the only copy there is of a shard is damaged: no other one will come to lead it. */
  #hopeless({ shard, copies }: ShardRoute): boolean {
    return copies.every(({ self }) => self) && this.local.damage(shard) !== undefined;
  }

  #gaveUp(shard: number, repeatedFrom: number | undefined): MadeOrRefused {
    if (repeatedFrom !== undefined) return UNKNOWN;
    const damage = this.local.damage(shard);
    if (damage !== undefined) return refused('LOG_CORRUPT', damage);
    return refused('SHARD_UNAVAILABLE', `shard ${shard} has no primary that can be reached; try again`, 1_000);
  }
}

/** The copy a write is sent to, if it can be. */
function primaryOf({ primary, copies }: ShardRoute): CopyRoute | undefined {
  const copy = copies.find(({ node }) => node === primary);
  return copy?.status === 'UNAVAILABLE' ? undefined : copy;
}

function refused(code: NodeError['code'], detail: string, retryAfterMs?: number): MadeOrRefused {
  return { kind: 'refused', code, detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}
