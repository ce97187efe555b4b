import { setTimeout as sleep } from 'node:timers/promises';

/** A request that is not answered by then counts as not answered. */
const CALL_MS = 12_000;
/** How long a client repeats a write, under the same idempotency key, before it calls it failed. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 25;

/**
 * Clients of a cluster whose nodes come and go. Each writer overwrites documents of its own, so that what is
 * acknowledged last must be there at the end; each searcher counts what is not a whole answer. Nobody asks a node that
 * `nodes` does not name; what fails on a node that is no longer named is its end's doing and nobody's fault.
 */
export class Traffic {
  #nodes;
  #corpus;
  #bodies;
  #restMs;
  #idsOfWriter;
  #run;
  #stopping = false;
  #paused = false;
  #underWay = 0;
  /** @type {Promise<void>[]} */
  #running = [];
  #turn = 0;
  #serial = 0;
  /** Last acknowledged and last sent serial of each document. @type {Map<string, { acknowledged: number, sent: number }>} */
  history = new Map();
  acknowledged = 0;
  /** Attempts beyond the first. */
  retried = 0;
  failedWrites = 0;
  searches = 0;
  failedSearches = 0;
  partialSearches = 0;
  /** Requests to a node that ended or fell silent meanwhile; such a node may answer when it goes on. */
  cutOff = 0;
  /** How often each node ended or fell silent. @type {Map<import('./cluster.mjs').BenchMember, number>} */
  #cuts = new Map();
  slowestSearchMs = 0;
  /** Milliseconds of each search. @type {number[]} */
  latenciesMs = [];
  /** What went wrong, a few of them. @type {Set<string>} */
  problems = new Set();

  /**
   * @param {object} settings
   * @param {string} settings.run what its documents' ids begin with
   * @param {() => readonly import('./cluster.mjs').BenchMember[]} settings.nodes those that may be asked now
   * @param {import('./corpus.mjs').Corpus} settings.corpus
   * @param {readonly string[]} settings.bodies of the searches
   * @param {number} settings.writers
   * @param {number} settings.searchers
   * @param {number} settings.idsOfWriter documents each writer overwrites in turn
   * @param {number} settings.restMs between two requests of one client
   */
  constructor({ run, nodes, corpus, bodies, writers, searchers, idsOfWriter, restMs }) {
    this.#run = run;
    this.#nodes = nodes;
    this.#corpus = corpus;
    this.#bodies = bodies.map((body) => JSON.parse(body));
    this.#idsOfWriter = idsOfWriter;
    this.#restMs = restMs;
    for (let i = 0; i < writers; i++) this.#running.push(this.#client((turn) => this.#write(i, turn), true));
    for (let i = 0; i < searchers; i++) this.#running.push(this.#client(() => this.#search(), false));
  }

  /** A node ends or falls silent now. @param {import('./cluster.mjs').BenchMember} member */
  cut(member) {
    this.#cuts.set(member, this.#cutsOf(member) + 1);
  }

