import { NO_EPOCH, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { EntriesBatch } from './protocol.js';
import { HEARD_MS, IN_SYNC_MS } from './followers.js';

/** How a follower stands to its primary: one stream, from the hello on (4.1–4.4). */
export class FollowSession {
  readonly to: NodeUuid;
  /** Where this log started when the hello was said. */
  readonly start: number;
  /** The primary's epoch as the hello named it; the accepted one after the answer. */
  epoch: Epoch = NO_EPOCH;
  /** `cutting`: the log is being cut to the fork; `receiving`: a snapshot comes in (4.7). */
  phase: 'hello' | 'cutting' | 'receiving' | 'streaming' = 'hello';
  highWaterMark = 0;
  /** Whom the primary holds in sync (7.1). */
  inSync: readonly NodeUuid[] = [];
  /** Loose rows were offered on this stream already. */
  offered = false;
  #heardMs: number;
  #tail = 0;
  #applied = 0;
  #caughtUpMs: number | undefined;
  /** A tail of the primary and when it was told: reached, the copy had everything at that moment. */
  #goal: { readonly tail: number; readonly ms: number } | undefined;

  constructor(to: NodeUuid, start: number, nowMs: number) {
    this.to = to;
    this.start = start;
    this.#heardMs = nowMs;
  }

  /** When something came on it; before, when it was begun. */
  get heardMs(): number {
    return this.#heardMs;
  }

  /** The primary's tail as last told. */
  get tail(): number {
    return this.#tail;
  }

  /** Something came on it so lately that its primary lives. */
  isFresh(nowMs: number): boolean {
    return this.phase === 'streaming' && nowMs - this.#heardMs < HEARD_MS;
  }

  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  took(batch: EntriesBatch, applied: number, nowMs: number): void {
    this.#heardMs = nowMs;
    this.highWaterMark = Math.max(this.highWaterMark, batch.highWaterMark);
    this.inSync = batch.inSync;
    this.#tail = Math.max(this.#tail, batch.tail);
    this.#applied = applied;
    if (applied >= batch.tail) {
      this.#caughtUpMs = nowMs;
      this.#goal = undefined;
    } else this.#goal ??= { tail: batch.tail, ms: nowMs };
  }

  applied(offset: number): void {
    this.#applied = offset;
    if (this.#goal === undefined || offset < this.#goal.tail) return;
    this.#caughtUpMs = this.#goal.ms;
    this.#goal = undefined;
  }

  /**
   * When the copy last had everything its primary had; undefined before it ever did. A copy with nothing outstanding has
   * it still, as long as the primary goes on saying so.
   */
  hadAllMs(nowMs: number): number | undefined {
    const outstanding = this.#applied < this.#tail;
    if (this.#caughtUpMs === undefined || outstanding) return this.#caughtUpMs;
    return nowMs - this.#heardMs <= HEARD_MS ? nowMs : this.#heardMs;
  }

  /** Whether the copy judges itself in sync (7.1). */
  isInSync(nowMs: number, heartbeatMs: number): boolean {
    const hadAllMs = this.hadAllMs(nowMs);
    return (
      this.phase === 'streaming' &&
      hadAllMs !== undefined &&
      nowMs - hadAllMs <= IN_SYNC_MS + heartbeatMs &&
      nowMs - this.#heardMs <= IN_SYNC_MS + heartbeatMs
    );
  }
}
