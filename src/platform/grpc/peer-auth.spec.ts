import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PeerError } from '../../kernel/peer.js';
import {
  ExchangeRequestSchema,
  ExchangeResponseSchema,
  HeartbeatResponseSchema,
  IntroduceRequestSchema,
  IntroduceResponseSchema,
  JoinResponseSchema,
  MembershipService,
} from '../../gen/spector/peer/v1/membership_pb.js';
import { systemClock } from '../clock/system-clock.js';
import { systemRandom } from '../clock/system-random.js';
import { createLogger } from '../logging/logger.js';
import { GrpcCertificates } from './grpc-certificates.js';
import { NodeGrpcServer } from './node-grpc-server.js';
import { methodDefinition, methodPath } from './package-definition.js';
import type { PeerAuthOptions } from './peer-auth.js';
import { PeerAuth } from './peer-auth.js';
import { PeerChannels } from './peer-channels.js';
import { PeerCredentials } from './peer-credentials.js';
import type { PeerIdentity } from './peer-identity.js';
import { PEER_METADATA, peerOf } from './peer-identity.js';
import { PROOF_WINDOW_MS, proofOf } from './peer-proof.js';
import type { PeerSecurity } from './peer-security.js';
import { handshakeLog } from './tls-handshakes.js';

const script = join(import.meta.dirname, '../../../docker/tls/make-certificates.sh');
const { introduce, exchange } = MembershipService.method;
const uuids = { one: '01'.repeat(16), two: '02'.repeat(16) };

