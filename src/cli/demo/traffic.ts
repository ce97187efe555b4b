import { SpectorClient, SpectorError } from '../../client/index.js';
import { errorCode } from '../error-code.js';
import { pause } from './waiting.js';

const WORDS = ['planet', 'river', 'violin', 'sailing vessel', 'volcano', 'winter', 'bridge', 'small bird'];
const PAUSE_MS = 5;

/** Requests one after another until it is stopped. */
class Loop {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** What went wrong, and how often. */
  readonly problems = new Map<string, number>();
  slowestMs = 0;

  constructor(request: (turn: number) => Promise<void>, signal: AbortSignal) {
    this.#running = this.#run(request, AbortSignal.any([signal, this.#stop.signal]));
  }

  /** Resolves when the request under way has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(request: (turn: number) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let turn = 0; !signal.aborted; turn++) {
      const startedMs = performance.now();
      try {
        await request(turn);
      } catch (error) {
        const reason = error instanceof SpectorError ? error.code : (errorCode(error) ?? String(error));
        this.problems.set(reason, (this.problems.get(reason) ?? 0) + 1);
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs);
      // Rejects when the loop is stopped, which the next look at the signal sees.
      await pause(PAUSE_MS, signal).catch(() => undefined);
    }
  }
}

/** What a client sees while a node dies and returns: searches through one node, writes through another. */
export class Traffic {
  readonly #searching: Loop;
  readonly #writing: Loop;
  readonly acknowledged: string[] = [];
  searches = 0;
  partial = 0;

  /** @param searchUrl nothing is repeated there, so that every failure is seen */
  constructor(searchUrl: string, writer: SpectorClient, signal: AbortSignal) {
    const searcher = new SpectorClient({ nodes: searchUrl, retries: 0, timeoutMs: 60_000 });
    this.#searching = new Loop(async (turn) => {
      this.searches++;
      const { partial } = await searcher.search({ text: WORDS[turn % WORDS.length], topK: 5 });
      if (partial) this.partial++;
    }, signal);
    this.#writing = new Loop(async (turn) => {
      const id = `written-while-a-node-died-${turn}`;
      await writer.put(id, { title: 'a note', content: `note ${turn}, written while a node died` });
      this.acknowledged.push(id);
    }, signal);
  }

  /** Searches that were answered with an error. */
  get failed(): number {
    let failed = 0;
    for (const count of this.#searching.problems.values()) failed += count;
    return failed;
  }

  get slowestSearchMs(): number {
    return this.#searching.slowestMs;
  }

  get slowestWriteMs(): number {
    return this.#writing.slowestMs;
  }

  /** Why searches failed, e.g. `QUERY_TIMEOUT 2×`. */
  get reasons(): string {
    return [...this.#searching.problems].map(([reason, count]) => `${reason} ${count}×`).join(', ');
  }

  stopWriting(): Promise<void> {
    return this.#writing.stop();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#searching.stop(), this.#writing.stop()]);
  }
}
