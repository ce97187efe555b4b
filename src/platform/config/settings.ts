import { createHash } from 'node:crypto';
import { NODE_ID_PATTERN } from '../../kernel/ids.js';
import { LIMITS } from '../../kernel/limits.js';
import type { Machine } from './machine.js';
import type { ApiKey, FsyncPolicy } from './node-config.js';
import type { Parser } from './parsers.js';
import {
  SettingProblem,
  address,
  advertised,
  boolean,
  duration,
  integer,
  list,
  oneOf,
  pattern,
  size,
  text,
} from './parsers.js';

/** One row of the configuration table (api.md, Configuration). */
export interface Setting<T> {
  /** What stands for the value in the help; empty for a switch. */
  readonly value: string;
  /** In words. */
  readonly about: string;
  /** What is accepted, in words; empty when `value` says it. */
  readonly range?: string;
  readonly parse: Parser<T>;
  /** The default as one would write it; or words for one that depends on other things (see `defaultOf`). */
  readonly fallback: string | { readonly words: string; readonly of?: (machine: Machine) => T };
  /** A secret has no flag, since others can read the arguments of a process, and is masked wherever it is shown. */
  readonly secret?: true;
  /** Further environment names, without SPECTOR_. */
  readonly aliases?: readonly string[];
  /** What a percentage is of. */
  readonly whole?: (machine: Machine, dataDir: string) => number | undefined;
}

const GIB = 2 ** 30;

const fsync: Parser<FsyncPolicy> = (value) => {
  if (value === 'always' || value === 'os') return { kind: value };
  const [, ms] = /^interval:(\d{1,5})(?:ms)?$/.exec(value) ?? [];
  if (!(Number(ms) >= 1 && Number(ms) <= 60_000))
    throw new SettingProblem('must be always, os or interval:<ms> with 1 to 60000');
  return { kind: 'interval', ms: Number(ms) };
};

const apiKey: Parser<ApiKey> = (value) => {
  const [, name, scope, sha256] = /^([A-Za-z0-9_.-]{1,64}):(read|write|admin):([0-9A-Fa-f]{64})$/.exec(value) ?? [];
  // The value may be the key itself, put here by mistake: it must not be quoted.
  if (name === undefined || sha256 === undefined)
    throw new SettingProblem(
      'must be name:scope:sha256 of each key, the scope read, write or admin, the hash 64 hexadecimal digits',
    );
  return { name, scope: scope as ApiKey['scope'], sha256: sha256.toLowerCase() };
};

const adminKey: Parser<ApiKey> = (value) => ({
  name: 'admin',
  scope: 'admin',
  sha256: createHash('sha256').update(text(value)).digest('hex'),
});

/** Lets a const table keep each row's own type. */
function setting<T>(row: Setting<T>): Setting<T> {
  return row;
}

/**
 * The configuration table, in the order of the help: a name is an environment variable with SPECTOR_ before it, a flag
 * as `--node-id`, and a key of the file as `node_id`. Flags come before the environment, that before the file, that
 * before the default.
 */
