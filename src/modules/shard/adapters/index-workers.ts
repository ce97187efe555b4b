import { assert } from '../../../kernel/assert.js';
import type { IndexAnswer, IndexAsk, IndexCall } from '../core/index-messages.js';
import { IndexThread } from './index-thread.js';
import { inlineTransport, workerTransport } from './index-transport.js';
import type { LocalIndexHostPorts } from './local-index-host.js';

/** A thread that dies this soon after its start waits before it starts again, longer each time. */
const SHORT_LIFE_MS = 10_000;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 10_000;

/**
 * The index threads of this node: a shard lives in thread number shard % threads. With 0 threads there is one loop, in
 * the main thread.
 */
export class IndexWorkers {
  readonly #threads: ThreadSlot[] = [];
  readonly #ports: LocalIndexHostPorts;
  readonly #restarted: (thread: number, error: Error) => void;
  #closed = false;

  /** @param restarted is told when a thread died and an empty one took its place: its shards must be opened again */
  constructor(
    threads: number,
    ports: LocalIndexHostPorts,
    events: {
      readonly died: (thread: number, error: Error) => void;
      readonly restarted: (thread: number, error: Error) => void;
    },
  ) {
    assert(Number.isInteger(threads) && threads >= 0, 'a number of threads is an integer from 0');
    this.#ports = ports;
    this.#restarted = events.restarted;
    for (let number = 0; number < Math.max(1, threads); number++) {
      const open = threads === 0 ? inlineTransport(ports) : workerTransport(`index-${number}`);
      const thread = new IndexThread(open, (error) => {
        events.died(number, error);
        this.#restart(number, error);
      });
      this.#threads.push({ thread, startedMs: ports.clock.monotonicMs(), shortLives: 0, timer: undefined });
    }
  }

  get count(): number {
    return this.#threads.length;
  }

  /** The thread a shard lives in. */
  threadOf(shard: number): number {
    return shard % this.#threads.length;
  }

  thread(number: number): IndexThread {
    return this.#threads[number].thread;
  }

  of(shard: number): IndexThread {
    return this.thread(this.threadOf(shard));
  }

  /** Asks every thread. */
  broadcast<C extends IndexCall>(kind: C, ask: IndexAsk<C>): Promise<IndexAnswer<C>[]> {
    return Promise.all(this.#threads.map(({ thread }) => thread.call(kind, ask)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { thread, timer } of this.#threads) {
      clearTimeout(timer);
      await thread.close();
    }
  }

  #restart(number: number, error: Error): void {
    if (this.#closed) return;
    const slot = this.#threads[number];
    const livedMs = this.#ports.clock.monotonicMs() - slot.startedMs;
    slot.shortLives = livedMs < SHORT_LIFE_MS ? slot.shortLives + 1 : 0;
    const backoffMs = slot.shortLives === 0 ? 0 : Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (slot.shortLives - 1));
    slot.timer = setTimeout(() => {
      if (this.#closed) return;
      slot.startedMs = this.#ports.clock.monotonicMs();
      slot.thread.restart();
      this.#restarted(number, error);
    }, backoffMs);
  }
}

interface ThreadSlot {
  readonly thread: IndexThread;
  startedMs: number;
  shortLives: number;
  timer: NodeJS.Timeout | undefined;
}
