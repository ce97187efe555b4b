import type { PeerFailure } from '../../../kernel/peer.js';
import { REFUSAL_GAP_MS, type MembershipTiming } from './timing.js';

/** What the evidence says of a peer. */
export type Verdict = 'heard' | 'suspect' | 'unavailable';

/**
 * Evidence about one peer, as one node gathers it (replication 5.1). Heard means answered: only an answer to our own
 * heartbeat counts, or that another node got one. Times are of our monotonic clock.
 */
export class PeerHealth {
  /** When it last answered us; undefined: never. */
  answeredMs: number | undefined;
  /** Round trip of its last answer. */
  rttMs: number | undefined;
  #seenMs: number;
  /** Our own pauses since then: silence nobody is to blame for (replication 1.5). */
  #excusedMs = 0;
  #refusedFirstMs: number | undefined;
  #refusedLastMs = 0;

  /** A peer just learnt of has the benefit of the doubt. */
  constructor(nowMs: number) {
    this.#seenMs = nowMs;
  }

  answered(nowMs: number, sentMs: number): void {
    this.answeredMs = nowMs;
    this.rttMs = nowMs - sentMs;
    this.seen(nowMs);
  }

  /** Somebody heard it at `atMs`. */
  seen(atMs: number): void {
    if (this.#refusedFirstMs !== undefined && atMs > this.#refusedFirstMs) this.#refusedFirstMs = undefined;
    if (atMs <= this.#seenMs) return;
    this.#seenMs = atMs;
    this.#excusedMs = 0;
  }

  /** It did not answer. True when it shall be asked again at once, to tell a crash from a hiccup. */
  failed(nowMs: number, reason: PeerFailure): boolean {
    if (reason === 'RESET') return true;
    if (reason !== 'REFUSED') return false;
    this.#refusedFirstMs ??= nowMs;
    this.#refusedLastMs = nowMs;
    return !this.isRefused();
  }

  /** We did nothing for so long. */
  excuse(pauseMs: number): void {
    this.#excusedMs += pauseMs;
  }

  /** How long it has been silent while we listened. */
  silenceMs(nowMs: number): number {
    return nowMs - this.#seenMs - this.#excusedMs;
  }

  /** Two probes in a row found nobody listening: the process is gone. */
  isRefused(): boolean {
    return this.#refusedFirstMs !== undefined && this.#refusedLastMs - this.#refusedFirstMs >= REFUSAL_GAP_MS;
  }

  verdict(nowMs: number, timing: MembershipTiming): Verdict {
    const silence = this.silenceMs(nowMs);
    if (silence >= timing.timeoutMs) return 'unavailable';
    if (this.isRefused()) {
      const refusedMs = this.#refusedLastMs - (this.#refusedFirstMs ?? this.#refusedLastMs);
      return refusedMs >= timing.failoverAfterMs ? 'unavailable' : 'suspect';
    }
    return silence >= timing.failoverAfterMs ? 'suspect' : 'heard';
  }
}
