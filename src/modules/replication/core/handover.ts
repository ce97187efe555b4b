import type { NodeUuid } from '../../../kernel/peer.js';
import type { Out } from './effects.js';
import { HEARD_MS, type Followers } from './followers.js';
import type { ReplicaLog } from './replica-log.js';

/** No follower reached the tail within this: the reign goes on. */
const TRANSFER_WAIT_MS = 3_000;
/** Who was asked leaves the stream to take over; a follower that only went is not waited for longer. */
const ANSWER_WAIT_MS = 1_000;

/** A reign that is handed over to a follower (5.7): nothing is admitted until that has all there is, then it is asked. */
export class Handover {
  readonly #to: NodeUuid;
  readonly #startedMs: number;
  #handedMs: number | undefined;

  constructor(to: NodeUuid, startedMs: number) {
    this.#to = to;
    this.#startedMs = startedMs;
  }

  /** The follower was asked to take over: from then on it may reign at any moment. */
  get handed(): boolean {
    return this.#handedMs !== undefined;
  }

  /** Asks the follower when it has everything; false when it came to nothing. */
  proceed(log: ReplicaLog, followers: Followers, opsInFlight: number, nowMs: number, out: Out): boolean {
    if (nowMs - this.#startedMs > TRANSFER_WAIT_MS) return false;
    const mayTakeOver = this.#handedMs !== undefined && nowMs - this.#handedMs <= ANSWER_WAIT_MS;
    // One that is silent, or gone, will not take over; nothing is admitted meanwhile.
    if (!mayTakeOver && nowMs - (followers.heardMs(this.#to) ?? -Infinity) > HEARD_MS) return false;
    const { tail, durable } = log;
    if (this.handed || durable !== tail || opsInFlight !== 0) return true;
    if (followers.durableOf(this.#to) !== tail) return true;
    this.#handedMs = nowMs;
    out.push({ kind: 'handOver', to: this.#to });
    return true;
  }
}
