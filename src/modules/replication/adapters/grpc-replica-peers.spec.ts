import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { toBinary } from '@bufbuild/protobuf';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FollowResponseSchema, ProbeResponseSchema } from '../../../gen/spector/peer/v1/replication_pb.js';
import { toHex } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import { META_SHARD } from '../../../kernel/ids.js';
import { PeerError, PeerRefusal } from '../../../kernel/peer.js';
import { systemClock } from '../../../platform/clock/system-clock.js';
import { systemRandom } from '../../../platform/clock/system-random.js';
import { NodeGrpcServer } from '../../../platform/grpc/node-grpc-server.js';
import { methodPath } from '../../../platform/grpc/package-definition.js';
import { PeerAuth } from '../../../platform/grpc/peer-auth.js';
import { PeerChannels } from '../../../platform/grpc/peer-channels.js';
import { PeerCredentials } from '../../../platform/grpc/peer-credentials.js';
import { PEER_METADATA } from '../../../platform/grpc/peer-identity.js';
import { createLogger } from '../../../platform/logging/logger.js';
import type { FenceAnswer, FollowerMessage, Hello, LogEnd, PrimaryMessage, ShardLeader } from '../core/protocol.js';
import type { Link, LinkEvents } from '../../../kernel/link.js';
import type { IndexServer } from '../index-peers.js';
import type { ReplicaServer } from '../replica-peers.js';
import { writePrimaryMessage } from '../follow.mapper.js';
import { REPLICA_SERVICE, writeProbeAnswer } from '../replica.mapper.js';
import { GrpcReplicaPeers } from './grpc-replica-peers.js';
import { replicaHandlers } from './grpc-replica-server.js';

const log = createLogger({ level: 'silent', format: 'json', nodeId: 'n' });
const follower = 'f1'.repeat(16);
const primary = 'a1'.repeat(16);
const epoch: Epoch = { num: 7, uuid: new Uint8Array(16).fill(0xa1) };
const chain = new Uint8Array(16).fill(9);
const end: LogEnd = {
  lastOffset: Number.MAX_SAFE_INTEGER,
  lastEpoch: epoch,
  chain,
  history: [
    { epoch: { num: 1, uuid: new Uint8Array(16) }, start: 1 },
    { epoch, start: 500 },
  ],
  start: 3,
  agreed: 501,
};
const hello: Hello = {
  ...end,
  shard: META_SHARD,
  nodeUuid: follower,
  bootCount: 2,
  mapEpoch: 11,
  promised: epoch,
  loose: 4,
};
/** The largest that networks of servers are set to. */
const PACKET_BYTES = 9_000;
const leader: ShardLeader = { shard: 3, epoch, node: primary };

