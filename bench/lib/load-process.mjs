/**
 * The load, in a process of its own: closed loops over raw keep-alive sockets with requests rendered beforehand. It
 * reads no more of an answer than its status, its length and whether it is whole, and keeps a few answers for later.
 * Runs one job, given by the parent, and answers with what it saw.
 */
import { connect } from 'node:net';

const READ_BYTES = 1 << 18;
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = Buffer.from('content-length: ');
const LENGTH_CAPITAL = Buffer.from('Content-Length: ');
const PARTIAL = Buffer.from('"partial":true');
/** Answers kept for later, at most. */
const KEPT_MAX = 20_000;

/**
 * @typedef {object} Job
 * @property {string} host
 * @property {number[]} ports connections take turns
 * @property {Uint8Array} requests one after another
 * @property {Uint32Array} ends end of each request in `requests`
 * @property {number} clients
 * @property {number} warmupMs
 * @property {number} durationMs 0: until `count` requests were answered
 * @property {number} count
 * @property {number} keepEvery besides the first answer to each request, every so many answers is kept; 0: none
 *
 * @typedef {object} Seen
 * @property {number} answers
 * @property {number} elapsedMs
 * @property {number[]} seconds answers in each second
 * @property {Float64Array} latenciesMs sorted
 * @property {Record<string, number>} statuses
 * @property {string[]} errors distinct, with the first body of each bad status
 * @property {number} errorCount answers that are not 200, partial answers, broken connections
 * @property {number} partials of these, the partial answers
 * @property {{ request: number, body: string }[]} kept
 * @property {number} cpuMs of this process in the window
 */

process.once('message', (/** @type {Job} */ job) => {
  void new Load(job).run().then((seen) => {
    process.send?.({ kind: 'seen', seen }, () => process.disconnect());
  });
});

// Without its parent nobody would hear what it saw.
process.once('disconnect', () => process.exit());

class Load {
  #job;
  #requests;
  #next = 0;
  #sent = 0;
  #measuring = false;
  #ended = false;
  #answers = 0;
  #startedMs = 0;
  /** Answers in each second of the measurement. @type {number[]} */
  #seconds = [];
  /** @type {number[]} */
  #latencies = [];
  /** @type {Record<string, number>} */
  #statuses = {};
  /** @type {Set<string>} */
  #errors = new Set();
  #errorCount = 0;
  #partials = 0;
  /** @type {Map<number, Buffer>} */
  #first = new Map();
  /** @type {{ request: number, body: Buffer }[]} */
  #sampled = [];
  #open = 0;
  /** @type {(() => void) | undefined} */
  #finished;

  /** @param {Job} job */
  constructor(job) {
    this.#job = job;
    const bytes = Buffer.from(job.requests.buffer, job.requests.byteOffset, job.requests.length);
    this.#requests = Array.from(job.ends, (end, i) => bytes.subarray(i === 0 ? 0 : job.ends[i - 1], end));
  }