export const SETTINGS = {
  NODE_ID: setting({
    value: '<id>',
    about: 'Name of this node in its cluster',
    range: 'lower case letters, digits and hyphens, at most 63',
    parse: pattern(NODE_ID_PATTERN, 'lower case letters, digits and hyphens, at most 63, not starting with a hyphen'),
    fallback: { words: 'first label of the host name', of: (machine) => nodeIdOf(machine.hostname()) },
  }),
  PORT: setting({
    value: '<port>',
    about: 'HTTP port',
    range: '0-65535, 0 = any free one',
    parse: integer(0, 65_535),
    fallback: '7070',
  }),
  GRPC_PORT: setting({
    value: '<port>',
    about: 'gRPC port',
    range: '0-65535, 0 = any free one',
    parse: integer(0, 65_535),
    fallback: '9090',
  }),
  HOST: setting({
    value: '<address>',
    about: 'Address to listen on',
    parse: text,
    fallback: { words: '127.0.0.1 alone, 0.0.0.0 in a cluster' },
  }),
  ADVERTISE: setting({
    value: '<host[:port]>',
    about: 'Address other nodes reach the gRPC port at',
    parse: advertised,
    fallback: { words: 'the host name', of: (machine) => machine.hostname() },
  }),
  DATA_DIR: setting({ value: '<directory>', about: 'Where everything is stored', parse: text, fallback: './data' }),
  CLUSTER_MODE: setting({
    value: '',
    about: 'Be part of a cluster',
    parse: boolean,
    fallback: { words: 'off; on when seeds are given' },
  }),
  SEEDS: setting({
    value: '<host:port,...>',
    about: 'Some nodes of the cluster to join',
    parse: list(address),
    fallback: { words: 'none', of: () => [] },
    aliases: ['SEED_NODES'],
  }),
  SHARD_COUNT: setting({
    value: '<count>',
    about: 'Shards of a new cluster; later changed through the API',
    range: `1-${LIMITS.shardsMax}`,
    parse: integer(1, LIMITS.shardsMax),
    fallback: '2',
  }),
  REPLICA_COUNT: setting({
    value: '<count>',
    about: 'Copies besides the primary, as many as nodes allow; later changed through the API',
    range: '0-5',
    parse: integer(0, 5),
    fallback: '1',
  }),
  HEARTBEAT_INTERVAL: setting({
    value: '<duration>',
    about: 'Time between heartbeats',
    range: '500ms-30s',
    parse: duration('500ms', '30s'),
    fallback: '2s',
  }),
  HEARTBEAT_TIMEOUT: setting({
    value: '<duration>',
    about: 'Silence after which a node counts as failed',
    range: '3s-120s, at least 2.5 intervals',
    parse: duration('3s', '120s'),
    fallback: '10s',
  }),
  QUERY_TIMEOUT: setting({
    value: '<duration>',
    about: 'Longest time of a request; a shorter one of the client wins',
    range: '1s-60s',
    parse: duration('1s', '60s'),
    fallback: '10s',
  }),
  WRITE_CONSISTENCY: setting({
    value: '<level>',
    about: 'Durable copies before a write is acknowledged',
    range: 'auto, one, quorum, all',
    parse: oneOf('auto', 'one', 'quorum', 'all'),
    fallback: 'auto',
  }),
  PARTITION_MODE: setting({
    value: '<mode>',
    about: 'Whether the smaller side of a partition takes writes',
    range: 'available, strict',
    parse: oneOf('available', 'strict'),
    fallback: 'available',
  }),
  FSYNC: setting({
    value: '<policy>',
    about: 'When the log is synced to disk',
    range: 'always, interval:<ms>, os',
    parse: fsync,
    fallback: 'always',
  }),
  REBALANCE_GRACE: setting({
    value: '<duration>',
    about: 'Absence after which the shards of a node get new copies',
    range: '0s-24h',
    parse: duration('0s', '24h'),
    fallback: '10m',
  }),
  COPY_GRACE: setting({
    value: '<duration>',
    about: 'Time a copy is kept after it moved to another node',
    range: '0s-24h',
    parse: duration('0s', '24h'),
    fallback: '10m',
  }),
  MOVE_BANDWIDTH: setting({
    value: '<size>',
    about: 'What a node sends in a second, at most, to copies that are being built elsewhere',
    range: '4MiB and more',
    parse: size(4 * 2 ** 20),
    fallback: '64MiB',
  }),
  DRAIN_TIMEOUT: setting({
    value: '<duration>',
    about: 'Time for running requests to finish when the node stops',
    range: '1s-10m',
    parse: duration('1s', '10m'),
    fallback: '25s',
  }),
  LOG_RETENTION: setting({
    value: '<duration>',
    about: 'Age up to which superseded log entries are kept',
    range: '0s-365d',
    parse: duration('0s', '365d'),
    fallback: '24h',
  }),
  LOG_RETENTION_BYTES: setting({
    value: '<size>',
    about: 'Size of the log above which superseded entries go earlier',
    range: '1MiB and more, or a part of the disk such as 25%',
    parse: size(2 ** 20),
    fallback: { words: '10GiB or 25% of the disk, whichever is less' },
    whole: (machine, dataDir) => machine.diskBytes(dataDir),
  }),
  SIMILARITY: setting({
    value: '<measure>',
    about: 'How vectors of new collections are compared',
    range: 'cosine, dot, euclidean',
    parse: oneOf('cosine', 'dot', 'euclidean'),
    fallback: 'cosine',
  }),
  HNSW_M: setting({
    value: '<links>',
    about: 'Links per vector in the index of new collections',
    range: '4-64',
    parse: integer(4, 64),
    fallback: '16',
  }),
  HNSW_EF_CONSTRUCTION: setting({
    value: '<width>',
    about: 'Search width while that index is built',
    range: '16-800',
    parse: integer(16, 800),
    fallback: '200',
  }),
  HNSW_EF_SEARCH: setting({
    value: '<width>',
    about: 'Default width of its searches',
    range: '10-1000',
    parse: integer(10, 1_000),
    fallback: '100',
  }),
  DIMENSIONS: setting({
    value: '<count>',
    about: 'Dimension of the vectors of the default collection',
    range: `1-${LIMITS.dimensionsMax}`,
    parse: integer(1, LIMITS.dimensionsMax),
    fallback: { words: 'from the first vector' },
  }),
  GRPC_TLS: setting({
    value: '',
    about: 'Mutual TLS on the gRPC port; needs certificate, key and CA',
    parse: boolean,
    fallback: 'off',
  }),
  GRPC_CERT: setting({
    value: '<file>',
    about: 'PEM certificate of the gRPC port',
    parse: text,
    fallback: { words: 'none' },
  }),
  GRPC_KEY: setting({
    value: '<file>',
    about: 'PEM key of that certificate',
    parse: text,
    fallback: { words: 'none' },
  }),
  GRPC_CA: setting({
    value: '<file>',
    about: 'PEM certificate of the authority that signs clients and peers',
    parse: text,
    fallback: { words: 'none' },
  }),
  HTTP_CERT: setting({
    value: '<file>',
    about: 'PEM certificate of the HTTP port; with its key, HTTPS',
    parse: text,
    fallback: { words: 'none' },
  }),
  HTTP_KEY: setting({
    value: '<file>',
    about: 'PEM key of that certificate',
    parse: text,
    fallback: { words: 'none' },
  }),
  CLUSTER_SECRET: setting({
    value: '<text>',
    about: 'Secret by which peers without TLS know each other',
    parse: text,
    fallback: { words: 'none' },
    secret: true,
  }),
  API_KEYS: setting({
    value: '<name:scope:sha256,...>',
    about: 'API keys by their SHA-256; scopes read, write, admin',
    parse: list(apiKey),
    fallback: { words: 'none: open to everyone', of: () => [] },
    secret: true,
  }),
  API_KEY: setting({
    value: '<key>',
    about: 'One admin key',
    parse: adminKey,
    fallback: { words: 'none' },
    secret: true,
  }),
  LOG_LEVEL: setting({
    value: '<level>',
    about: 'What is logged',
    range: 'trace, debug, info, warn, error, fatal',
    parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
    fallback: 'info',
  }),
  LOG_FORMAT: setting({
    value: '<format>',
    about: 'How it is logged',
    range: 'json, pretty',
    parse: oneOf('json', 'pretty'),
    fallback: { words: 'json; pretty on a terminal', of: (machine) => (machine.isTerminal() ? 'pretty' : 'json') },
  }),
  INDEX_THREADS: setting({
    value: '<count>',
    about: 'Threads that hold the indexes',
    range: '0-256, 0 = in the main thread',
    parse: integer(0, 256),
    fallback: { words: 'cores - 1, at least 1', of: (machine) => Math.max(1, machine.cores() - 1) },
  }),
  MAX_MEMORY: setting({
    value: '<size>',
    about: 'Resident memory above which upserts are refused',
    range: '1MiB and more, or a part of the memory such as 70%',
    parse: size(2 ** 20),
    fallback: '70%',
    whole: (machine) => machine.memoryBytes(),
  }),
  PORTS_FILE: setting({
    value: '<file>',
    about: 'File that is written with the real ports once the node listens',
    parse: text,
    fallback: { words: 'none' },
  }),
} as const;

export type SettingName = keyof typeof SETTINGS;
export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** The value a setting has once read; undefined where its default depends on others or is none. */
export type SettingValues = { readonly [K in SettingName]: ReturnType<(typeof SETTINGS)[K]['parse']> | undefined };

/** `--node-id` of NODE_ID. */
export function flagOf(name: SettingName): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** `node_id` of NODE_ID: the key in the file. */
export function fileKeyOf(name: SettingName): string {
  return name.toLowerCase();
}

/** A row without the type of its value, for those who walk the table. */
export function settingOf(name: SettingName): Setting<unknown> {
  return SETTINGS[name];
}

/** The lesser of 10 GiB and a quarter of the disk. */
export function logRetentionBytesOf(machine: Machine, dataDir: string): number {
  return Math.min(10 * GIB, Math.floor((machine.diskBytes(dataDir) ?? Infinity) / 4));
}

/** A node id made of a host name: its first label, in lower case, without what an id may not hold. */
function nodeIdOf(hostname: string): string {
  const label = hostname.toLowerCase().split('.', 1)[0];
  return (
    label
      .replace(/[^a-z0-9-]/g, '-')
      .replace(/^-+/, '')
      .slice(0, 63) || 'node'
  );
}
