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
 * @property {number} partials of these, the partial answers
 * @property {string[]} problems what they said, a few of them
 * @property {number} generatorUs CPU of the generator per request
 * @property {number} bestSecond answers in the best second
 * @property {import('./process-stats.mjs').CpuOf | undefined} cpu of the node in that time, the first of several
 * @property {readonly import('./process-stats.mjs').CpuOf[]} cpus of each node
 * @property {number | undefined} othersShare of all CPU that other processes used meanwhile
 * @property {{ request: number, body: any }[]} kept parsed answers: the first to each request and a sample of the others
 */

/**
 * Runs a closed loop of `clients` connections over `bodies`, in order and again from the start, against one path.
 *
 * @param {object} job
 * @param {string} job.host
 * @param {number | readonly number[]} job.port several: the connections take turns
 * @param {string} job.path
 * @param {readonly string[]} job.bodies JSON
 * @param {number} job.clients
 * @param {number} [job.seconds] how long; or else
 * @param {number} [job.count] how many requests in all
 * @param {number} [job.warmup] seconds before
 * @param {number} [job.keepEvery] 0: keep no answers
 * @param {number | readonly number[]} [job.pid] of the node or nodes, to know what they used of the CPU in that time
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
  const ports = [port].flat();
  const requests = bodies.map((body) =>
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  );
  const ends = new Uint32Array(requests.length);
  let end = 0;
  requests.forEach((request, i) => (ends[i] = end += request.length));
  const child = fork(PROCESS, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const watch = pid === undefined ? undefined : new CpuWatch([pid].flat());
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
      ports,
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
    partials: seen.partials,
    problems: seen.errors,
    generatorUs: (seen.cpuMs / Math.max(1, seen.answers)) * 1000,
    bestSecond: Math.max(
      0,
      ...seen.seconds.slice(0, Math.max(1, Math.floor(seen.elapsedMs / 1000))).map((answers) => answers ?? 0),
    ),
    cpu: watch?.used[0],
    cpus: watch?.used ?? [],
    othersShare: watch?.othersShare(seen.cpuMs, seen.elapsedMs),
    kept: seen.kept.map(({ request, body }) => ({ request, body: JSON.parse(body) })),
  };
}

/** @param {Float64Array} sorted @param {number} share */
export function percentile(sorted, share) {
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

/** What some processes and all others use of the CPU between two moments. */
class CpuWatch {
  #pids;
  /** @type {Map<number, number>[]} */
  #before = [];
  #busyMs = 0;
  /** One for each process. @type {import('./process-stats.mjs').CpuOf[]} */
  used = [];

  /** @param {readonly number[]} pids */
  constructor(pids) {
    this.#pids = pids;
  }

  begin() {
    this.#before = this.#pids.map((pid) => threadCpu(pid));
    this.#busyMs = busyCpuMs();
  }

  end() {
    this.used = this.#pids.map((pid, i) => cpuSince(pid, this.#before[i]));
    this.#busyMs = busyCpuMs() - this.#busyMs;
  }

  /** @param {number} loadMs CPU of the load @param {number} elapsedMs */
  othersShare(loadMs, elapsedMs) {
    const own = this.used.reduce((sum, { totalMs }) => sum + totalMs, 0);
    return Math.max(0, (this.#busyMs - loadMs - own) / (availableParallelism() * elapsedMs));
  }
}