describe('who may call the services between nodes', () => {
  let server: NodeGrpcServer;
  let address: string;
  let callers: PeerIdentity[];
  let refusals: string[];
  const lines: string[] = [];
  const opened: PeerChannels[] = [];
  const log = createLogger({
    level: 'info',
    format: 'json',
    nodeId: 'n',
    destination: { write: (line: string) => void lines.push(line) },
  });

  async function serve(
    security: PeerSecurity,
    tls?: { cert: string; key: string; ca: string },
    options: Partial<PeerAuthOptions> = {},
  ): Promise<void> {
    const auth = new PeerAuth({
      nodeId: 'node-2',
      security,
      clusterId: () => 'ours',
      clock: systemClock,
      log,
      refused: (reason) => refusals.push(reason),
      ...options,
    });
    server = new NodeGrpcServer({
      host: '127.0.0.1',
      port: 0,
      tls,
      services: [],
      drainTimeoutMs: 50,
      log,
      refusedHandshake: handshakeLog(systemClock, log, () => refusals.push('handshake')),
    });
    server.addPeerService(
      MembershipService,
      {
        introduce: (_request, call) => {
          callers.push(peerOf(call));
          return create(IntroduceResponseSchema);
        },
        join: () => create(JoinResponseSchema),
        heartbeat: () => create(HeartbeatResponseSchema),
        exchange: (_request, call) => {
          callers.push(peerOf(call));
          return create(ExchangeResponseSchema);
        },
      },
      auth,
    );
    const problem = await new Promise((resolve) => void server.listen(resolve));
    expect(problem).toBeUndefined();
    address = `127.0.0.1:${server.port}`;
  }

  function node(security: PeerSecurity, who: { nodeId?: string; clusterId?: string } = {}): PeerChannels {
    const channels = new PeerChannels({
      credentials: new PeerCredentials({
        nodeId: who.nodeId ?? 'node-1',
        nodeUuid: uuids.one,
        clusterId: () => who.clusterId ?? 'ours',
        security,
        clock: systemClock,
        random: systemRandom,
      }),
      clock: systemClock,
      log,
    });
    opened.push(channels);
    return channels;
  }

  function ask(channels: PeerChannels, nodeId?: string) {
    const request = create(ExchangeRequestSchema);
    return channels.unary({ address, nodeId }, 'control', exchange, request, { timeoutMs: 3_000 });
  }

  function introduceTo(channels: PeerChannels, nodeId?: string) {
    const request = create(IntroduceRequestSchema);
    return channels.unary({ address, nodeId }, 'control', introduce, request, { timeoutMs: 3_000 });
  }

  async function refused(asked: Promise<unknown>): Promise<PeerError> {
    try {
      await asked;
    } catch (error) {
      if (error instanceof PeerError) return error;
      throw error;
    }
    throw new Error('it was answered');
  }

  /** A call with any metadata, as somebody could send it. */
  function raw(metadata: Record<string, string>, channel = credentials.createInsecure()): Promise<string> {
    const client = new Client(address, channel);
    const { path, requestSerialize, responseDeserialize } = methodDefinition(exchange);
    const sent = new Metadata();
    for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
    return new Promise<string>((resolve) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        create(ExchangeRequestSchema),
        sent,
        { deadline: Date.now() + 3_000 },
        (error) => resolve(error === null ? 'OK' : error.message),
      );
    }).finally(() => client.close());
  }

  beforeEach(() => {
    callers = [];
    refusals = [];
    lines.length = 0;
  });

  afterEach(async () => {
    for (const channels of opened.splice(0)) channels.close();
    await server.close();
  });

  const logged = () => lines.map((line) => (JSON.parse(line) as { msg: string }).msg).join('\n');

  describe('without a secret', () => {
    beforeEach(() => serve({ kind: 'open' }));

    it('takes nodes at their word, and clients for what they are', async () => {
      await ask(node({ kind: 'open' }));
      expect(callers).toEqual([{ nodeId: 'node-1', nodeUuid: uuids.one, clusterId: 'ours' }]);
      expect(await raw({})).toContain('PERMISSION_DENIED');
      expect(await raw({ [PEER_METADATA.node]: 'node-1' })).toContain('INVALID_ARGUMENT');
      expect(await raw({ [PEER_METADATA.node]: 'Not an id', [PEER_METADATA.uuid]: uuids.one })).toContain(
        'INVALID_ARGUMENT',
      );
      expect(refusals).toEqual(['client', 'malformed', 'malformed']);
      expect(callers).toHaveLength(1);
    });

    it('refuses nodes of another cluster, but answers who it is', async () => {
      const foreign = node({ kind: 'open' }, { clusterId: 'theirs' });
      expect(await refused(ask(foreign))).toMatchObject({ reason: 'REJECTED', code: 'FOREIGN_CLUSTER' });
      await introduceTo(foreign);
      await ask(node({ kind: 'open' }, { clusterId: '' }));
      expect(refusals).toEqual(['foreign-cluster']);
    });

    it('refuses who meant another node', async () => {
      const channels = node({ kind: 'open' });
      expect(await refused(introduceTo(channels, 'node-7'))).toMatchObject({ reason: 'REJECTED', code: 'WRONG_NODE' });
      await introduceTo(channels, 'node-2');
    });
  });

  it('lets nodes that are not registered only join', async () => {
    await serve({ kind: 'open' }, undefined, { registered: ({ nodeId }) => nodeId !== 'node-9' });
    const stranger = node({ kind: 'open' }, { nodeId: 'node-9' });
    expect(await refused(ask(stranger))).toMatchObject({ reason: 'REJECTED', code: 'UNREGISTERED' });
    await introduceTo(stranger);
    await ask(node({ kind: 'open' }));
  });

  describe('with a cluster secret', () => {
    const secret = 'a secret of the cluster';
    let nowMs: number;

    beforeEach(async () => {
      nowMs = Date.now();
      await serve({ kind: 'secret', secret }, undefined, {
        clock: { wallMs: () => nowMs, monotonicMs: () => performance.now() },
      });
    });

    function proven(change: Partial<Record<string, string>> = {}, key = secret): Record<string, string> {
      const claim = {
        method: methodPath(exchange),
        nodeId: 'node-1',
        nodeUuid: uuids.one,
        clusterId: 'ours',
        to: 'node-2',
        time: String(nowMs),
        nonce: 'f00d',
        ...change,
      };
      return {
        [PEER_METADATA.node]: claim.nodeId,
        [PEER_METADATA.uuid]: claim.nodeUuid,
        [PEER_METADATA.cluster]: claim.clusterId,
        [PEER_METADATA.to]: claim.to,
        [PEER_METADATA.time]: claim.time,
        [PEER_METADATA.nonce]: claim.nonce,
        [PEER_METADATA.auth]: proofOf(key, claim),
      };
    }

    it('admits who knows it', async () => {
      const channels = node({ kind: 'secret', secret });
      await ask(channels, 'node-2');
      await ask(channels);
      expect(callers).toHaveLength(2);
      expect(refusals).toEqual([]);
    });

    it('refuses who does not, and who says nothing', async () => {
      const other = node({ kind: 'secret', secret: 'another' });
      expect(await refused(ask(other))).toMatchObject({ reason: 'REJECTED', code: 'UNAUTHENTICATED' });
      expect(await refused(ask(node({ kind: 'open' })))).toMatchObject({ reason: 'REJECTED', code: 'FORBIDDEN' });
      expect(await raw({})).toContain('PERMISSION_DENIED');
      expect(refusals).toEqual(['proof', 'proof', 'client']);
      expect(logged()).toContain('it has another cluster secret');
      // The caller's own log says so as well.
      expect(logged()).toContain('this node is refused: ');
      expect(callers).toEqual([]);
    });

    it('refuses a proof for anything else than what it was made for', async () => {
      expect(await raw(proven())).toBe('OK');
      const altered = [
        { ...proven({ nonce: 'a' }), [PEER_METADATA.node]: 'node-3' },
        { ...proven({ nonce: 'b' }), [PEER_METADATA.uuid]: uuids.two },
        { ...proven({ nonce: 'c' }), [PEER_METADATA.cluster]: 'theirs' },
        { ...proven({ nonce: 'd' }), [PEER_METADATA.to]: '' },
        { ...proven({ nonce: 'e' }), [PEER_METADATA.time]: String(nowMs + 1) },
        { ...proven({ nonce: 'f' }), [PEER_METADATA.nonce]: 'g' },
        proven({ method: methodPath(introduce) }),
        proven({}, 'another'),
        { ...proven(), [PEER_METADATA.auth]: '00' },
      ];
      for (const metadata of altered) expect(await raw(metadata)).toContain('UNAUTHENTICATED');
      expect(refusals).toEqual(altered.map(() => 'proof'));
      expect(callers).toHaveLength(1);
    });

    it('refuses a proof twice, and one of another time', async () => {
      expect(await raw(proven())).toBe('OK');
      expect(await raw(proven())).toContain('UNAUTHENTICATED');
      const late = proven({ nonce: 'late', time: String(nowMs - PROOF_WINDOW_MS - 1) });
      const early = proven({ nonce: 'early', time: String(nowMs + PROOF_WINDOW_MS + 1) });
      expect(await raw(late)).toContain('UNAUTHENTICATED');
      expect(await raw(early)).toContain('UNAUTHENTICATED');
      expect(await raw(proven({ nonce: 'in time', time: String(nowMs - PROOF_WINDOW_MS) }))).toBe('OK');
      expect(refusals).toEqual(['replay', 'time', 'time']);
    });
  });

  describe('with TLS', () => {
    let directory: string;
    const file = (name: string) => join(directory, name);
    const files = (of: string, who: string) => ({
      cert: file(`${of}/${who}.pem`),
      key: file(`${of}/${who}-key.pem`),
      ca: file('ours/ca.pem'),
    });
    const tls = (of: string, who: string): PeerSecurity => ({
      kind: 'tls',
      certificates: new GrpcCertificates(files(of, who)),
    });

    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), 'spector-peers-'));
      execFileSync(script, [file('ours'), 'node-1', 'node-2', 'node-3'], { stdio: 'pipe' });
      execFileSync(script, [file('foreign'), 'node-1', 'node-2'], { stdio: 'pipe' });
      execFileSync('mkdir', [file('expired')]);
      for (const name of ['ca.pem', 'ca-key.pem']) copyFileSync(file(`ours/${name}`), file(`expired/${name}`));
      execFileSync(script, [file('expired'), 'node-1', 'node-2'], {
        stdio: 'pipe',
        env: { ...process.env, DAYS: '-1' },
      });
    });

    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    /** A server with the certificate of `who`; what it trusts is our authority. */
    const serveTls = (of = 'ours', who = 'node-2') => serve(tls(of, who), files(of, who));

    it('admits nodes, and binds them to their certificates', async () => {
      await serveTls();
      const channels = node(tls('ours', 'node-1'));
      await ask(channels, 'node-2');
      await ask(channels);
      expect(callers.map(({ nodeId }) => nodeId)).toEqual(['node-1', 'node-1']);
      expect(refusals).toEqual([]);
    });

    it('refuses who claims the name of another, and clients', async () => {
      await serveTls();
      const impostor = node(tls('ours', 'node-3'));
      expect(await refused(ask(impostor))).toMatchObject({ reason: 'REJECTED', code: 'FORBIDDEN' });
      expect(await refused(ask(node(tls('ours', 'client'))))).toMatchObject({ reason: 'REJECTED', code: 'FORBIDDEN' });
      expect(refusals).toEqual(['certificate', 'certificate']);
      expect(logged()).toContain('says it is node-1, but its certificate names DNS:node-3');
      const client = new GrpcCertificates(files('ours', 'client')).channelCredentials(() => undefined);
      expect(await raw({}, client)).toContain('PERMISSION_DENIED');
      expect(callers).toEqual([]);
    });

    it('refuses certificates of another authority and expired ones, and both sides say so', async () => {
      await serveTls();
      for (const kind of ['foreign', 'expired']) {
        lines.length = 0;
        refusals.length = 0;
        const error = await refused(ask(node(tls(kind, 'node-1')), 'node-2'));
        expect(error.reason).toMatch(/REJECTED|RESET/);
        await until(() => refusals.includes('handshake'));
        expect(logged()).toContain('refused a TLS connection because of its certificate');
        expect(logged()).toMatch(/no connection: .* refuses (the certificate of this node|our certificate)/);
      }
      expect(callers).toEqual([]);
    });

    it('says what came without TLS, and who hung up for its certificate', async () => {
      await serveTls();
      expect((await refused(ask(node({ kind: 'open' }), 'node-2'))).reason).toMatch(/RESET|TIMEOUT|REFUSED/);
      await until(() => logged().includes('a connection failed: it speaks no TLS'));
      refusals.length = 0;
      const distrusting = connect({ host: '127.0.0.1', port: Number(address.split(':')[1]), servername: 'node-2' });
      await new Promise((resolve) => distrusting.once('error', resolve));
      await until(() => logged().includes('it may not trust the certificate of this node'));
      expect(refusals).toContain('handshake');
    });

    it.each(['foreign', 'expired'])('does not talk to a server with a certificate that is %s', async (of) => {
      await serveTls(of);
      const error = await refused(ask(node(tls('ours', 'node-1')), 'node-2'));
      expect(error).toMatchObject({ reason: 'REJECTED', code: 'UNAUTHENTICATED' });
      expect(error.message).toContain(of === 'expired' ? 'certificate has expired' : 'certificate');
      expect(logged()).toContain(`no connection: the certificate of ${address} is refused`);
      expect(callers).toEqual([]);
    });

    it('does not talk to another node than the one it means', async () => {
      await serveTls('ours', 'node-3');
      const channels = node(tls('ours', 'node-1'));
      const error = await refused(ask(channels, 'node-2'));
      expect(error).toMatchObject({ reason: 'REJECTED', code: 'UNAUTHENTICATED' });
      expect(error.message).toContain('the certificate is not that of node-2: it names DNS:node-3');
      expect(callers).toEqual([]);
      // Until it knows whom to expect, the authority is enough.
      await introduceTo(channels);
      expect(callers).toHaveLength(1);
    });

    it('never falls back to plaintext', async () => {
      await serveTls();
      expect((await refused(ask(node({ kind: 'open' })))).reason).toMatch(/RESET|REJECTED/);
      await server.close();
      await serve({ kind: 'open' });
      expect((await refused(ask(node(tls('ours', 'node-1')), 'node-2'))).reason).toMatch(/RESET|REJECTED/);
      expect(callers).toEqual([]);
    });

    it('presents a renewed certificate on new connections', async () => {
      await serveTls();
      const renewed = { cert: file('renewed.pem'), key: file('renewed-key.pem'), ca: file('ours/ca.pem') };
      const install = (of: string) => {
        copyFileSync(file(`${of}/node-1.pem`), renewed.cert);
        copyFileSync(file(`${of}/node-1-key.pem`), renewed.key);
      };
      install('expired');
      const certificates = new GrpcCertificates(renewed);
      const channels = node({ kind: 'tls', certificates });
      await refused(ask(channels, 'node-2'));
      install('ours');
      certificates.reload();
      channels.forget(address);
      await ask(channels, 'node-2');
      expect(callers).toHaveLength(1);
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 5 s: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
