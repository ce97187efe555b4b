import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @typedef {object} Options
 * @property {number} documents documents of the clustered corpus
 * @property {number} dimensions
 * @property {number} queries distinct queries
 * @property {number[]} shards shard counts to measure; most benches take the first
 * @property {number[]} threads INDEX_THREADS to measure; most benches take the first
 * @property {number} clients connections of the load
 * @property {number} seconds length of each measurement
 * @property {number} warmup seconds before each measurement
 * @property {number} wait seconds to wait, at most, for a quiet machine before each measurement
 * @property {boolean} profile write CPU profiles of the node and print their summaries
 * @property {string | undefined} only rows of the search bench to run: a part of their names
 * @property {string | undefined} dataRoot where the nodes keep their data; the temp directory by default
 * @property {string} main the node's main file
 * @property {number[]} replicas REPLICA_COUNT of the cluster benches
 * @property {number} cycles of the failover bench
 * @property {'kill' | 'stop'} signal of the failover bench: SIGKILL or SIGSTOP
 * @property {string} heartbeat of the failover bench: interval and timeout
 * @property {boolean} quiet no progress on stderr
 */

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const FLAGS = /** @type {const} */ ({
  documents: { type: 'string' },
  dimensions: { type: 'string' },
  queries: { type: 'string' },
  shards: { type: 'string' },
  threads: { type: 'string' },
  clients: { type: 'string' },
  seconds: { type: 'string' },
  warmup: { type: 'string' },
  wait: { type: 'string' },
  profile: { type: 'boolean' },
  only: { type: 'string' },
  'data-root': { type: 'string' },
  main: { type: 'string' },
  replicas: { type: 'string' },
  cycles: { type: 'string' },
  signal: { type: 'string' },
  heartbeat: { type: 'string' },
  quiet: { type: 'boolean' },
  help: { type: 'boolean' },
});

export const USAGE = `npm run bench -- <name> [options]

  --documents N     documents of the clustered corpus (100000)
  --dimensions N    (128)
  --queries N       distinct queries (1000)
  --shards N[,N]    SHARD_COUNT (2; the recall bench: 1,2,4,9; the cluster benches: 9)
  --threads N[,N]   INDEX_THREADS (the node's default; the ingest bench: 1,2)
  --clients N       connections of the load (64)
  --seconds N       of each measurement (10)
  --warmup N        seconds before each (2; searches of clusters: 20)
  --wait N          seconds to wait, at most, before each measurement until other processes leave the CPU alone (0)
  --only TEXT       search: only the rows whose name holds TEXT
  --replicas N[,N]  cluster-search, scaling: REPLICA_COUNT, copies beside the primary (0,2)
  --cycles N        failover: how often a node is killed (100)
  --signal S        failover: kill (SIGKILL) or stop (SIGSTOP, a node that falls silent) (kill)
  --heartbeat I/T   failover: HEARTBEAT_INTERVAL/HEARTBEAT_TIMEOUT (500ms/3s; the node's defaults are 2s/10s)
  --profile         CPU profiles of the node's threads, summarised; they cost a few per cent of speed
  --data-root DIR   where the nodes keep their data; its disk decides what a sync costs (the temp directory)
  --main FILE       another build of the node (dist/main.js)
  --quiet           no progress
`;

/**
 * @param {string[]} args
 * @returns {{ name: string | undefined, options: Options, given: Set<string> }}
 * @throws {TypeError} on an unknown flag or a value that is no positive integer
 */
export function parseOptions(args) {
  const { values, positionals } = parseArgs({ args, options: FLAGS, allowPositionals: true });
  const cores = Math.max(1, availableParallelism() - 1);
  const name = values.help ? undefined : positionals[0];
  return {
    name,
    given: new Set(Object.keys(values)),
    options: {
      documents: integer('documents', values.documents, 100_000),
      dimensions: integer('dimensions', values.dimensions, 128),
      queries: integer('queries', values.queries, 1_000),
      shards: integers('shards', values.shards, [2]),
      threads: integers('threads', values.threads, [cores], 0),
      clients: integer('clients', values.clients, 64),
      seconds: integer('seconds', values.seconds, 10),
      warmup: integer('warmup', values.warmup, 2, 0),
      wait: integer('wait', values.wait, 0, 0),
      profile: values.profile ?? false,
      only: values.only,
      dataRoot: values['data-root'],
      main: values.main ?? MAIN,
      replicas: integers('replicas', values.replicas, [0, 2], 0),
      cycles: integer('cycles', values.cycles, 100),
      signal: oneOf('signal', values.signal, ['kill', 'stop']),
      heartbeat: values.heartbeat ?? '500ms/3s',
      quiet: values.quiet ?? false,
    },
  };
}

/** @param {string} name @param {string | undefined} text @param {number} fallback @param {number} min */
function integer(name, text, fallback, min = 1) {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < min)
    throw new TypeError(`--${name} must be an integer from ${min}, not "${text}"`);
  return value;
}

/** @template {string} T @param {string} name @param {string | undefined} text @param {readonly T[]} known the first is the default @returns {T} */
function oneOf(name, text, known) {
  const value = text === undefined ? known[0] : known.find((candidate) => candidate === text);
  if (value === undefined) throw new TypeError(`--${name} is one of ${known.join(', ')}, not "${text}"`);
  return value;
}

/** @param {string} name @param {string | undefined} text @param {number[]} fallback @param {number} min */
function integers(name, text, fallback, min = 1) {
  return text === undefined ? fallback : text.split(',').map((part) => integer(name, part.trim(), 0, min));
}
