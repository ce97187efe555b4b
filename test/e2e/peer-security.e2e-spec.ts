import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, status as grpcStatus, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { TemporaryDirectory } from '../../src/cli/processes/temporary-directory.js';
import { HeartbeatRequestSchema, MembershipService } from '../../src/gen/spector/peer/v1/membership_pb.js';
import { Cluster, HEARTBEAT, type ClusterNode } from './cluster/cluster.js';
import { NodeProcess } from './cluster/node-process.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { corpus, store } from './support/documents.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(120_000);
afterAll(expectNoNodeLeft);

const MAKE_CERTIFICATES = fileURLToPath(new URL('../../docker/tls/make-certificates.sh', import.meta.url));
const HEARTBEAT_PATH = `/${MembershipService.typeName}/${MembershipService.method.heartbeat.name}`;
const LOOPBACK = { ...HEARTBEAT, SPECTOR_HOST: '127.0.0.1', SPECTOR_ADVERTISE: '127.0.0.1' } as const;
const REFUSED = /^(PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT|FAILED_PRECONDITION) /;

/** The line of a node that believes everybody. */
const UNPROTECTED = /"level":"warn".*neither certificates nor a secret protect .*CLUSTER_SECRET/;

/** A node that tries to get in and must not. */
interface Intruder {
  readonly nodeId: string;
  readonly env: Readonly<Record<string, string>>;
  /** What it says itself about why it is not let in. */
  readonly says: RegExp;
  /** What a node of the cluster says about it. */
  readonly told: RegExp;
}

/** Waits until one of these logs has a line of that kind; shows their ends when none comes. */
function said(what: RegExp, logs: () => readonly string[]): Promise<boolean> {
  return waitFor(
    what.source,
    () => {
      if (logs().some((log) => what.test(log))) return true;
      throw new Error(
        logs()
          .map((log) => log.slice(-2_000))
          .join('\n'),
      );
    },
    20_000,
  );
}

/** Starts nodes that must stay outside, and checks that each one and the cluster say why. */
async function expectRefused(cluster: Cluster, intruders: readonly Intruder[]): Promise<void> {
  const before = await cluster.settled();
  const started: NodeProcess[] = [];
  try {
    for (const { nodeId, env } of intruders)
      started.push(
        await NodeProcess.start({
          nodeId,
          args: ['--cluster-mode', '--seeds', cluster.seeds],
          env: { ...LOOPBACK, ...env },
          ready: false,
          outputChars: 100_000,
        }),
      );
    for (const [i, { nodeId, says, told }] of intruders.entries()) {
      await said(says, () => [started[i].output]);
      await said(told, () => cluster.nodes.map(({ output }) => output));
      const ready = await fetch(`${started[i].url}/readyz`);
      expect({ nodeId, ready: ready.status }).toEqual({ nodeId, ready: 503 });
    }
    const after = await cluster.settled();
    expect(Object.keys(after.topology)).toEqual(Object.keys(before.topology));
    expect(after.viewDigest).toBe(before.viewDigest);
    expect(after.insecure).toBe(false);
  } finally {
    for (const node of started) await node.dispose();
  }
}

/** One call to a peers' service as somebody who is no node; how it ended. */
function callAsPeer(
  address: string,
  channel: ReturnType<typeof credentials.createInsecure>,
  metadata: Readonly<Record<string, string>>,
  bytes: Uint8Array,
): Promise<string> {
  const client = new Client(address, channel, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'node-1',
  });
  const sent = new Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  return new Promise<string>((resolve) => {
    client.makeUnaryRequest(
      HEARTBEAT_PATH,
      (message: Uint8Array) => Buffer.from(message),
      (answer: Buffer) => answer,
      bytes,
      sent,
      { deadline: Date.now() + 10_000 },
      (error: ServiceError | null) => resolve(error === null ? 'OK' : `${grpcStatus[error.code]} ${error.details}`),
    );
  }).finally(() => client.close());
}

function claim(nodeId: string, clusterId: string): Record<string, string> {
  return {
    'spector-node': nodeId,
    'spector-uuid': '0123456789abcdef0123456789abcdef',
    'spector-cluster': clusterId,
  };
}

/** Bytes that are no gRPC, from somebody who just connects. */
function rubbish(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.end(bytes));
    socket.on('error', () => resolve());
    socket.on('close', () => resolve());
    socket.resume();
  });
}

