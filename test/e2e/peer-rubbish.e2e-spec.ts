import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import { Client, credentials, status as grpcStatus, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { META_SHARD } from '../../src/kernel/ids.js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import * as membership from '../../src/gen/spector/peer/v1/membership_pb.js';
import * as replication from '../../src/gen/spector/peer/v1/replication_pb.js';
import * as shards from '../../src/gen/spector/peer/v1/shard_pb.js';
import { fromHex } from '../../src/kernel/bytes.js';
import { EPOCH_LEAP_MAX } from '../../src/kernel/epoch.js';
import { decodeWire, encodeWire } from '../../src/kernel/wire.js';
import { SHARD_CALL_WIRE } from '../../src/modules/coordinator/core/shard-call-wire.js';
import type { ShardWrite } from '../../src/modules/coordinator/core/shard-calls.js';
import { encodePositions } from '../../src/modules/replication/core/position-codec.js';
import { encodeDocument } from '../../src/modules/shard/core/document-codec.js';
import { encodeSearch } from '../../src/modules/shard/core/search-wire.js';
import { systemClock } from '../../src/platform/clock/system-clock.js';
import { systemRandom } from '../../src/platform/clock/system-random.js';
import { methodPath } from '../../src/platform/grpc/package-definition.js';
import { PeerCredentials } from '../../src/platform/grpc/peer-credentials.js';
import { Cluster, type ClusterNode, type Status } from './cluster/cluster.js';
import { expectNoNodeLeft } from './cluster/running.js';
import { waitFor } from './cluster/wait-for.js';
import { corpus, store } from './support/documents.js';
import { expectStatus } from './support/problem.js';

jest.setTimeout(120_000);
afterAll(expectNoNodeLeft);

const SECRET = 'the-secret-of-this-cluster-alone';
const NO_PROTOBUF = new Uint8Array([0xff, 0xff, 0xff]);
/** Above what a message between nodes may have. */
const TOO_LARGE = new Uint8Array(5 * 1024 * 1024);
const STRANGER = 'ee'.repeat(16);
const SERVICES = [membership.MembershipService, replication.ReplicationService, shards.ShardService];
const { heartbeat, exchange } = membership.MembershipService.method;
const { fence, announce, follow, pull, fetch, checkpoint } = replication.ReplicationService.method;
const { query } = shards.ShardService.method;

/** What a call ended with. */
interface Ended {
  readonly status: string;
  readonly details: string;
  readonly answers: readonly Uint8Array[];
}

interface Caller {
  readonly nodeId: string;
  readonly nodeUuid: string;
  /** Default: that of the cluster. */
  readonly clusterId?: string;
  /** Of its clock. */
  readonly aheadMs?: number;
}

/** Calls of somebody who knows the secret of the cluster, byte by byte. */
class Rubbish {
  readonly #client: Client;

  constructor(
    private readonly node: ClusterNode,
    private readonly clusterId: string,
  ) {
    this.#client = new Client(`127.0.0.1:${node.grpcPort}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** Sends these messages and waits for the end; when one is answered, that is the end. */
  send(method: DescMethod, messages: readonly Uint8Array[], caller: Caller): Promise<Ended> {
    const answers: Uint8Array[] = [];
    return new Promise((resolve) => {
      const call = this.#client.makeBidiStreamRequest(
        methodPath(method),
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => new Uint8Array(bytes),
        this.#metadata(method, caller),
        { deadline: Date.now() + 10_000 },
      );
      call.on('data', (answer: Uint8Array) => {
        answers.push(answer);
        call.end();
      });
      call.on('error', () => undefined);
      call.on('status', ({ code, details }: StatusObject) => resolve({ status: grpcStatus[code], details, answers }));
      for (const message of messages) call.write(message);
      if (method.methodKind === 'unary') call.end();
    });
  }

  close(): void {
    this.#client.close();
  }

  #metadata(method: DescMethod, { nodeId, nodeUuid, clusterId = this.clusterId, aheadMs = 0 }: Caller): Metadata {
    const clock = { ...systemClock, wallMs: () => Date.now() + aheadMs };
    const security = { kind: 'secret', secret: SECRET } as const;
    return new PeerCredentials({
      nodeId,
      nodeUuid,
      clusterId: () => clusterId,
      security,
      clock,
      random: systemRandom,
    }).metadata(methodPath(method), this.node.nodeId);
  }
}

