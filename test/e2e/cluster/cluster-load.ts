import { setTimeout as delay } from 'node:timers/promises';
import { everything } from '../support/documents.js';
import { History, type Seen } from '../support/history.js';
import { valueOf } from '../support/load.js';
import { Random, words } from '../support/random.js';
import type { Answer, Rest } from '../support/rest.js';
import type { ClusterNode } from './cluster.js';
import { waitFor } from './wait-for.js';

const DIMENSIONS = 4;

export interface LoadOptions {
  readonly seed: number;
  /** Clients that write at the same time, each one write at a time. Default 6. */
  readonly writers?: number;
  /** Clients that search. Default 2. */
  readonly searchers?: number;
  /** Ids written to. Default 400: many are written more than once. */
  readonly ids?: number;
  /** `?consistency=` of the writes. */
  readonly consistency?: 'one' | 'quorum' | 'all';
  /** Milliseconds a client rests after each request: load, not a benchmark, on a machine with few cores. Default 5. */
  readonly restMs?: number;
  /** Milliseconds a write is tried for. Default 10 000. */
  readonly patienceMs?: number;
}

/** How long a client repeats a write, under the same idempotency key, before it calls it failed. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 100;

/** A request that was not answered as it should be. */
interface Surprise {
  readonly atMs: number;
  readonly node: string;
  readonly what: string;
}

/**
 * Clients of a cluster: writers whose every write is in a history, tried again as the contract says (retryable, same
 * idempotency key, any node), and searchers that expect whole answers at once. They speak to the nodes that `nodes` gives; what fails because its own node was killed is nobody's fault, and its outcome unknown.
 */
export class ClusterLoad {
  readonly history: History;
  /** Writes that came to nothing however often they were tried, and searches that were not whole answers. */
  readonly failedWrites: Surprise[] = [];
  readonly failedSearches: Surprise[] = [];
  searches = 0;
  /** Attempts beyond the first. */
  retriedWrites = 0;
  slowestWriteMs = 0;
  slowestSearchMs = 0;
  readonly #random: Random;
  readonly #running: Promise<void>[] = [];
  /** Requests each client has ended. */
  readonly #ended: number[] = [];
  #serial = 0;
  #stopping = false;

  constructor(
    private readonly nodes: () => readonly ClusterNode[],
    private readonly run: string,
    private readonly options: LoadOptions,
    history = new History(),
  ) {
    this.history = history;
    this.#random = new Random(options.seed);
    for (let i = 0; i < (options.writers ?? 6); i++) this.#running.push(this.#client(() => this.#write()));
    for (let i = 0; i < (options.searchers ?? 2); i++) this.#running.push(this.#client(() => this.#search()));
  }

  /** Runs something under a load, which is stopped whatever comes of it. */
  static async during(
    nodes: () => readonly ClusterNode[],
    run: string,
    options: LoadOptions,
    history: History,
    act: (load: ClusterLoad) => Promise<void>,
  ): Promise<ClusterLoad> {
    const load = new ClusterLoad(nodes, run, options, history);
    try {
      await act(load);
    } finally {
      await load.stop();
    }
    return load;
  }

  /** Resolves when `count` more writes were acknowledged. */
  async acknowledged(count: number, timeoutMs = 30_000): Promise<void> {
    const wanted = this.history.acknowledged + count;
    await waitFor(`${count} more writes`, () => this.history.acknowledged >= wanted, timeoutMs);
  }

