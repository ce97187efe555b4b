import { checkCertificates } from '../crypto/check-certificates.js';
import type { GivenText } from './config-sources.js';
import { readConfigFile, readEnvironment, readFlags } from './config-sources.js';
import type { Machine } from './machine.js';
import type { NodeConfig } from './node-config.js';
import { SettingProblem } from './parsers.js';
import type { SettingName, SettingValues } from './settings.js';
import { SETTING_NAMES, logRetentionBytesOf, settingOf } from './settings.js';

/** Everything that is wrong with a configuration, at once; the process ends with exit code 78. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly problems: readonly string[]) {
    super(`The configuration is not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

export interface ConfigInputs {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a file as UTF-8; throws when it cannot. */
  readonly readFile: (path: string) => string;
  readonly machine: Machine;
}

/**
 * The configuration of a node, frozen: flags, then environment, then file, then defaults (api.md, Configuration).
 * Throws ConfigurationError naming all problems.
 */
export function loadConfig({ argv, env, readFile, machine }: ConfigInputs): NodeConfig {
  const flags = readFlags(argv);
  const environment = readEnvironment(env);
  const path = flags.file ?? environment.file;
  const file = path === undefined ? undefined : readConfigFile(path, readFile);
  const problems = [...flags.problems, ...environment.problems, ...(file?.problems ?? [])];
  const given = (name: SettingName) => flags.given.get(name) ?? environment.given.get(name) ?? file?.given.get(name);

  const dataDir = given('DATA_DIR')?.text ?? './data';
  const values = Object.fromEntries(
    SETTING_NAMES.map((name) => [name, valueOf(name, given(name), machine, dataDir, problems)]),
  ) as SettingValues;
  problems.push(...crossProblems(values), ...tlsProblems(values, readFile));
  if (problems.length > 0) throw new ConfigurationError(problems);
  return frozen(assemble(values, machine));
}

/** The parsed text of a setting, or its default; undefined when neither is, or the text is a problem. */
function valueOf(
  name: SettingName,
  given: GivenText | undefined,
  machine: Machine,
  dataDir: string,
  problems: string[],
): unknown {
  const { parse, fallback, whole, secret } = settingOf(name);
  if (given === undefined && typeof fallback !== 'string') return fallback.of?.(machine);
  try {
    return parse(given?.text ?? (fallback as string), whole?.(machine, dataDir));
  } catch (error) {
    if (!(error instanceof SettingProblem) || given === undefined) throw error;
    problems.push(
      secret === true ? `${given.origin} ${error.message}` : `${given.origin} ${error.message}; it is "${given.text}"`,
    );
    return undefined;
  }
}

function crossProblems(values: SettingValues): string[] {
  const problems: string[] = [];
  const { HEARTBEAT_INTERVAL: interval, HEARTBEAT_TIMEOUT: timeout, PORT: port, GRPC_PORT: grpcPort } = values;
  if (interval !== undefined && timeout !== undefined && timeout < 2.5 * interval) {
    problems.push(`HEARTBEAT_TIMEOUT (${timeout} ms) must be at least 2.5 times HEARTBEAT_INTERVAL (${interval} ms)`);
  }
  if (port !== undefined && port !== 0 && port === grpcPort)
    problems.push(`PORT and GRPC_PORT must differ; both are ${port}`);
  const names = [...(values.API_KEYS ?? []), ...(values.API_KEY === undefined ? [] : [values.API_KEY])].map(
    (key) => key.name,
  );
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) problems.push(`Two API keys have the name "${twice}"`);
  return problems;
}

function tlsProblems(values: SettingValues, readFile: (path: string) => string): string[] {
  const problems: string[] = [];
  const { GRPC_CERT: cert, GRPC_KEY: key, GRPC_CA: ca, HTTP_CERT: httpCert, HTTP_KEY: httpKey } = values;
  const missing = missingOf({ GRPC_CERT: cert, GRPC_KEY: key, GRPC_CA: ca });
  if (values.GRPC_TLS === true && missing.length > 0) problems.push(`GRPC_TLS needs ${missing.join(', ')} too`);
  if (values.GRPC_TLS === false && missing.length < 3)
    problems.push('GRPC_CERT, GRPC_KEY and GRPC_CA mean nothing without GRPC_TLS: set it, or none of them');
  if ((httpCert === undefined) !== (httpKey === undefined)) problems.push('HTTP_CERT and HTTP_KEY need each other');
  if (problems.length > 0) return problems;
  problems.push(
    ...fileProblems('GRPC', { cert, key, ca }, readFile),
    ...fileProblems('HTTP', { cert: httpCert, key: httpKey }, readFile),
  );
  return problems;
}

