import { spawn } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { request as httpRequest, Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PROFILER = new URL('./profiler-preload.mjs', import.meta.url).href;
const START_MS = 120_000;
const STOP_MS = 60_000;
const POLL_MS = 4;
const READ_BYTES = 1 << 18;
const LOG_TAIL = 2_000;
const SCROLL = 1_000;

/** Directories and processes to end with this process. @type {Set<string>} */
const directories = new Set();
/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();

/** A fresh directory that is removed at the end. @param {string | undefined} root @returns {string} */
export function freshDirectory(root) {
  if (root !== undefined) mkdirSync(root, { recursive: true });
  const directory = mkdtempSync(join(root ?? tmpdir(), 'spector-bench-'));
  directories.add(directory);
  return directory;
}

/** @param {string} directory */
export function removeDirectory(directory) {
  rmSync(directory, { recursive: true, force: true });
  directories.delete(directory);
}

/** Ends every node and removes every directory that is left; for the end of the process, whatever its reason. */
export function cleanUp() {
  for (const child of children) child.kill('SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
}

/**
 * @typedef {{ status: number, body: any }} Answer
 * @typedef {{ headers?: Record<string, string>, timeoutMs?: number }} CallOptions
 */

/**
 * A running node.
 */
export class BenchNode {
  /** @param {string} directory @param {import('node:child_process').ChildProcess} child @param {{ http: number }} ports @param {number} spawnedMs @param {string} logFile */
  constructor(directory, child, ports, spawnedMs, logFile) {
    this.directory = directory;
    this.child = child;
    this.pid = /** @type {number} */ (child.pid);
    this.host = '127.0.0.1';
    this.port = ports.http;
    /** performance.now() of the spawn. */
    this.spawnedMs = spawnedMs;
    this.logFile = logFile;
    this.agent = new Agent({ keepAlive: true });
  }

  /**
   * Starts a node on `directory`/data; resolves when it listens.
   * @param {object} settings
   * @param {string} settings.main the node's main file
   * @param {string} settings.directory
   * @param {number} settings.shards
   * @param {number} settings.threads
   * @param {boolean} [settings.profile]
   * @param {Record<string, string>} [settings.environment] further settings, without SPECTOR_
   * @returns {Promise<BenchNode>}
   */
  static async start({ main, directory, shards, threads, profile = false, environment = {} }) {
    if (!existsSync(main)) throw new Error(`${main} is not there: npm run build first`);
    const portsFile = join(directory, 'ports.json');
    rmSync(portsFile, { force: true });
    const logFile = join(directory, 'node.log');
    const log = openSync(logFile, 'a');
    /** @type {Record<string, string | undefined>} */
    const env = {
      ...process.env,
      SPECTOR_NODE_ID: 'bench',
      SPECTOR_PORT: '0',
      SPECTOR_GRPC_PORT: '0',
      SPECTOR_HOST: '127.0.0.1',
      SPECTOR_DATA_DIR: join(directory, 'data'),
      SPECTOR_PORTS_FILE: portsFile,
      SPECTOR_SHARD_COUNT: String(shards),
      SPECTOR_INDEX_THREADS: String(threads),
      SPECTOR_FSYNC: 'always',
      SPECTOR_LOG_FORMAT: 'json',
      SPECTOR_LOG_LEVEL: 'info',
      BENCH_PROFILE_DIRECTORY: directory,
    };
    for (const [name, value] of Object.entries(environment)) env[`SPECTOR_${name}`] = value;
    const spawnedMs = performance.now();
    const child = spawn(process.execPath, [...(profile ? ['--import', PROFILER] : []), main], {
      env,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    children.add(child);
    child.once('exit', () => children.delete(child));
    const deadline = spawnedMs + START_MS;
    while (!existsSync(portsFile)) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(
          `the node ended with ${child.exitCode ?? child.signalCode} before it listened:\n${tail(logFile)}`,
        );
      }
      if (performance.now() > deadline)
        throw new Error(`the node does not listen after ${START_MS} ms:\n${tail(logFile)}`);
      await sleep(POLL_MS);
    }
    return new BenchNode(directory, child, JSON.parse(readFileSync(portsFile, 'utf8')), spawnedMs, logFile);
  }

  /**
   * One request with a JSON answer.
   * @param {string} method @param {string} path @param {unknown} [body] @param {CallOptions} [options]
   * @returns {Promise<Answer>}
   */
  call(method, path, body, options = {}) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    /** @type {Record<string, string | number>} */
    const headers =
      text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return this.#request(method, path, { ...headers, ...options.headers }, (out) => out.end(text), options.timeoutMs);
  }

  /** @param {unknown} body @returns {Promise<any>} the answer of a search. @throws when it is not 200 */
  async search(body) {
    const answer = await this.call('POST', '/api/v1/search', body);
    if (answer.status !== 200)
      throw new Error(`a search was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /**
   * Streams an NDJSON file into the node.
   * @param {string | Buffer} lines a file of lines, or lines @param {{ some?: boolean }} [options] `some`: documents may be refused
   * @returns {Promise<{ total: number, success: number, failed: number, errors: { index: number, id?: string, code: string, detail: string }[], session: string }>}
   * @throws when not every document was stored
   */
  async ingest(lines, { some = false } = {}) {
    const bytes = typeof lines === 'string' ? statSync(lines).size : lines.length;
    const headers = { 'content-type': 'application/x-ndjson', 'content-length': bytes };
    const answer = await this.#request('POST', '/api/v1/ingest/bulk', headers, (out) =>
      typeof lines === 'string'
        ? createReadStream(lines, { highWaterMark: READ_BYTES })
            .on('error', (error) => out.destroy(error))
            .pipe(out)
        : out.end(lines),
    );
    if (answer.status !== 201 && !(some && answer.status === 200))
      throw new Error(`the bulk was answered ${answer.status}: ${JSON.stringify(answer.body).slice(0, 2_000)}`);
    return answer.body;
  }

  /** Waits until /readyz says 200. */
  async ready() {
    const deadline = performance.now() + START_MS;
    for (;;) {
      const answer = await this.call('GET', '/readyz').catch((error) => ({ status: 0, body: String(error) }));
      if (answer.status === 200) return;
      this.assertAlive();
      if (performance.now() > deadline)
        throw new Error(`the node is not ready after ${START_MS} ms: ${JSON.stringify(answer.body)}`);
      await sleep(POLL_MS);
    }
  }

  /** @throws when the process ended */
  assertAlive() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) {
      throw new Error(`the node ended with ${this.child.exitCode ?? this.child.signalCode}:\n${tail(this.logFile)}`);
    }
  }

  /**
   * All its documents, by a scroll.
   * @param {{ withTitle?: boolean, withMetadata?: boolean }} [fields]
   * @returns {AsyncGenerator<any>}
   */
  async *documents(fields = {}) {
    /** @type {string | undefined} */
    let cursor;
    do {
      const request = { limit: SCROLL, ...fields, ...(cursor === undefined ? {} : { cursor }) };
      const { status, body } = await this.call('POST', '/api/v1/documents/scroll', request);
      if (status !== 200) throw new Error(`a scroll was answered ${status}: ${JSON.stringify(body).slice(0, 300)}`);
      yield* body.documents;
      ({ cursor } = body);
    } while (cursor);
  }

  /** Every sample of /metrics. @returns {Promise<Samples>} */
  async metrics() {
    return new Samples(String((await this.call('GET', '/metrics', undefined, { timeoutMs: 10_000 })).body));
  }

  /** Value of a sample of /metrics without labels, or undefined. @param {string} name @returns {Promise<number | undefined>} */
  async metric(name) {
    const { body } = await this.call('GET', '/metrics');
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(String(body));
    return found === null ? undefined : Number(found[1]);
  }

  /** Stops it as an operator would; resolves with how long it took. @returns {Promise<number>} ms */
  async stop() {
    const startedMs = performance.now();
    this.agent.destroy();
    const code = await this.#end('SIGTERM');
    if (code !== 0) throw new Error(`the node ended with ${code} on SIGTERM:\n${tail(this.logFile)}`);
    return performance.now() - startedMs;
  }

  async kill() {
    this.agent.destroy();
    await this.#end('SIGKILL');
  }

  /** SIGSTOP: it falls silent, with its connections open. */
  freeze() {
    this.child.kill('SIGSTOP');
  }

  thaw() {
    this.child.kill('SIGCONT');
  }

  /** Starts a CPU profile in every thread; the node must have been started with `profile`. */
  async startProfile() {
    this.child.kill('SIGUSR2');
    await this.#profilerSays('started');
  }

  /** Ends it. @returns {Promise<string[]>} the files, one per thread */
  async stopProfile() {
    this.child.kill('SIGUSR2');
    await this.#profilerSays('stopped');
    return readdirSync(this.directory)
      .filter((name) => name.endsWith('.cpuprofile'))
      .map((name) => join(this.directory, name))
      .sort();
  }

  /** @param {'started' | 'stopped'} what */
  async #profilerSays(what) {
    const file = join(this.directory, `profiler-${what}`);
    for (let waited = 0; !existsSync(file); waited += 50) {
      this.assertAlive();
      if (waited > 30_000) throw new Error(`the profiler has not ${what} after 30 s`);
      await sleep(50);
    }
    // The other threads follow a message and write their files by themselves.
    await sleep(what === 'stopped' ? 1_000 : 200);
    rmSync(file, { force: true });
  }

  /** @param {NodeJS.Signals} signal @returns {Promise<number | string | null>} */
  async #end(signal) {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`the node has not ended ${STOP_MS} ms after ${signal}`));
      }, STOP_MS);
      child.once('exit', (code, signalled) => {
        clearTimeout(timer);
        resolve(code ?? signalled);
      });
      child.kill(signal);
    });
  }

  /**
   * @param {string} method @param {string} path @param {Record<string, string | number>} headers
   * @param {(out: import('node:http').ClientRequest) => void} write
   * @param {number} [timeoutMs]
   * @returns {Promise<Answer>}
   */
  #request(method, path, headers, write, timeoutMs) {
    return new Promise((resolve, reject) => {
      const out = httpRequest(
        { host: this.host, port: this.port, method, path, headers, agent: this.agent },
        (response) => {
          /** @type {Buffer[]} */
          const chunks = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            const json = /json/.test(response.headers['content-type'] ?? '');
            resolve({ status: response.statusCode ?? 0, body: json && text !== '' ? JSON.parse(text) : text });
          });
        },
      );
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => out.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      out.on('error', reject);
      out.on('close', () => clearTimeout(timer));
      write(out);
    });
  }
}

/** The samples of one scrape of /metrics. */
export class Samples {
  #lines;

  /** @param {string} text */
  constructor(text) {
    this.#lines = text.split('\n');
  }

  /** The sum of a metric over all its labels that hold `label`. @param {string} name @param {string} [label] */
  sum(name, label = '') {
    let sum = 0;
    for (const line of this.#lines)
      if ((line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    return sum;
  }

  /** Entries and bytes of documents' logs sent to a follower. @param {string} nodeId */
  sentTo(nodeId) {
    // Without the map's log.
    const of = (/** @type {string} */ name) =>
      this.sum(name, `to="${nodeId}"`) - this.sum(name, `shard="map",to="${nodeId}"`);
    return {
      entries: of('spector_replication_sent_entries_total'),
      bytes: of('spector_replication_sent_bytes_total'),
    };
  }

  /** Values by the one label of a metric. @param {string} name @returns {Map<string, number>} */
  by(name) {
    const found = new Map();
    for (const line of this.#lines) {
      const match = line.startsWith(`${name}{`) ? /="([^"]*)"\} (\S+)$/.exec(line) : null;
      if (match !== null) found.set(match[1], Number(match[2]));
    }
    return found;
  }
}

/** @param {string} file */
function tail(file) {
  return existsSync(file) ? readFileSync(file, 'utf8').slice(-LOG_TAIL) : '(no log)';
}
