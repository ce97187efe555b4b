import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { busyCpuMs, cpuSince, threadCpu } from './process-stats.mjs';

const PROCESS = fileURLToPath(new URL('./load-process.mjs', import.meta.url));

/**
 * What a load saw.
 * @typedef {object} LoadReport
 * @property {number} perSecond answers, whatever their status
 * @property {number} answers
 * @property {number} p50Ms
 * @property {number} p95Ms
 * @property {number} p99Ms
 * @property {number} maxMs
 * @property {Record<string, number>} statuses
 * @property {number} errors answers that are not 200, partial answers and broken connections
 * @property {string[]} problems what they said, a few of them
 * @property {number} generatorUs CPU of the generator per request
 * @property {number} bestSecond answers in the best second
 * @property {import('./process-stats.mjs').CpuOf | undefined} cpu of the node in that time
 * @property {number | undefined} othersShare of all CPU that other processes used meanwhile
 * @property {{ request: number, body: any }[]} kept parsed answers: the first to each request and a sample of the others
 */

/**
 * Runs a closed loop of `clients` connections over `bodies`, in order and again from the start, against one path.
 *
 * @param {object} job
 * @param {string} job.host
 * @param {number} job.port
 * @param {string} job.path
 * @param {readonly string[]} job.bodies JSON
 * @param {number} job.clients
 * @param {number} [job.seconds] how long; or else
 * @param {number} [job.count] how many requests in all
 * @param {number} [job.warmup] seconds before
 * @param {number} [job.keepEvery] 0: keep no answers
 * @param {number} [job.pid] of the node, to know what it used of the CPU in that time
 * @returns {Promise<LoadReport>}
 */
export async function load({
  host,
  port,
  path,
  bodies,
  clients,
  seconds = 0,
  count = 0,
  warmup = 0,
  keepEvery = 97,
  pid,
}) {
  const requests = bodies.map((body) =>
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  );
  const ends = new Uint32Array(requests.length);
  let end = 0;
  requests.forEach((request, i) => (ends[i] = end += request.length));
  const child = fork(PROCESS, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const watch = pid === undefined ? undefined : new CpuWatch(pid);
  /** @type {import('./load-process.mjs').Seen} */
  const seen = await new Promise((resolve, reject) => {
    child.on('message', (/** @type {any} */ message) => {
      if (message.kind === 'begin') watch?.begin();
      else if (message.kind === 'end') watch?.end();
      else resolve(message.seen);
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the load generator ended with ${code} before it reported`)));
    child.send({
      host,
      port,
      requests: new Uint8Array(Buffer.concat(requests)),
      ends,
      clients,
      warmupMs: warmup * 1000,
      durationMs: seconds * 1000,
      count,
      keepEvery,
    });
  });
  const { latenciesMs } = seen;
  return {
    perSecond: (seen.answers / seen.elapsedMs) * 1000,
    answers: seen.answers,
    p50Ms: percentile(latenciesMs, 0.5),
    p95Ms: percentile(latenciesMs, 0.95),
    p99Ms: percentile(latenciesMs, 0.99),
    maxMs: percentile(latenciesMs, 1),
    statuses: seen.statuses,
    errors: seen.errorCount,
    problems: seen.errors,
    generatorUs: (seen.cpuMs / Math.max(1, seen.answers)) * 1000,
    bestSecond: Math.max(
      0,
      ...seen.seconds.slice(0, Math.max(1, Math.floor(seen.elapsedMs / 1000))).map((answers) => answers ?? 0),
    ),
    cpu: watch?.used,
    othersShare: watch?.othersShare(seen.cpuMs, seen.elapsedMs),
    kept: seen.kept.map(({ request, body }) => ({ request, body: JSON.parse(body) })),
  };
}

/** @param {Float64Array} sorted @param {number} share */
export function percentile(sorted, share) {
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

/** What a process and all others use of the CPU between two moments. */
class CpuWatch {
  #pid;
  /** @type {Map<number, number>} */
  #before = new Map();
  #busyMs = 0;
  /** @type {import('./process-stats.mjs').CpuOf | undefined} */
  used;

  /** @param {number} pid */
  constructor(pid) {
    this.#pid = pid;
  }

  begin() {
    this.#before = threadCpu(this.#pid);
    this.#busyMs = busyCpuMs();
  }

  end() {
    this.used = cpuSince(this.#pid, this.#before);
    this.#busyMs = busyCpuMs() - this.#busyMs;
  }

  /** @param {number} loadMs CPU of the load @param {number} elapsedMs */
  othersShare(loadMs, elapsedMs) {
    const others = this.#busyMs - loadMs - (this.used?.totalMs ?? 0);
    return Math.max(0, others / (availableParallelism() * elapsedMs));
  }
}