describe('replicas over gRPC', () => {
  let server: NodeGrpcServer;
  let channels: PeerChannels;
  let peers: GrpcReplicaPeers;
  let malformed: number;
  let unreadable: string[];
  let asked: unknown[];
  let links: Link<PrimaryMessage>[];
  let heard: FollowerMessage[];
  let fenceAnswer: FenceAnswer;

  const replicas: ReplicaServer = {
    onFollow: (from, shard, link) => {
      asked.push(['follow', from, shard]);
      links.push(link);
      return { message: (message) => void heard.push(message), ended: (error) => asked.push(['ended', error]) };
    },
    onFence: async (from, request) => {
      asked.push(['fence', from, request]);
      return fenceAnswer;
    },
    onProbe: async (from, request) => {
      asked.push(['probe', from, request]);
      if (request.shard === 9) throw new PeerRefusal('FAULTED', 'damaged');
      return { alive: true };
    },
    onPull: async (from, request) => {
      asked.push(['pull', from, request]);
      if (request.shard === 9) throw new PeerError('REJECTED', 'no copy of it is here');
      return { entries: [new Uint8Array([1, 2]), new Uint8Array(700)], prevChain: chain };
    },
    onFetch: async (from, request) => {
      asked.push(['fetch', from, request]);
      return { entries: [new Uint8Array(3)], anchorChain: chain };
    },
    onCovers: async (from, request) => {
      asked.push(['covers', from, request]);
      return { covered: request.offset < 100 };
    },
    onAnnounce: (from, told) => void asked.push(['announce', from, told]),
  };

  const indexes: IndexServer = {
    onCheckpoint: async (from, request) => {
      asked.push(['checkpoint', from, request]);
      if (request.shard === 9) throw new PeerError('REJECTED', 'it has no such checkpoint');
      return { offset: 70, bytes: new Uint8Array(5) };
    },
  };

  beforeEach(async () => {
    malformed = 0;
    unreadable = [];
    asked = [];
    links = [];
    heard = [];
    fenceAnswer = { kind: 'granted', setEpoch: 5, end };
    const auth = new PeerAuth({
      nodeId: 'node-a',
      security: { kind: 'open' },
      clusterId: () => 'c',
      clock: systemClock,
      log,
      refused: (reason) => unreadable.push(reason),
    });
    server = new NodeGrpcServer({ host: '127.0.0.1', port: 0, services: [], drainTimeoutMs: 50, log });
    server.addPeerService(
      REPLICA_SERVICE,
      replicaHandlers(replicas, indexes, () => malformed++),
      auth,
    );
    expect(await new Promise((resolve) => void server.listen(resolve))).toBeUndefined();
    channels = new PeerChannels({
      credentials: new PeerCredentials({
        nodeId: 'node-f',
        nodeUuid: follower,
        clusterId: () => 'c',
        security: { kind: 'open' },
        clock: systemClock,
        random: systemRandom,
      }),
      clock: systemClock,
      log,
    });
    peers = new GrpcReplicaPeers({
      channels,
      resolve: (uuid) => (uuid === primary ? { address: `127.0.0.1:${server.port}`, nodeId: 'node-a' } : undefined),
      others: () => ['00'.repeat(16), primary],
    });
  });

  afterEach(async () => {
    channels.close();
    await server.close();
  });

  /** Opens a stream and collects what it says. */
  function follow() {
    const received: PrimaryMessage[] = [];
    const ends: (Error | undefined)[] = [];
    const events: LinkEvents<PrimaryMessage> = {
      message: (message) => void received.push(message),
      ended: (error) => void ends.push(error),
    };
    return { received, ends, link: peers.follow(primary, hello.shard, events) };
  }

  it('asks and answers in the words of the core', async () => {
    const set = { mapEpoch: 4, members: [primary, follower] };
    const fence = { shard: 3, epoch, cause: 'suspect', set } as const;
    expect(await peers.fence(primary, fence, 2_000)).toEqual(fenceAnswer);
    fenceAnswer = { kind: 'refused', reason: 'SET_NEWER', promised: epoch, set, hint: leader };
    expect(await peers.fence(primary, { ...fence, cause: 'heal' }, 2_000)).toEqual(fenceAnswer);
    fenceAnswer = { kind: 'refused', reason: 'PRIMARY_LIVES', promised: epoch };
    expect(await peers.fence(primary, { ...fence, cause: 'transfer' }, 2_000)).toEqual(fenceAnswer);
    expect(await peers.probe(primary, { shard: 3, epoch, via: primary }, 2_000)).toEqual({ alive: true });
    expect(await peers.probe(primary, { shard: 3, epoch }, 2_000)).toEqual({ alive: true });
    const pulled = await peers.pull(primary, { shard: 3, epoch, from: 12, bytesMax: 1_000 }, 2_000);
    expect(pulled.entries.map((entry) => entry.length)).toEqual([2, 700]);
    expect(pulled.prevChain).toEqual(chain);
    const covers = { shard: 3, mapEpoch: 7, offset: 99, chain };
    expect(await peers.covers(primary, covers, 2_000)).toEqual({ covered: true });
    expect(await peers.covers(primary, { ...covers, offset: 100 }, 2_000)).toEqual({ covered: false });
    const fetch = { shard: 3, from: 5, to: 9, anchor: 12, bytesMax: 1_000 };
    expect(await peers.fetch(primary, fetch, 2_000)).toEqual({ entries: [new Uint8Array(3)], anchorChain: chain });
    const part = { shard: 3, offset: 70, file: '1.graph', from: 1 << 20 };
    expect(await peers.checkpoint(primary, part, 2_000)).toEqual({ offset: 70, bytes: new Uint8Array(5) });
    await expect(peers.checkpoint(primary, { ...part, shard: 9 }, 2_000)).rejects.toMatchObject({ reason: 'REJECTED' });
    await expect(peers.checkpoint(primary, { ...part, file: 'x'.repeat(256) }, 2_000)).rejects.toThrow('file name');
    expect(malformed).toBe(1);
    peers.announce(leader);
    await until(() => asked.length === 12);
    expect(asked).toEqual([
      ['fence', follower, fence],
      ['fence', follower, { ...fence, cause: 'heal' }],
      ['fence', follower, { ...fence, cause: 'transfer' }],
      ['probe', follower, { shard: 3, epoch, via: primary }],
      ['probe', follower, { shard: 3, epoch }],
      ['pull', follower, { shard: 3, epoch, from: 12, bytesMax: 1_000 }],
      ['covers', follower, { shard: 3, mapEpoch: 7, offset: 99, chain }],
      ['covers', follower, { shard: 3, mapEpoch: 7, offset: 100, chain }],
      ['fetch', follower, fetch],
      ['checkpoint', follower, part],
      ['checkpoint', follower, { ...part, shard: 9 }],
      ['announce', follower, leader],
    ]);
  });

  it('hands on a refusal, and knows when it knows nobody', async () => {
    await expect(peers.probe(primary, { shard: 9, epoch }, 2_000)).rejects.toMatchObject({
      reason: 'REJECTED',
      code: 'FAULTED',
    });
    const nothing = { shard: 9, epoch, from: 1, bytesMax: 1_000 };
    await expect(peers.pull(primary, nothing, 2_000)).rejects.toMatchObject({
      reason: 'REJECTED',
      code: 'SHARD_UNAVAILABLE',
    });
    await expect(peers.probe(follower, { shard: 3, epoch }, 2_000)).rejects.toMatchObject({ reason: 'UNRESOLVED' });
    const ends: (Error | undefined)[] = [];
    peers.follow(follower, 0, { message: () => undefined, ended: (error) => void ends.push(error) });
    await until(() => ends.length === 1);
    expect(ends[0]).toMatchObject({ reason: 'UNRESOLVED' });
  });

  it('carries every message of a stream', async () => {
    const { received, ends, link } = follow();
    const ack = { durableOffset: 1, appliedOffset: 0, chain, creditBytes: 8 * 1024 * 1024 };
    const offer = { entries: [new Uint8Array(300)], last: true, branch: [{ epoch, end: 40, fork: 30 }] };
    const said: FollowerMessage[] = [
      { kind: 'hello', hello: { ...hello, partial: { offset: 12, chain, after: new Uint8Array(12).fill(7) } } },
      { kind: 'hello', hello: { ...hello, damaged: true } },
      { kind: 'ack', ack },
      { kind: 'offer', offer },
    ];
    for (const message of said) link.send(message);
    await until(() => heard.length === 4);
    expect(heard).toEqual(said);
    expect(asked).toEqual([['follow', follower, META_SHARD]]);
    const batch = {
      epoch,
      prevOffset: 1,
      prevChain: chain,
      entries: [new Uint8Array(700).fill(1), new Uint8Array(700).fill(2)],
      highWaterMark: 1,
      tail: 3,
      inSync: [primary, follower],
      floor: 2,
      taken: 0,
    };
    const operations = [{ opId: new Uint8Array(16), value: new Uint8Array([1]) }];
    const answers: PrimaryMessage[] = [
      { kind: 'answer', answer: { kind: 'accept', epoch, from: 2 } },
      { kind: 'answer', answer: { kind: 'diverged', epoch, fork: 1 } },
      { kind: 'answer', answer: { kind: 'snapshot', epoch, fork: 0, at: { ...end, merged: [] } } },
      {
        kind: 'answer',
        answer: {
          kind: 'snapshot',
          epoch,
          fork: 0,
          at: { ...end, merged: [{ epoch, end: 40, fork: 30, offset: 51 }] },
          resumed: true,
        },
      },
      { kind: 'answer', answer: { kind: 'reject', reason: 'NOT_PRIMARY', hint: leader } },
      { kind: 'answer', answer: { kind: 'reject', reason: 'BUSY' } },
      { kind: 'answer', answer: { kind: 'reject', reason: 'BEHIND', hint: leader } },
      { kind: 'batch', batch },
      { kind: 'batch', batch: { ...batch, entries: [], inSync: [] } },
      { kind: 'chunk', chunk: { entries: [new Uint8Array(5)], operations, last: true } },
      { kind: 'handOver', epoch },
    ];
    for (const answer of answers) links[0].send(answer);
    links[0].close();
    await until(() => ends.length === 1);
    expect(ends).toEqual([undefined]);
    expect(received).toEqual(answers);
    // What the core keeps does not keep the frame.
    const kept = received[7].kind === 'batch' ? received[7].batch.prevChain : chain;
    expect(kept.buffer.byteLength).toBe(16);
  });

  it('say that a primary lives in more bytes than a packet has', () => {
    const batch = {
      epoch,
      prevOffset: 1,
      prevChain: chain,
      entries: [],
      highWaterMark: 1,
      tail: 3,
      inSync: [],
      floor: 2,
    };
    const sizes = [
      writePrimaryMessage({ kind: 'answer', answer: { kind: 'accept', epoch, from: 2 } }),
      writePrimaryMessage({ kind: 'batch', batch, ballast: true }),
      writePrimaryMessage({ kind: 'batch', batch }),
    ].map((message) => toBinary(FollowResponseSchema, message).length);
    expect(sizes.map((bytes) => bytes > PACKET_BYTES)).toEqual([true, true, false]);
    expect(toBinary(ProbeResponseSchema, writeProbeAnswer({ alive: true })).length).toBeGreaterThan(PACKET_BYTES);
  });

  it('refuses a stream that does not start with its own hello', async () => {
    const wrong: FollowerMessage[] = [
      { kind: 'ack', ack: { durableOffset: 1, appliedOffset: 1, chain, creditBytes: 1 } },
      { kind: 'hello', hello: { ...hello, nodeUuid: primary } },
      { kind: 'hello', hello: { ...hello, lastOffset: 5, agreed: 6 } },
      { kind: 'hello', hello: { ...hello, history: [] } },
    ];
    for (const message of wrong) {
      const { ends, link } = follow();
      link.send(message);
      await until(() => ends.length === 1);
      expect(ends[0]).toMatchObject({ reason: 'REJECTED' });
    }
    expect(malformed).toBe(wrong.length);
    expect(asked).toEqual([]);
  });

  it('refuses batches that are larger than allowed, but one entry', async () => {
    const { received, ends, link } = follow();
    link.send({ kind: 'hello', hello });
    link.send({ kind: 'offer', offer: { entries: [new Uint8Array(1024 * 1024)], last: false, branch: [] } });
    await until(() => heard.length === 2);
    const entries = [new Uint8Array(200 * 1024), new Uint8Array(200 * 1024)];
    link.send({ kind: 'offer', offer: { entries, last: false, branch: [] } });
    await until(() => ends.length === 1);
    expect(ends[0]).toMatchObject({ reason: 'REJECTED', code: 'INVALID_REQUEST' });
    expect(asked.at(-1)).toEqual(['ended', expect.any(Error)]);
    expect([heard.length, malformed, received.length]).toEqual([2, 1, 0]);

    const other = follow();
    other.link.send({ kind: 'hello', hello });
    await until(() => links.length === 2);
    links[1].send({
      kind: 'batch',
      batch: { epoch, prevOffset: 0, prevChain: chain, entries, highWaterMark: 0, tail: 2, inSync: [], floor: 0 },
    });
    await until(() => other.ends.length === 1);
    expect(other.ends[0]).toBeInstanceOf(PeerError);
    expect(other.received).toEqual([]);
  });

  describe('and rubbish', () => {
    const metadata = new Metadata();
    metadata.set(PEER_METADATA.node, 'node-x');
    metadata.set(PEER_METADATA.uuid, follower);

    /** The status a method answers these bytes with. */
    function send(path: string, bytes: Uint8Array): Promise<string> {
      const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
      return new Promise<string>((resolve) => {
        const call = client.makeBidiStreamRequest(
          path,
          (value: Uint8Array) => Buffer.from(value),
          (value: Buffer) => value,
          metadata,
          { deadline: Date.now() + 5_000 },
        );
        call.on('data', () => undefined);
        call.on('error', () => undefined);
        call.on('status', ({ code, details }) => resolve(`${code} ${details}`));
        call.write(bytes);
        call.end();
      }).finally(() => client.close());
    }

    it('is refused by every method, counted, and changes nothing', async () => {
      // Seeded by nothing: whatever the bytes are, the answer is a refusal or an empty message's.
      for (const method of Object.values(REPLICA_SERVICE.method)) {
        for (const length of [0, 1, 7, 100, 5_000, 300_000]) {
          const bytes = randomBytes(length);
          const status = await send(methodPath(method), bytes);
          if (!status.startsWith('0 ') && !status.startsWith('3 '))
            throw new Error(`${method.name} of ${toHex(bytes.subarray(0, 200))}: ${status}`);
        }
        expect(await send(methodPath(method), new Uint8Array(5 * 1024 * 1024))).toMatch(/^(8|3) /);
      }
      // An empty message asks for a manifest, and so do bytes that are fields nobody knows: that changes nothing.
      expect(asked.filter((question) => (question as unknown[])[0] !== 'checkpoint')).toEqual([]);
      expect(malformed).toBeGreaterThan(0);
      expect(await peers.probe(primary, { shard: 3, epoch }, 2_000)).toEqual({ alive: true });
    });

    it('that is no message of its method, or none that a peer may send, is counted', async () => {
      const path = methodPath(REPLICA_SERVICE.method.probe);
      expect(await send(path, new Uint8Array([0xff, 0xff, 0xff]))).toMatch(/^3 /);
      expect(await send(path, new Uint8Array(5 * 1024 * 1024))).toMatch(/^(8|3) /);
      expect(await send(methodPath(REPLICA_SERVICE.method.follow), new Uint8Array([0xff, 0xff, 0xff]))).toMatch(/^3 /);
      expect([unreadable, malformed]).toEqual([['malformed', 'malformed', 'malformed'], 0]);
    });

    it('that is not even HTTP/2 ends its own connection only', async () => {
      for (const bytes of [randomBytes(100), Buffer.from('GET / HTTP/1.1\r\n\r\n'), randomBytes(100_000)]) {
        await new Promise<void>((resolve) => {
          const socket = connect(server.port, '127.0.0.1', () => socket.write(bytes));
          socket.on('error', () => undefined);
          socket.on('data', () => undefined);
          socket.on('close', () => resolve());
          socket.setTimeout(1_000, () => socket.destroy());
        });
      }
      expect(await peers.probe(primary, { shard: 3, epoch }, 2_000)).toEqual({ alive: true });
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  const limit = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > limit) throw new Error(`not within 5 s: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