function missingOf(values: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(values).filter((name) => values[name] === undefined);
}

/** Whether the files can be read and fit each other: a node never starts in plaintext because of a bad one. */
function fileProblems(
  port: string,
  files: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string,
): string[] {
  const problems: string[] = [];
  const contents: Record<string, string> = {};
  for (const [role, path] of Object.entries(files)) {
    if (path === undefined) continue;
    try {
      contents[role] = readFile(path);
      // To TLS nothing is no certificate, and no mistake.
      if (contents[role].trim() === '') problems.push(`${port}_${role.toUpperCase()} is empty: ${path}`);
    } catch (error) {
      problems.push(`${port}_${role.toUpperCase()} cannot be read: ${(error as Error).message}`);
    }
  }
  if (problems.length > 0) return problems;
  try {
    checkCertificates(contents);
  } catch (error) {
    problems.push(`The TLS files of the ${port} port do not fit: ${(error as Error).message}`);
  }
  return problems;
}

/** Called only when nothing is wrong: then each value is there unless its default is none. */
function assemble(values: SettingValues, machine: Machine): NodeConfig {
  const v = values as { readonly [K in SettingName]: NonNullable<SettingValues[K]> };
  const clusterMode = values.CLUSTER_MODE ?? v.SEEDS.length > 0;
  return {
    nodeId: v.NODE_ID,
    port: v.PORT,
    grpcPort: v.GRPC_PORT,
    host: values.HOST ?? (clusterMode ? '0.0.0.0' : '127.0.0.1'),
    advertise: v.ADVERTISE,
    dataDir: v.DATA_DIR,
    clusterMode,
    seeds: v.SEEDS,
    shardCount: v.SHARD_COUNT,
    replicaCount: v.REPLICA_COUNT,
    heartbeatIntervalMs: v.HEARTBEAT_INTERVAL,
    heartbeatTimeoutMs: v.HEARTBEAT_TIMEOUT,
    queryTimeoutMs: v.QUERY_TIMEOUT,
    writeConsistency: v.WRITE_CONSISTENCY,
    partitionMode: v.PARTITION_MODE,
    fsync: v.FSYNC,
    rebalanceGraceMs: v.REBALANCE_GRACE,
    copyGraceMs: v.COPY_GRACE,
    moveBytesPerSecond: v.MOVE_BANDWIDTH,
    drainTimeoutMs: v.DRAIN_TIMEOUT,
    logRetentionMs: v.LOG_RETENTION,
    logRetentionBytes: values.LOG_RETENTION_BYTES ?? logRetentionBytesOf(machine, v.DATA_DIR),
    similarity: v.SIMILARITY,
    hnswM: v.HNSW_M,
    hnswEfConstruction: v.HNSW_EF_CONSTRUCTION,
    hnswEfSearch: v.HNSW_EF_SEARCH,
    dimensions: values.DIMENSIONS,
    grpcTls: v.GRPC_TLS ? { cert: v.GRPC_CERT, key: v.GRPC_KEY, ca: v.GRPC_CA } : undefined,
    httpTls: values.HTTP_CERT === undefined ? undefined : { cert: v.HTTP_CERT, key: v.HTTP_KEY },
    clusterSecret: values.CLUSTER_SECRET,
    apiKeys: values.API_KEY === undefined ? v.API_KEYS : [...v.API_KEYS, values.API_KEY],
    logLevel: v.LOG_LEVEL,
    logFormat: v.LOG_FORMAT,
    indexThreads: v.INDEX_THREADS,
    maxMemoryBytes: v.MAX_MEMORY,
    portsFile: values.PORTS_FILE,
  };
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) frozen(member);
    Object.freeze(value);
  }
  return value;
}