  /** @param {import('./cluster.mjs').BenchMember} member */
  #cutsOf(member) {
    return this.#cuts.get(member) ?? 0;
  }

  /** Lets the writers end what they wait for and hold back; searches go on. */
  async pauseWrites() {
    this.#paused = true;
    while (this.#underWay > 0) await sleep(5);
  }

  resumeWrites() {
    this.#paused = false;
  }

  async stop() {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  /** @param {(turn: number) => Promise<void>} act @param {boolean} writes */
  async #client(act, writes) {
    for (let turn = 0; !this.#stopping; turn++) {
      if (writes && this.#paused) {
        await sleep(5);
        continue;
      }
      if (writes) this.#underWay++;
      await act(turn);
      if (writes) this.#underWay--;
      await sleep(this.#restMs);
    }
  }

  #node() {
    const nodes = this.#nodes();
    return nodes[this.#turn++ % nodes.length];
  }

  /** @param {number} writer @param {number} turn */
  async #write(writer, turn) {
    const id = `${this.#run}-${writer}-${turn % this.#idsOfWriter}`;
    const serial = ++this.#serial;
    this.sending(id, serial);
    const startedMs = performance.now();
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) this.retried++;
      const answer = await this.put(id, serial, this.#node());
      if (answer !== undefined && answer.status < 300) return;
      if (performance.now() - startedMs > PATIENCE_MS) {
        this.failedWrites++;
        this.#problem(`a write was given up: ${answer?.status} ${JSON.stringify(answer?.body).slice(0, 300)}`);
        return;
      }
      await sleep(RETRY_MS);
    }
  }

  /** A write is about to be tried. @param {string} id @param {number} [serial] @returns {number} its serial */
  sending(id, serial = ++this.#serial) {
    const known = this.history.get(id);
    if (known === undefined) this.history.set(id, { acknowledged: 0, sent: serial });
    else known.sent = serial;
    return serial;
  }

  /**
   * One attempt of a write.
   * @param {string} id @param {number} serial @param {import('./cluster.mjs').BenchMember} member
   * @returns {Promise<import('./node.mjs').Answer | undefined>} undefined when there was no answer
   */
  async put(id, serial, member) {
    const { vectors, dimensions, documents, texts } = this.#corpus;
    const row = (serial * 7_919) % documents;
    const document = {
      title: `serial ${serial}`,
      content: texts[row],
      vector: Array.from(vectors.subarray(row * dimensions, (row + 1) * dimensions), (value) =>
        Number(value.toFixed(5)),
      ),
      metadata: { serial },
    };
    const path = `/api/v1/documents/${id}`;
    const answer = await this.#answered(member, 'PUT', path, document, { 'idempotency-key': `${id}-${serial}` });
    if (answer !== undefined && answer.status < 300) {
      this.acknowledged++;
      const known = this.history.get(id);
      if (known !== undefined) known.acknowledged = Math.max(known.acknowledged, serial);
    }
    return answer;
  }

  async #search() {
    const member = this.#node();
    const body = this.#bodies[this.searches % this.#bodies.length];
    const startedMs = performance.now();
    const cuts = this.#cutsOf(member);
    const answer = await this.#answered(member, 'POST', '/api/v1/search', body);
    if (answer === undefined) return;
    if (cuts !== this.#cutsOf(member)) {
      this.cutOff++;
      return;
    }
    this.searches++;
    const ms = performance.now() - startedMs;
    this.latenciesMs.push(ms);
    this.slowestSearchMs = Math.max(this.slowestSearchMs, ms);
    if (answer.status !== 200) {
      this.failedSearches++;
      this.#problem(`a search: ${answer.status} ${JSON.stringify(answer.body).slice(0, 300)}`);
    } else if (answer.body.partial) {
      this.partialSearches++;
      this.#problem(`a partial search: ${JSON.stringify(answer.body.shards)}`);
    }
  }

  /**
   * @param {import('./cluster.mjs').BenchMember} member @param {string} method @param {string} path @param {unknown} body
   * @param {Record<string, string>} [headers]
   */
  async #answered(member, method, path, body, headers) {
    if (!member.running) return undefined;
    const { node } = member;
    const cuts = this.#cutsOf(member);
    try {
      return await node.call(method, path, body, { timeoutMs: CALL_MS, headers });
    } catch (error) {
      const there = cuts === this.#cutsOf(member) && member.running && this.#nodes().includes(member);
      if (!there) this.cutOff++;
      else if (method === 'POST') {
        this.failedSearches++;
        this.#problem(`a search of ${member.nodeId}: ${error}`);
      } else this.#problem(`a write to ${member.nodeId}: ${error}`);
      return undefined;
    }
  }

  /** @param {string} problem */
  #problem(problem) {
    if (this.problems.size < 10) this.problems.add(problem);
  }

  /**
   * Reads everything through one node and compares it with what was acknowledged.
   * @param {import('./node.mjs').BenchNode} node
   * @returns {Promise<{ read: number, missing: number, invented: number }>} `missing`: acknowledged and not there, nor replaced by a later one; `invented`: there and never sent
   */
  async compare(node) {
    /** @type {Map<string, number>} */
    const found = new Map();
    for await (const { id, metadata } of node.documents())
      if (id.startsWith(`${this.#run}-`)) found.set(id, metadata.serial);
    let missing = 0;
    let invented = 0;
    for (const [id, { acknowledged, sent }] of this.history) {
      const serial = found.get(id) ?? 0;
      if (serial < acknowledged) missing++;
      if (serial > sent) invented++;
    }
    for (const id of found.keys()) if (!this.history.has(id)) invented++;
    return { read: found.size, missing, invented };
  }
}
