import type { ServerResponse } from 'node:http';

/** Requests that a stopping node finishes first: all but lasting answers, which it ends, and probes, which come all the time. */
export class RunningRequests {
  private count = 0;
  private readonly waiting = new Set<() => void>();

  /** Counts a request until its answer is out or its client is gone. */
  enter(response: ServerResponse): void {
    this.count++;
    response.once('close', () => {
      this.count--;
      if (this.count === 0) for (const done of this.waiting) done();
    });
  }

  get size(): number {
    return this.count;
  }

  /** Resolves when none runs, or after `timeoutMs`. */
  drained(timeoutMs: number): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.waiting.add(done);
    });
  }
}
