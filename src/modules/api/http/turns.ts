import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds of work between turns given to the event loop: searches must not wait for a bulk. */
const SLICE_MS = 4;

/** Shares the event loop: await `pause()` between small pieces of work; most return at once. */
export class Turns {
  private since = performance.now();

  /** Undefined while the slice lasts; a promise of the next turn after it. */
  pause(): Promise<void> | undefined {
    if (performance.now() - this.since < SLICE_MS) return undefined;
    return this.turn();
  }

  private async turn(): Promise<void> {
    await nextTurn();
    this.since = performance.now();
  }
}