  /** @returns {Promise<Seen>} */
  async run() {
    const { clients, warmupMs, durationMs } = this.#job;
    const done = new Promise((resolve) => (this.#finished = () => resolve(undefined)));
    for (let i = 0; i < clients; i++) this.#connect(this.#job.ports[i % this.#job.ports.length]);
    if (durationMs > 0 && warmupMs > 0) await new Promise((resolve) => setTimeout(resolve, warmupMs));
    this.#measuring = true;
    process.send?.({ kind: 'begin' });
    const cpu = process.cpuUsage();
    const startedMs = performance.now();
    this.#startedMs = startedMs;
    if (durationMs > 0) await Promise.race([done, new Promise((resolve) => setTimeout(resolve, durationMs))]);
    else await done;
    process.send?.({ kind: 'end' });
    this.#measuring = false;
    this.#ended = true;
    const elapsedMs = performance.now() - startedMs;
    const { user, system } = process.cpuUsage(cpu);
    const kept = [...this.#first].map(([request, body]) => ({ request, body })).concat(this.#sampled);
    return {
      answers: this.#answers,
      elapsedMs,
      seconds: this.#seconds,
      latenciesMs: Float64Array.from(this.#latencies).sort(),
      statuses: this.#statuses,
      errors: [...this.#errors],
      errorCount: this.#errorCount,
      partials: this.#partials,
      kept: kept.map(({ request, body }) => ({ request, body: body.toString('utf8') })),
      cpuMs: (user + system) / 1000,
    };
  }

  /** @param {number} port */
  #connect(port) {
    const job = this.#job;
    this.#open++;
    let request = 0;
    let sentAtMs = 0;
    let waiting = false;
    /** Bytes of the answer so far, when it did not come in one piece. @type {Buffer | undefined} */
    let before;

    const send = () => {
      if (this.#ended || (job.durationMs === 0 && this.#sent === job.count)) {
        waiting = false;
        socket.destroy();
        return;
      }
      this.#sent++;
      request = this.#next;
      this.#next = this.#next + 1 === this.#requests.length ? 0 : this.#next + 1;
      waiting = true;
      sentAtMs = performance.now();
      socket.write(this.#requests[request]);
    };

    /** @param {Buffer} bytes */
    const receive = (bytes) => {
      const headEnd = bytes.indexOf(HEAD_END);
      if (headEnd < 0) return false;
      let at = bytes.indexOf(LENGTH);
      if (at < 0 || at > headEnd) at = bytes.indexOf(LENGTH_CAPITAL);
      if (at < 0 || at > headEnd)
        throw new Error(`an answer without content-length: ${bytes.toString('latin1', 0, headEnd)}`);
      let length = 0;
      for (let i = at + LENGTH.length; bytes[i] >= 48 && bytes[i] <= 57; i++) length = length * 10 + bytes[i] - 48;
      const bodyAt = headEnd + HEAD_END.length;
      if (bytes.length < bodyAt + length) return false;
      if (this.#measuring) this.#answered(request, sentAtMs, bytes, bodyAt);
      return true;
    };

    const socket = connect({
      host: job.host,
      port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(READ_BYTES),
        callback: (count, buffer) => {
          const chunk = /** @type {Buffer} */ (buffer).subarray(0, count);
          const bytes = before === undefined ? chunk : Buffer.concat([before, chunk]);
          if (receive(bytes)) {
            before = undefined;
            send();
          } else before = before === undefined ? Buffer.from(chunk) : bytes;
          return true;
        },
      },
    });
    socket.on('connect', send);
    socket.on('error', (error) => this.#fail(String(error)));
    socket.on('close', () => {
      if (waiting && !this.#ended) this.#fail('the connection was closed before its answer');
      if (--this.#open === 0) this.#finished?.();
    });
  }

  /** @param {number} request @param {number} sentAtMs @param {Buffer} bytes @param {number} bodyAt */
  #answered(request, sentAtMs, bytes, bodyAt) {
    const latencyMs = performance.now() - sentAtMs;
    this.#answers++;
    this.#latencies.push(latencyMs);
    const second = Math.floor((sentAtMs + latencyMs - this.#startedMs) / 1000);
    this.#seconds[second] = (this.#seconds[second] ?? 0) + 1;
    // Three digits after "HTTP/1.1 ".
    const status = bytes[9] * 100 + bytes[10] * 10 + bytes[11] - 5328;
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    if (status !== 200) {
      this.#fail(
        this.#statuses[status] === 1 ? `${status}: ${bytes.toString('utf8', bodyAt, bodyAt + 300)}` : undefined,
      );
      return;
    }
    if (bytes.includes(PARTIAL, bodyAt)) {
      this.#partials++;
      this.#fail('a partial answer');
    }
    const { keepEvery } = this.#job;
    if (keepEvery === 0) return;
    if (!this.#first.has(request)) this.#first.set(request, Buffer.from(bytes.subarray(bodyAt)));
    else if (this.#answers % keepEvery === 0 && this.#sampled.length < KEPT_MAX) {
      this.#sampled.push({ request, body: Buffer.from(bytes.subarray(bodyAt)) });
    }
  }

  /** @param {string | undefined} problem */
  #fail(problem) {
    this.#errorCount++;
    if (problem !== undefined && this.#errors.size < 10) this.#errors.add(problem);
  }
}