/** Checks that something changes nothing: members, map and documents. */
async function expectUnimpressed(cluster: Cluster, act: (node: ClusterNode) => Promise<void>): Promise<void> {
  const before = await cluster.settled();
  const digests = await cluster.converged(2);
  await act(cluster.nodes[0]);
  const after = await cluster.settled();
  expect(Object.keys(after.topology)).toEqual(Object.keys(before.topology));
  expect(after.viewDigest).toBe(before.viewDigest);
  expect((await cluster.converged(2)).map(({ live }) => live)).toEqual(digests.map(({ live }) => live));
}

describe('nodes with certificates', () => {
  let directory: TemporaryDirectory;
  let cluster: Cluster;
  const tls = (authority: string, name: string): Record<string, string> => ({
    SPECTOR_GRPC_TLS: 'on',
    SPECTOR_GRPC_CERT: `${directory.path}/${authority}/${name}.pem`,
    SPECTOR_GRPC_KEY: `${directory.path}/${authority}/${name}-key.pem`,
    SPECTOR_GRPC_CA: `${directory.path}/${authority}/ca.pem`,
  });

  beforeAll(async () => {
    directory = await TemporaryDirectory.make('spector-e2e-tls-');
    const make = (authority: string, ...names: string[]) =>
      promisify(execFile)(MAKE_CERTIFICATES, [`${directory.path}/${authority}`, ...names]);
    await make('ours', 'node-1', 'node-2', 'node-8');
    await make('foreign', 'node-9');
    cluster = await Cluster.start({ nodes: 2, shards: 2, replicas: 1, envOf: (nodeId) => tls('ours', nodeId) });
    await store(cluster.nodes[0].rest, corpus(3, 50, 4));
  });
  afterAll(async () => {
    await cluster.dispose();
    await directory.remove();
  });

  it('are a cluster, and everybody else stays outside with a clear word on both sides', async () => {
    expect((await cluster.settled()).insecure).toBe(false);
    expectStatus(await cluster.nodes[1].rest.get('/api/v1/documents/doc-1'), 200);
    await expectRefused(cluster, [
      {
        nodeId: 'node-9',
        env: tls('foreign', 'node-9'),
        says: /the certificate of [^\n]* is refused/,
        told: /may not trust the certificate of this node|refused a TLS connection because of its certificate/,
      },
      {
        nodeId: 'node-7',
        env: tls('ours', 'node-8'),
        says: /does not let this node in: [^\n]*node-7[^\n]*node-8/,
        told: /refused a call between nodes: [^\n]*node-7[^\n]*node-8/,
      },
      {
        nodeId: 'node-6',
        env: tls('ours', 'client'),
        says: /does not let this node in: [^\n]*node-6[^\n]*client/,
        told: /node-7|node-6/,
      },
      { nodeId: 'node-5', env: {}, says: /did not answer: /, told: /it speaks no TLS/ },
    ]);
  });

  it('take no client for a node, and rubbish for nothing', async () => {
    const { clusterId } = await cluster.settled();
    const read = (name: string) => readFileSync(`${directory.path}/ours/${name}.pem`);
    const asClient = credentials.createSsl(read('ca'), read('client-key'), read('client'));
    await expectUnimpressed(cluster, async (node) => {
      const refusals = await node.metric('spector_peer_refusals_total');
      const empty = toBinary(HeartbeatRequestSchema, create(HeartbeatRequestSchema));
      const address = `127.0.0.1:${node.grpcPort}`;
      for (const metadata of [{}, claim('node-2', clusterId), claim('client', clusterId)])
        expect(await callAsPeer(address, asClient, metadata, empty)).toMatch(REFUSED);
      for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(65_536, 0xff)])
        await rubbish(node.grpcPort, bytes);
      expect(await node.metric('spector_peer_refusals_total')).toBeGreaterThanOrEqual(refusals + 2);
    });
  });
});