  /** Resolves when every client has ended the request it is waiting for: none is on its way to a node that `nodes` gives no more. */
  async turned(): Promise<void> {
    const before = [...this.#ended];
    const turned = (): boolean => this.#ended.every((ended, client) => ended > before[client]);
    await waitFor('every client to end its request', turned, 30_000);
  }

  /** Lets every client end the request it is waiting for. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  async #client(act: () => Promise<void>): Promise<void> {
    const client = this.#ended.push(0) - 1;
    while (!this.#stopping) {
      await act();
      this.#ended[client]++;
      await delay(this.options.restMs ?? 5);
    }
  }

  #node(): ClusterNode {
    return this.#random.pick(this.nodes());
  }

  async #write(): Promise<void> {
    const id = `id-${this.#random.integer(0, (this.options.ids ?? 400) - 1)}`;
    const { consistency } = this.options;
    const path = `/api/v1/documents/${id}${consistency === undefined ? '' : `?consistency=${consistency}`}`;
    const removes = this.#random.next() < 0.1;
    const serial = ++this.#serial;
    const value = removes ? undefined : `${this.run}-${serial}`;
    const document = documentOf(value ?? '', serial, this.#random);
    const headers = { 'idempotency-key': `${this.run}-${serial}` };
    const write = this.history.begin(id, value);
    const startedMs = performance.now();
    let refused = true;
    for (;;) {
      const node = this.#node();
      const answer = await this.#answered(node, this.failedWrites, () =>
        removes ? node.rest.delete(path, headers) : node.rest.put(path, document, headers),
      );
      if (answer !== undefined && answer.status < 300) {
        write.acknowledge(answer.json<{ version: string }>().version);
        break;
      }
      if (answer === undefined || !saysNotDone(answer)) refused = false;
      if (answer !== undefined && removes && answer.status === 404) {
        if (refused) write.refuse();
        else write.lose();
        break;
      }
      const retryable = answer === undefined || answer.json<{ retryable?: boolean }>().retryable === true;
      if (retryable) this.retriedWrites++;
      if (!retryable || performance.now() - startedMs > (this.options.patienceMs ?? PATIENCE_MS)) {
        if (refused) write.refuse();
        else write.lose();
        const what = answer === undefined ? 'no answer' : `${answer.status} ${answer.text.slice(0, 300)}`;
        this.#surprise(this.failedWrites, node, what);
        break;
      }
      await delay(RETRY_MS);
    }
    this.slowestWriteMs = Math.max(this.slowestWriteMs, performance.now() - startedMs);
  }

  async #search(): Promise<void> {
    const node = this.#node();
    const query = { text: words(this.#random, 2), vector: this.#random.vector(DIMENSIONS), topK: 5 };
    const startedMs = performance.now();
    const answer = await this.#answered(node, this.failedSearches, () => node.rest.post('/api/v1/search', query));
    if (answer === undefined) return;
    this.searches++;
    this.slowestSearchMs = Math.max(this.slowestSearchMs, performance.now() - startedMs);
    if (answer.status === 200 && !answer.json<{ partial: boolean }>().partial) return;
    const { shards } = answer.status === 200 ? answer.json() : { shards: undefined };
    const what = shards === undefined ? answer.text.slice(0, 300) : JSON.stringify(shards);
    this.#surprise(this.failedSearches, node, `${answer.status} ${what}`);
  }

  /** The answer; undefined when the connection broke because its node is gone. */
  async #answered(node: ClusterNode, surprises: Surprise[], send: () => Promise<Answer>): Promise<Answer | undefined> {
    try {
      return await send();
    } catch (error) {
      if (node.running && this.nodes().includes(node)) this.#surprise(surprises, node, String(error));
      return undefined;
    }
  }

  #surprise(list: Surprise[], node: ClusterNode, what: string): void {
    list.push({ atMs: Math.round(performance.now()), node: node.nodeId, what });
  }
}

/** A 503 says that nothing was logged, a 504 that nobody knows (replication 2.8). */
function saysNotDone({ status }: Answer): boolean {
  return status < 500 || status === 503 || status === 507;
}

/** A document all of whose parts tell the same value. */
export function documentOf(value: string, serial: number, random: Random): object {
  return {
    title: value,
    content: words(random, 12),
    vector: random.vector(DIMENSIONS),
    metadata: { value, parity: serial % 2 },
  };
}

/** The whole state as one node tells it; every part of a document must tell the same value. */
export async function stateOf(rest: Rest): Promise<Map<string, Seen>> {
  const state = new Map<string, Seen>();
  for (const document of await everything(rest)) {
    if (state.has(document.id)) throw new Error(`${document.id} is there twice`);
    const value = valueOf(document);
    if (document.title !== value) throw new Error(`${document.id} is of two writes: ${document.title} and ${value}`);
    state.set(document.id, { version: document.version, value });
  }
  return state;
}
