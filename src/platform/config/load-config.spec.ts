import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { helpText, maskedConfig } from './describe-config.js';
import { ConfigurationError, loadConfig } from './load-config.js';
import type { ConfigInputs } from './load-config.js';
import type { Machine } from './machine.js';
import { systemMachine } from './machine.js';
import { SETTING_NAMES, fileKeyOf, flagOf, settingOf } from './settings.js';

const GIB = 2 ** 30;
const MAKE_CERTIFICATES = join(import.meta.dirname, '../../../docker/tls/make-certificates.sh');
const machine: Machine = {
  hostname: () => 'Node_7.Example.com',
  cores: () => 8,
  memoryBytes: () => 10 * GIB,
  diskBytes: () => 100 * GIB,
  isTerminal: () => false,
};
const noFile = (path: string): string => {
  throw new Error(`ENOENT: no such file ${path}`);
};

function load(inputs: Partial<ConfigInputs> & { yaml?: string } = {}) {
  const { yaml, ...rest } = inputs;
  const withFile =
    yaml === undefined ? {} : { readFile: () => yaml, env: { SPECTOR_CONFIG: 'node.yaml', ...inputs.env } };
  return loadConfig({ argv: [], env: {}, readFile: noFile, machine, ...rest, ...withFile });
}

function problems(inputs: Parameters<typeof load>[0]): readonly string[] {
  try {
    load(inputs);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('has the published defaults', () => {
    expect(load()).toEqual({
      nodeId: 'node-7',
      port: 7070,
      grpcPort: 9090,
      host: '127.0.0.1',
      advertise: 'Node_7.Example.com',
      dataDir: './data',
      clusterMode: false,
      seeds: [],
      shardCount: 2,
      replicaCount: 1,
      heartbeatIntervalMs: 2_000,
      heartbeatTimeoutMs: 10_000,
      queryTimeoutMs: 10_000,
      writeConsistency: 'auto',
      partitionMode: 'available',
      fsync: { kind: 'always' },
      rebalanceGraceMs: 600_000,
      copyGraceMs: 600_000,
      moveBytesPerSecond: 64 * 2 ** 20,
      drainTimeoutMs: 25_000,
      logRetentionMs: 86_400_000,
      logRetentionBytes: 10 * GIB,
      similarity: 'cosine',
      hnswM: 16,
      hnswEfConstruction: 200,
      hnswEfSearch: 100,
      dimensions: undefined,
      grpcTls: undefined,
      httpTls: undefined,
      clusterSecret: undefined,
      apiKeys: [],
      logLevel: 'info',
      logFormat: 'json',
      indexThreads: 7,
      maxMemoryBytes: 7 * GIB,
      portsFile: undefined,
    });
  });

  it('takes defaults from the machine', () => {
    const small: Machine = {
      hostname: () => '_.x',
      cores: () => 1,
      memoryBytes: () => GIB,
      diskBytes: () => 8 * GIB,
      isTerminal: () => true,
    };
    expect(load({ machine: small })).toMatchObject({
      nodeId: 'node',
      indexThreads: 1,
      logRetentionBytes: 2 * GIB,
      logFormat: 'pretty',
    });
    expect(load({ machine: { ...small, diskBytes: () => undefined } }).logRetentionBytes).toBe(10 * GIB);
    expect(load({ env: { SPECTOR_LOG_RETENTION_BYTES: '50%', SPECTOR_MAX_MEMORY: '25%' } })).toMatchObject({
      logRetentionBytes: 50 * GIB,
      maxMemoryBytes: 2.5 * GIB,
    });
  });

  it('takes a flag before the environment, that before the file, that before the default', () => {
    const yaml = 'shard_count: 3\nreplica_count: 3\nport: 3\n';
    const env = { SPECTOR_SHARD_COUNT: '4', SPECTOR_REPLICA_COUNT: '4' };
    expect(load({ argv: ['--shard-count', '5'], env, yaml })).toMatchObject({
      shardCount: 5,
      replicaCount: 4,
      port: 3,
      grpcPort: 9090,
    });
  });

  it('reads the published command', () => {
    const argv =
      '--cluster-mode --node-id node-1 --grpc-port 9090 --shard-count 4 --replica-count 2 --seeds node-1:9090'.split(
        ' ',
      );
    expect(load({ argv })).toMatchObject({
      clusterMode: true,
      nodeId: 'node-1',
      host: '0.0.0.0',
      shardCount: 4,
      replicaCount: 2,
      seeds: [{ host: 'node-1', port: 9090 }],
    });
  });

  it.each([
    [['--cluster-mode'], true],
    [['--cluster-mode', 'off'], false],
    [['--cluster-mode=0', '--seeds=a:1'], false],
    [['--seeds', ' a:1 , b:2,'], true],
    [[], false],
  ])('reads the switch of %j', (argv, clusterMode) => {
    expect(load({ argv }).clusterMode).toBe(clusterMode);
  });

  it('reads the older name of the seeds, and not both', () => {
    expect(load({ env: { SPECTOR_SEED_NODES: 'a:1' } }).seeds).toEqual([{ host: 'a', port: 1 }]);
    expect(problems({ env: { SPECTOR_SEED_NODES: 'a:1', SPECTOR_SEEDS: 'b:1' } })).toEqual([
      'SPECTOR_SEEDS and SPECTOR_SEED_NODES are the same setting: set one',
    ]);
  });

  it('takes an empty variable and a null in the file as not set', () => {
    expect(load({ env: { SPECTOR_PORT: '' }, yaml: 'grpc_port:\nseeds: []\n' })).toMatchObject({
      port: 7070,
      grpcPort: 9090,
      clusterMode: false,
    });
  });

  it('reads lists and scalars of the file', () => {
    expect(load({ yaml: 'seeds: [a:1, b:2]\ncluster_mode: off\ndimensions: 128\nfsync: interval:20\n' })).toMatchObject(
      {
        seeds: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        clusterMode: false,
        dimensions: 128,
        fsync: { kind: 'interval', ms: 20 },
      },
    );
    expect(load({ yaml: '# nothing\n' }).port).toBe(7070);
  });

  it('takes what the file says as it is written', () => {
    const written = 'node_id: 007\napi_key: 0042\ncluster_secret: 12345678901234567890\n';
    expect(load({ yaml: `${written}port: 7071\ngrpc_tls: off\ncluster_mode: True\n` })).toMatchObject({
      nodeId: '007',
      apiKeys: [{ sha256: createHash('sha256').update('0042').digest('hex') }],
      clusterSecret: '12345678901234567890',
      port: 7071,
      grpcTls: undefined,
      clusterMode: true,
    });
    expect(load({ yaml: 'api_key: ~\ncluster_secret: null\nport:\nadvertise: "null"\n' })).toMatchObject({
      apiKeys: [],
      clusterSecret: undefined,
      port: 7070,
      advertise: 'null',
    });
  });

  it('counts the last of a flag that is given again', () => {
    expect(load({ argv: ['--shard-count=4', '--port', '1', '--shard-count', '3'] })).toMatchObject({
      shardCount: 3,
      port: 1,
    });
  });

  it('lists all problems at once, each with its place', () => {
    const found = problems({
      argv: ['--port', 'abc', '--colour', 'red', '--grpc-port', '--shard-count=0', 'stray', '--api-key', 'x'],
      env: {
        SPECTOR_QUERY_TIMEOUT: '61s',
        SPECTOR_NODE_ID: 'Node_1',
        SPECTOR_HTTP_CERT: 'c.pem',
        SPECTOR_GRPC_TLS: 'on',
      },
      yaml: 'shards: 3\nfsync: sometimes\nseeds: {a: 1}\n',
    });
    expect(found).toEqual([
      '--colour is not a known flag; --help lists them',
      '"red" is neither a flag nor the value of one',
      '--grpc-port needs a value',
      '"stray" is neither a flag nor the value of one',
      '--api-key is no flag: other users could read it; set SPECTOR_API_KEY',
      '"x" is neither a flag nor the value of one',
      '"shards" in node.yaml is not a known setting',
      'seeds in node.yaml must be a single value or a list of texts',
      expect.stringMatching(/^SPECTOR_NODE_ID must be lower case letters.*; it is "Node_1"$/),
      '--port must be a whole number from 0 to 65535; it is "abc"',
      '--shard-count must be a whole number from 1 to 256; it is "0"',
      'SPECTOR_QUERY_TIMEOUT must be a duration from 1s to 60s, such as 500ms, 2s, 10m or 24h; it is "61s"',
      'fsync in node.yaml must be always, os or interval:<ms> with 1 to 60000; it is "sometimes"',
      'GRPC_TLS needs GRPC_CERT, GRPC_KEY, GRPC_CA too',
      'HTTP_CERT and HTTP_KEY need each other',
    ]);
  });

  it('checks settings against each other', () => {
    expect(problems({ env: { SPECTOR_HEARTBEAT_INTERVAL: '2s', SPECTOR_HEARTBEAT_TIMEOUT: '4.9s' } })[0]).toContain(
      'at least 2.5 times',
    );
    expect(problems({ env: { SPECTOR_HEARTBEAT_INTERVAL: '2s', SPECTOR_HEARTBEAT_TIMEOUT: '5s' } })).toEqual([]);
    expect(problems({ argv: ['--port', '9090'] })[0]).toContain('must differ');
    expect(problems({ argv: ['--port', '0', '--grpc-port', '0'] })).toEqual([]);
    expect(problems({ env: { SPECTOR_GRPC_CERT: 'x' } })[0]).toContain('mean nothing without GRPC_TLS');
  });

  it('refuses a configuration file that cannot be read or is no mapping', () => {
    expect(problems({ env: { SPECTOR_CONFIG: 'gone.yaml' } })[0]).toContain('gone.yaml cannot be read');
    expect(problems({ argv: ['--config', 'gone.yaml'] })[0]).toContain('gone.yaml cannot be read');
    expect(problems({ yaml: '- a\n' })).toEqual(['node.yaml must be a mapping of settings']);
    expect(problems({ yaml: 'port: 1\nport: 2\n' })[0]).toContain('Map keys must be unique');
    expect(problems({ yaml: 'port: [1\n' })).toHaveLength(1);
  });

  it('reads API keys and never repeats one in a problem', () => {
    const sha256 = createHash('sha256').update('s3cret').digest('hex');
    expect(
      load({
        env: { SPECTOR_API_KEYS: `r:read:${sha256.toUpperCase()}, w:write:${sha256}`, SPECTOR_API_KEY: 's3cret' },
      }).apiKeys,
    ).toEqual([
      { name: 'r', scope: 'read', sha256 },
      { name: 'w', scope: 'write', sha256 },
      { name: 'admin', scope: 'admin', sha256 },
    ]);
    const found = problems({ env: { SPECTOR_API_KEYS: 'a:read:s3cret' } });
    expect(found).toHaveLength(1);
    expect(found[0]).not.toContain('s3cret');
    expect(problems({ env: { SPECTOR_API_KEYS: `a:read:${sha256},a:write:${sha256}` } })).toEqual([
      'Two API keys have the name "a"',
    ]);
  });

  it('takes keys and seeds that name nothing for a mistake, not for none', () => {
    for (const nothing of [',', ' ']) {
      expect(problems({ env: { SPECTOR_API_KEYS: nothing } })).toEqual([
        expect.stringMatching(/^SPECTOR_API_KEYS must be name:scope:sha256/),
      ]);
      expect(problems({ env: { SPECTOR_SEEDS: nothing } })).toEqual([
        `SPECTOR_SEEDS must be host:port (of each, "" is not); it is "${nothing}"`,
      ]);
    }
    for (const nothing of ["['']", "['', '']"])
      expect(problems({ yaml: `api_keys: ${nothing}\nseeds: ${nothing}\n` })).toHaveLength(2);
    expect(load({ env: { SPECTOR_API_KEYS: '', SPECTOR_SEEDS: '' } })).toMatchObject({ apiKeys: [], seeds: [] });
    expect(load({ yaml: 'api_keys: []\nseeds:\n' })).toMatchObject({ apiKeys: [], seeds: [] });
  });

  it('refuses TLS files that are missing or no certificates', () => {
    const env = { SPECTOR_GRPC_TLS: '1', SPECTOR_GRPC_CERT: 'c', SPECTOR_GRPC_KEY: 'k', SPECTOR_GRPC_CA: 'a' };
    expect(problems({ env })).toHaveLength(3);
    expect(problems({ env, readFile: () => 'not pem' })[0]).toContain('do not fit');
    expect(problems({ env, readFile: () => '\n' })).toContain('GRPC_CERT is empty: c');
  });

  it('refuses a CA that is no certificate', () => {
    const directory = mkdtempSync(join(tmpdir(), 'spector-ca-'));
    try {
      const file = (name: string) => join(directory, name);
      execFileSync(MAKE_CERTIFICATES, [directory, 'node-1'], { stdio: 'pipe' });
      const read = (name: string) => readFileSync(file(name), 'utf8');
      const found = (ca: string) => {
        writeFileSync(file('given.pem'), ca);
        const env = {
          SPECTOR_GRPC_TLS: '1',
          SPECTOR_GRPC_CERT: file('node-1.pem'),
          SPECTOR_GRPC_KEY: file('node-1-key.pem'),
          SPECTOR_GRPC_CA: file('given.pem'),
        };
        return problems({ env, readFile: (path) => readFileSync(path, 'utf8') });
      };
      const none = 'The TLS files of the GRPC port do not fit: the file of the CA holds no certificate';
      expect(found(read('ca.pem'))).toEqual([]);
      expect(found(`${read('node-1-key.pem')}${read('ca.pem')}# two\n${read('node-1.pem')}`)).toEqual([]);
      expect(found('not pem')).toEqual([none]);
      expect(found(read('node-1-key.pem'))).toEqual([none]);
      expect(found(`${read('ca.pem')}${read('node-1.pem').slice(0, -40)}`)).toEqual([
        expect.stringContaining('certificate 2 in the file of the CA is none'),
      ]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('is frozen, deeply', () => {
    const config = load({ argv: ['--seeds', 'a:1'] });
    expect(Object.isFrozen(config) && Object.isFrozen(config.seeds) && Object.isFrozen(config.seeds[0])).toBe(true);
  });

  it('masks secrets in its description', () => {
    const masked = JSON.stringify(
      maskedConfig(load({ env: { SPECTOR_CLUSTER_SECRET: 'hush', SPECTOR_API_KEY: 'hush' } })),
    );
    expect(masked).not.toContain('hush');
    expect(masked).not.toContain(createHash('sha256').update('hush').digest('hex'));
    expect(masked).toContain('"clusterSecret":"***"');
  });

  it('explains every setting', () => {
    const help = helpText();
    for (const name of SETTING_NAMES)
      expect(help).toContain(settingOf(name).secret === true ? `SPECTOR_${name} ` : `${flagOf(name)} `);
    for (const line of help.split('\n')) expect(line).toBe(line.trimEnd());
  });
});

describe('config/default.yaml', () => {
  const path = join(import.meta.dirname, '../../../config/default.yaml');
  const yaml = readFileSync(path, 'utf8');

  it('sets nothing but the defaults', () => {
    expect(load({ yaml })).toEqual(load());
  });

  it.each(SETTING_NAMES)('has %s once, with its default and range', (name) => {
    const { fallback, range } = settingOf(name);
    const active = typeof fallback === 'string';
    const lines = yaml.split('\n');
    const at = lines.flatMap((line, i) => (new RegExp(`^(# )?${fileKeyOf(name)}: `).test(line) ? [i] : []));
    expect(at).toHaveLength(1);
    if (active) expect(lines[at[0]]).toBe(`${fileKeyOf(name)}: ${fallback}`);
    else expect(lines[at[0] - 1]).toBe(`# Default: ${fallback.words}`);
    const comment = lines.slice(lines.lastIndexOf('', at[0]), at[0]).join(' ');
    if (range !== undefined) expect(comment).toContain(range);
  });

  it('has no key that is none, and its examples are valid', () => {
    const examples = yaml
      .replaceAll(/^# ([a-z0-9_]+: )/gm, '$1')
      .replaceAll(/^grpc_(tls|cert|key|ca): .*$|^http_(cert|key): .*$/gm, '');
    expect(problems({ yaml: examples })).toEqual([]);
    expect(load({ yaml: examples }).nodeId).toBe('node-1');
  });
});

describe('systemMachine', () => {
  it('tells something plausible', () => {
    const directory = mkdtempSync(join(tmpdir(), 'spector-machine-'));
    try {
      expect(systemMachine.hostname()).not.toBe('');
      expect(systemMachine.cores()).toBeGreaterThanOrEqual(1);
      expect(systemMachine.memoryBytes()).toBeGreaterThan(64 * 2 ** 20);
      expect(systemMachine.diskBytes(join(directory, 'not', 'made', 'yet'))).toBe(systemMachine.diskBytes(directory));
      writeFileSync(join(directory, 'file'), '');
      expect(systemMachine.diskBytes(join(directory, 'file', 'below'))).toBeUndefined();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