function bytesOf<D extends DescMessage>(schema: D, value: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, value));
}

function uuidOf(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  if (bytes === undefined) throw new Error(`${hex} is no uuid`);
  return bytes;
}

/** One question about shards, with these bytes. */
function asked(kind: shards.CallKind, body: Uint8Array): Uint8Array {
  return bytesOf(shards.QueryRequestSchema, { generation: 1n, calls: [{ id: 1n, kind, timeoutMs: 2_000, body }] });
}

describe('what a node that proved itself says, but no node would', () => {
  let cluster: Cluster;
  let node: ClusterNode;
  let rubbish: Rubbish;
  let status: Status;
  let record: membership.NodeRecord;
  /** An exchange as node-2 would begin one. */
  let view: Uint8Array;
  /** The other node of the cluster. */
  let fellow: Caller;
  const stranger: Caller = { nodeId: 'node-7', nodeUuid: STRANGER };

  beforeAll(async () => {
    cluster = await Cluster.start({ nodes: 2, shards: 2, replicas: 1, env: { SPECTOR_CLUSTER_SECRET: SECRET } });
    [node] = cluster.nodes;
    await store(node.rest, corpus(6, 50, 4));
    status = await cluster.settled();
    rubbish = new Rubbish(node, status.clusterId);
    const { members } = expectStatus<{ members: { nodeId: string; nodeUuid: string }[] }>(
      await node.rest.get('/api/v1/cluster'),
      200,
    );
    const nodeUuid = members.find(({ nodeId }) => nodeId === 'node-2')?.nodeUuid ?? '';
    fellow = { nodeId: 'node-2', nodeUuid };
    view = bytesOf(membership.ExchangeRequestSchema, {
      clusterId: status.clusterId,
      from: uuidOf(nodeUuid),
      viewDigest: '',
      records: [],
    });
    const { answers } = await rubbish.send(exchange, [view], fellow);
    const { records } = fromBinary(membership.ExchangeResponseSchema, answers[0]);
    const found = records.find(({ nodeId }) => nodeId === 'node-2');
    if (found === undefined) throw new Error('the view knows no node-2');
    record = found;
  });
  afterAll(async () => {
    rubbish.close();
    await cluster.dispose();
  });

  /** Everything that must stay as it is. */
  async function state() {
    const now = await cluster.settled();
    return {
      pids: cluster.nodes.map(({ pid }) => pid),
      nodes: Object.keys(now.topology),
      view: now.viewDigest,
      map: now.mapEpoch,
      documents: now.documents,
      reigns: now.shards.map(({ epoch, primary, offset }) => ({ epoch, primary, offset })),
      digests: (await cluster.converged(2)).map(({ offset, chain, live }) => ({ offset, chain, live })),
    };
  }

  /** That all of it is refused, counted as so many, and changes nothing; the node serves. */
  async function expectUnchanged(counted: number, act: () => Promise<void>): Promise<void> {
    const before = await state();
    const refusals = await node.metric('spector_peer_refusals_total');
    await act();
    expect((await node.metric('spector_peer_refusals_total')) - refusals).toBe(counted);
    expect(await state()).toEqual(before);
    for (const { rest } of cluster.nodes) {
      const found = await rest.post('/api/v1/search', { vector: [1, 0, 0, 0], text: 'red', topK: 50 });
      expect(expectStatus<{ partial: boolean }>(found, 200).partial).toBe(false);
    }
  }

  function introduction(): Uint8Array {
    const self = { nodeId: 'node-7', nodeUuid: uuidOf(STRANGER), version: '1.0.0', grpcAddress: '127.0.0.1:1' };
    return bytesOf(membership.IntroduceRequestSchema, { self });
  }

  function shardLedBy(nodeId: string): { readonly shard: number; readonly epoch: number } {
    const led = status.shards.find(({ primary }) => primary === nodeId);
    if (led === undefined) throw new Error(`${nodeId} leads no shard`);
    return led;
  }

  it('is no message of its method, or too large', async () => {
    const methods = SERVICES.flatMap(({ methods: all }) => all);
    await expectUnchanged(methods.length + 3, async () => {
      for (const method of methods)
        expect(await rubbish.send(method, [NO_PROTOBUF], fellow)).toMatchObject({ status: 'INVALID_ARGUMENT' });
      for (const method of [heartbeat, follow, query])
        expect(await rubbish.send(method, [TOO_LARGE], fellow)).toMatchObject({ status: 'RESOURCE_EXHAUSTED' });
    });
  });

  it('is said by one that the map does not know: it may introduce itself, and no more', async () => {
    const known = [membership.MembershipService.method.introduce, membership.MembershipService.method.join];
    const closed = SERVICES.flatMap(({ methods }) => methods).filter(
      (method) => !known.some((open) => open === method),
    );
    const renamed = { nodeId: 'node-8', nodeUuid: fellow.nodeUuid };
    await expectUnchanged(closed.length + 1, async () => {
      for (const method of closed) {
        const refused = await rubbish.send(method, [view], stranger);
        expect(refused).toMatchObject({ status: 'FAILED_PRECONDITION', answers: [] });
        expect(refused.details).toMatch(/node-7 is not registered in the map/);
      }
      expect((await rubbish.send(exchange, [view], renamed)).status).toBe('FAILED_PRECONDITION');
      const introduced = await rubbish.send(known[0], [introduction()], stranger);
      expect(introduced).toMatchObject({ status: 'OK', answers: [expect.anything()] });
    });
  });

  it('is a question that cannot be read, or a write that is no document', async () => {
    const gates = [{ shard: 0, epoch: 1, primary: false, stale: true }];
    const vector = { values: Float32Array.of(1, 0, 0, 0), k: 5, ef: 50 };
    const search = encodeSearch({ collectionId: 1, exact: false, vector });
    const ask = { mapEpoch: 1, gates, search: search.slice(0, -3) };
    const whole = encodeWire(SHARD_CALL_WIRE.search.ask, { ...ask, search });
    const write: ShardWrite = {
      shard: shardLedBy(node.nodeId).shard,
      op: 'UPSERT',
      collectionId: 1,
      id: 'rubbish',
      payload: encodeDocument({ title: 'x', vector: Float32Array.of(1, Number.NaN, 0, 0) }),
      level: 'one',
      opId: new Uint8Array(16),
    };
    const writing = (change: Partial<ShardWrite>): Uint8Array =>
      encodeWire(SHARD_CALL_WIRE.write.ask, { mapEpoch: 1, writes: [{ ...write, ...change }] });
    const { SEARCH, WRITE } = shards.CallKind;
    const refused = [
      asked(SEARCH, encodeWire(SHARD_CALL_WIRE.search.ask, ask)),
      asked(SEARCH, whole.slice(0, -1)),
      asked(WRITE, writing({})),
      asked(WRITE, writing({ payload: Uint8Array.of(9, 9, 9) })),
      asked(WRITE, writing({ op: 'DELETE', opId: new Uint8Array(3) })),
      asked(shards.CallKind.UNSPECIFIED, whole),
    ];
    await expectUnchanged(refused.length, async () => {
      for (const message of refused)
        expect(await rubbish.send(query, [message], fellow)).toMatchObject({ status: 'INVALID_ARGUMENT' });
      // What can be read but is of nothing here is turned away in the answer.
      const [payload, relay] = [encodeDocument({ title: 'x' }), { from: fellow.nodeUuid, generation: 1, to: STRANGER }];
      for (const ask of [
        { mapEpoch: 1, writes: [{ ...write, shard: 900, payload }] },
        { mapEpoch: 1, writes: [{ ...write, payload }], relay },
        { mapEpoch: 2 ** 50, writes: [{ ...write, payload }] },
      ]) {
        const { answers } = await rubbish.send(
          query,
          [asked(WRITE, encodeWire(SHARD_CALL_WIRE.write.ask, ask))],
          fellow,
        );
        const [{ body, failure }] = fromBinary(shards.QueryResponseSchema, answers[0]).answers;
        expect(failure).toBeUndefined();
        expect(decodeWire(SHARD_CALL_WIRE.write.answer, body)).toMatchObject([{ kind: 'turned-away' }]);
      }
    });
  });

  it('is of a reign that is over, or of one that cannot be', async () => {
    const { shard, epoch } = shardLedBy(node.nodeId);
    const uuid = uuidOf(STRANGER);
    const [stale, leap] = [0n, BigInt(epoch + EPOCH_LEAP_MAX + 1)].map((num) => ({ num, uuid }));
    const chain = new Uint8Array(16);
    const entries = [new Uint8Array(200 * 1024), new Uint8Array(200 * 1024)];
    const following = (
      kind: MessageInitShape<typeof replication.FollowRequestSchema>['kind'],
      batch: Uint8Array[] = [],
    ) => rubbish.send(follow, [bytesOf(replication.FollowRequestSchema, { kind, entries: batch })], fellow);
    const hello = {
      shard,
      nodeUuid: record.nodeUuid,
      bootCount: 1n,
      mapEpoch: 1n,
      promised: leap,
      end: { lastOffset: 0n, lastEpoch: stale, chain, history: [], start: 0n },
    };
    await expectUnchanged(8, async () => {
      for (const num of [stale, leap]) {
        const set = { mapEpoch: BigInt(status.mapEpoch), members: [record.nodeUuid] };
        const request = { shard, epoch: num, cause: replication.FenceCause.HEAL, set };
        const { answers } = await rubbish.send(fence, [bytesOf(replication.FenceRequestSchema, request)], fellow);
        expect(fromBinary(replication.FenceResponseSchema, answers[0]).answer).toMatchObject({
          case: 'refused',
          value: { reason: replication.FenceResponse_RefusalReason.PROMISED },
        });
        // Nobody answers to an announcement: it is heard, and not believed.
        const leader = { shard, epoch: num, node: uuid };
        const told = await rubbish.send(announce, [bytesOf(replication.AnnounceRequestSchema, { leader })], fellow);
        expect(told.status).toBe('OK');
      }
      const { answers } = await following({ case: 'hello', value: hello });
      expect(fromBinary(replication.FollowResponseSchema, answers[0]).kind).toMatchObject({
        case: 'answer',
        value: { answer: { case: 'reject', value: { reason: replication.HelloAnswer_RejectReason.STALE_EPOCH } } },
      });
      // No copy knows more to be agreed than it has.
      const boasting = { ...hello, end: { ...hello.end, agreed: 1n } };
      expect((await following({ case: 'hello', value: boasting })).status).toBe('INVALID_ARGUMENT');
      // Entries come behind a hello only, of the node that sends them, and in batches of bounded size.
      const offer = { last: true, branch: [] };
      expect((await following({ case: 'offer', value: offer })).status).toBe('INVALID_ARGUMENT');
      expect((await following({ case: 'offer', value: offer }, entries)).status).toBe('INVALID_ARGUMENT');
      expect((await following({ case: 'hello', value: hello }, entries)).status).toBe('INVALID_ARGUMENT');
      // Behind one, they are verified before anything is read of them.
      const said = bytesOf(replication.FollowRequestSchema, { kind: { case: 'hello', value: hello } });
      for (const entry of [new Uint8Array(3), new Uint8Array(300)]) {
        const kind = { case: 'offer', value: offer } as const;
        const offered = bytesOf(replication.FollowRequestSchema, { kind, entries: [entry] });
        expect((await rubbish.send(follow, [said, offered], fellow)).status).toBe('INVALID_ARGUMENT');
      }
      const other = { ...hello, nodeUuid: uuid };
      expect((await following({ case: 'hello', value: other })).status).toBe('PERMISSION_DENIED');
      // What no copy has is refused, too.
      const pulled = { shard, epoch: stale, from: 1n, bytesMax: 1_000n };
      const fetched = { shard: 200, from: 1n, to: 9n, anchor: 0n, bytesMax: 1_000n };
      for (const ended of [
        await rubbish.send(pull, [bytesOf(replication.PullRequestSchema, pulled)], fellow),
        await rubbish.send(fetch, [bytesOf(replication.FetchRequestSchema, fetched)], fellow),
      ])
        expect(ended).toMatchObject({ status: 'UNAVAILABLE', answers: [] });
      // Nor is there a file beside those of a checkpoint.
      const part = (of: MessageInitShape<typeof replication.CheckpointRequestSchema>) =>
        rubbish.send(checkpoint, [bytesOf(replication.CheckpointRequestSchema, of)], fellow);
      const far = BigInt(Number.MAX_SAFE_INTEGER);
      for (const of of [
        { shard, file: '../../identity' },
        { shard, file: '/etc/passwd' },
        { shard, file: '.', from: far },
        { shard, offset: far },
        { shard: 200 },
        { shard: META_SHARD },
      ])
        expect(await part(of)).toMatchObject({ status: 'UNAVAILABLE', answers: [] });
      expect((await part({ shard, file: 'x'.repeat(256) })).status).toBe('INVALID_ARGUMENT');
    });
  });

  it('is a heartbeat of another cluster, of another node, or of another time', async () => {
    const { shard, epoch } = shardLedBy(node.nodeId);
    const num = epoch + EPOCH_LEAP_MAX + 1;
    const leap = { num, uuid: record.nodeUuid };
    const positions = encodePositions([
      {
        shard,
        role: 'primary',
        epoch: leap,
        leader: fellow.nodeUuid,
        setEpoch: 2 ** 40,
        settled: 0,
        lastEpoch: leap,
        lastStart: 1,
        agreedEpoch: leap,
        agreed: 1,
        lastOffset: 2 ** 40,
        durable: 2 ** 40,
        applied: 2 ** 40,
        inSync: true,
        faulted: false,
        held: false,
        loose: 0,
        documents: 0,
        lagMs: 0,
      },
    ]);
    const year3000 = Date.UTC(3000, 0);
    const beating = (change: Pick<Partial<membership.Beat>, 'clusterId' | 'positions'>, wallMs = Date.now()) => {
      const load = { diskFreeBytes: 1n << 40n, diskTotalBytes: 1n << 41n, wallMs: BigInt(wallMs) };
      const beat = { clusterId: status.clusterId, self: record, load, mapEpoch: BigInt(status.mapEpoch), ...change };
      return bytesOf(membership.HeartbeatRequestSchema, { beat });
    };
    const send = async (bytes: Uint8Array, caller = fellow): Promise<string> =>
      (await rubbish.send(heartbeat, [bytes], caller)).status;
    const foreign = '00000000-0000-4000-8000-000000000000';
    await expectUnchanged(6, async () => {
      expect(await send(beating({ clusterId: foreign }))).toBe('PERMISSION_DENIED');
      expect(await send(beating({}), { ...fellow, clusterId: foreign })).toBe('FAILED_PRECONDITION');
      expect(await send(beating({}), stranger)).toBe('FAILED_PRECONDITION');
      expect(await send(beating({}), { ...fellow, aheadMs: 3_600_000 })).toBe('UNAUTHENTICATED');
      expect(await send(beating({}, 2 ** 60))).toBe('INVALID_ARGUMENT');
      expect(await send(beating({ positions: new Uint8Array(1024 * 1024 + 1) }))).toBe('INVALID_ARGUMENT');
      // A clock may be wrong, and positions are the word of another: both are heard, and nothing follows from them. For so
      // long that a primary would have stepped over a reign that it believed in.
      const until = performance.now() + 2_000;
      await waitFor(
        'some seconds of heartbeats',
        async () => {
          expect(await send(beating({ positions }, year3000))).toBe('OK');
          return performance.now() >= until;
        },
        20_000,
      );
    });
    const written = await node.rest.put('/api/v1/documents/after', { title: 'after all of it' });
    const { version, session } = expectStatus<{ version: string; session: string }>(written, 201);
    const headers = { 'spector-session': session };
    const read = await cluster.nodes[1].rest.get('/api/v1/documents/after', { headers });
    expect(expectStatus<{ version: string }>(read, 200)).toEqual(expect.objectContaining({ version }));
  });
});