describe('nodes with a secret', () => {
  const SECRET = 'the-secret-of-this-cluster-alone';
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ nodes: 2, shards: 2, replicas: 1, env: { SPECTOR_CLUSTER_SECRET: SECRET } });
    await store(cluster.nodes[0].rest, corpus(4, 50, 4));
  });
  afterAll(() => cluster.dispose());

  it('are a cluster, and a node that does not know it stays outside with a clear word on both sides', async () => {
    await expectRefused(cluster, [
      {
        nodeId: 'node-9',
        env: { SPECTOR_CLUSTER_SECRET: 'some-other-secret-of-some-other-cluster' },
        says: /does not let this node in: [^\n]*(secret|proof)/i,
        told: /refused a call between nodes: [^\n]*node-9/,
      },
      {
        nodeId: 'node-8',
        env: {},
        says: /does not let this node in: [^\n]*(secret|proof)/i,
        told: /refused a call between nodes/,
      },
    ]);
    for (const { output } of cluster.nodes) {
      expect(output).not.toContain(SECRET);
      expect(output).not.toMatch(UNPROTECTED);
    }
  });

  it('count and refuse what is malformed, forged or of another time, and nothing changes', async () => {
    const { clusterId } = await cluster.settled();
    await expectUnimpressed(cluster, async (node) => {
      const refusals = await node.metric('spector_peer_refusals_total');
      const address = `127.0.0.1:${node.grpcPort}`;
      const open = credentials.createInsecure();
      const forged = {
        ...claim('node-2', clusterId),
        'spector-time': String(Date.now()),
        'spector-nonce': 'ab'.repeat(16),
        'spector-auth': 'cd'.repeat(32),
      };
      for (const metadata of [{}, claim('node-2', clusterId), forged, { ...forged, 'spector-time': '1' }])
        expect(await callAsPeer(address, open, metadata, new Uint8Array([8, 1]))).toMatch(REFUSED);
      const noise = [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(65_536, 0xff), Buffer.alloc(0)];
      for (const bytes of noise) await rubbish(node.grpcPort, bytes);
      expect(await node.metric('spector_peer_refusals_total')).toBeGreaterThanOrEqual(refusals + 3);
    });
  });
});

describe('an open cluster', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ nodes: 2, shards: 2, replicas: 1 });
    await store(cluster.nodes[0].rest, corpus(5, 50, 4));
  });
  afterAll(() => cluster.dispose());

  it('says that it is open, and still refuses rubbish and nodes of other clusters', async () => {
    const { insecure, clusterId } = await cluster.settled();
    expect(insecure).toBe(true);
    for (const { output } of cluster.nodes) expect(output).toMatch(UNPROTECTED);
    await expectUnimpressed(cluster, async (node) => {
      const refusals = await node.metric('spector_peer_refusals_total');
      const address = `127.0.0.1:${node.grpcPort}`;
      const open = credentials.createInsecure();
      const empty = toBinary(HeartbeatRequestSchema, create(HeartbeatRequestSchema));
      const foreign = claim('node-2', '00000000-0000-4000-8000-000000000000');
      expect(await callAsPeer(address, open, foreign, empty)).not.toBe('OK');
      for (const bytes of [empty, new Uint8Array([0xff, 0xff, 0xff]), new Uint8Array(5 * 1024 * 1024)])
        expect(await callAsPeer(address, open, claim('node-2', clusterId), bytes)).not.toBe('OK');
      expect(await node.metric('spector_peer_refusals_total')).toBeGreaterThanOrEqual(refusals + 2);
    });
  });

  it('does not take in a node that belongs to another cluster', async () => {
    const before = await cluster.settled();
    const other = await NodeProcess.start({
      nodeId: 'node-9',
      env: { SPECTOR_SHARD_COUNT: '1' },
      outputChars: 100_000,
    });
    try {
      await other.client().ingest({ id: 'its-own', title: 'kept' });
      await other.restart({ args: ['--cluster-mode', '--seeds', cluster.seeds], env: LOOPBACK, ready: false });
      void other.expectExit();
      await said(/belongs to|another cluster|foreign/i, () => [other.output]);
      const after = await cluster.settled();
      expect(Object.keys(after.topology)).toEqual(Object.keys(before.topology));
      expect(after.clusterId).toBe(before.clusterId);
      expectStatus(await cluster.nodes[0].rest.get('/api/v1/documents/its-own'), 404);
    } finally {
      await other.dispose();
    }
  });

  it('does not take in a second node of one name', async () => {
    const twin = await NodeProcess.start({
      nodeId: 'node-2',
      args: ['--cluster-mode', '--seeds', cluster.seeds],
      env: LOOPBACK,
      ready: false,
    });
    try {
      expect((await twin.expectExit()).code).toBe(1);
      expect(twin.output).toMatch(/node id "node-2" is in use/);
      expect((await cluster.settled()).activeNodes).toBe(2);
    } finally {
      await twin.dispose();
    }
  });
});
