import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { PeerFailure } from '../../kernel/peer.js';
import { PeerError, PeerRefusal } from '../../kernel/peer.js';
import { NodeError } from '../../kernel/errors.js';
import type { FollowRequest, FollowResponse } from '../../gen/spector/peer/v1/replication_pb.js';
import {
  CheckpointResponseSchema,
  CoversResponseSchema,
  FenceResponseSchema,
  FetchResponseSchema,
  FollowRequestSchema,
  FollowResponseSchema,
  PullRequestSchema,
  PullResponseSchema,
  ProbeRequestSchema,
  ProbeResponseSchema,
  ReplicationService,
} from '../../gen/spector/peer/v1/replication_pb.js';
import { systemClock } from '../clock/system-clock.js';
import { systemRandom } from '../clock/system-random.js';
import { createLogger } from '../logging/logger.js';
import { grpcCallContext } from './grpc-call.js';
import { NodeGrpcServer } from './node-grpc-server.js';
import { PeerAuth } from './peer-auth.js';
import { PeerChannels } from './peer-channels.js';
import { PeerCredentials } from './peer-credentials.js';
import { peerOf } from './peer-identity.js';
import type { PeerLinkEvents } from './peer-link.js';
import type { PeerServerLink } from './peer-stream.js';
import { servePeerStream } from './peer-stream.js';

const log = createLogger({ level: 'silent', format: 'json', nodeId: 'n' });
const uuid = 'ab'.repeat(16);
const { probe, pull, follow } = ReplicationService.method;
const epoch = { num: 1n, uuid: new Uint8Array(16) };

/** Answers probes of shard 1; says no to others; serves streams as the test wants. */
class Peer {
  server: NodeGrpcServer | undefined;
  asked = 0;
  aborted = 0;
  open: (link: PeerServerLink<FollowResponse>) => PeerLinkEvents<FollowRequest> = () => silent;
  readonly callers: string[] = [];

  async listen(port = 0): Promise<number> {
    const auth = new PeerAuth({
      nodeId: 'node-2',
      security: { kind: 'open' },
      clusterId: () => '',
      clock: systemClock,
      log,
      refused: () => undefined,
    });
    this.server = new NodeGrpcServer({ host: '127.0.0.1', port, services: [], drainTimeoutMs: 50, log });
    this.server.addPeerService(
      ReplicationService,
      {
        follow: (call) => servePeerStream(call, this.open),
        fence: () => create(FenceResponseSchema),
        probe: async ({ shard }, call) => {
          this.asked++;
          this.callers.push(peerOf(call).nodeId);
          if (shard === 1) return create(ProbeResponseSchema, { alive: true });
          if (shard === 2) throw new PeerRefusal('NOT_PRIMARY', 'node-3 is', { node: 'node-3' });
          if (shard === 3) throw new NodeError('OVERLOADED', 'later', { retryAfterMs: 40 });
          const { signal } = grpcCallContext(call);
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
          this.aborted++;
          return create(ProbeResponseSchema);
        },
        pull: ({ bytesMax }) => create(PullResponseSchema, { entries: [new Uint8Array(Number(bytesMax))] }),
        fetch: () => create(FetchResponseSchema),
        covers: () => create(CoversResponseSchema),
        checkpoint: () => create(CheckpointResponseSchema),
        announce: () => {
          throw new TypeError('a bug');
        },
      },
      auth,
    );
    const problem = await new Promise((resolve) => void this.server?.listen(resolve));
    if (problem !== undefined) throw problem as Error;
    return this.server.port;
  }

  async stop(): Promise<void> {
    await this.server?.close();
    this.server = undefined;
  }
}

const silent: PeerLinkEvents<FollowRequest> = { message: () => undefined, ended: () => undefined };

describe('connections between nodes', () => {
  let peer: Peer;
  let channels: PeerChannels;
  let address: string;
  let failures: PeerFailure[];
  const listeners: Server[] = [];
  const sockets = new Set<Socket>();

  beforeEach(async () => {
    peer = new Peer();
    failures = [];
    address = `127.0.0.1:${await peer.listen()}`;
    channels = new PeerChannels({
      credentials: new PeerCredentials({
        nodeId: 'node-1',
        nodeUuid: uuid,
        clusterId: () => '',
        security: { kind: 'open' },
        clock: systemClock,
        random: systemRandom,
      }),
      clock: systemClock,
      log,
      failed: (_connection, reason) => failures.push(reason),
    });
  });

  afterEach(async () => {
    channels.close();
    await peer.stop();
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const listener of listeners.splice(0)) await new Promise((resolve) => listener.close(resolve));
  });

  function ask(shard: number, options: { timeoutMs?: number; signal?: AbortSignal; at?: string } = {}) {
    const request = create(ProbeRequestSchema, { shard, epoch });
    return channels.unary({ address: options.at ?? address }, 'control', probe, request, {
      timeoutMs: options.timeoutMs ?? 2_000,
      signal: options.signal,
    });
  }

  async function failure(asked: Promise<unknown>): Promise<{ error: PeerError; ms: number }> {
    const started = performance.now();
    try {
      await asked;
    } catch (error) {
      if (error instanceof PeerError) return { error, ms: performance.now() - started };
      throw error;
    }
    throw new Error('it was answered');
  }

  /** A port that accepts connections, and does with them what it is told. */
  async function port(accept: (socket: Socket) => void): Promise<string> {
    const listener = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      accept(socket);
    });
    listeners.push(listener);
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(listener.address() as { port: number }).port}`;
  }

  describe('a question', () => {
    it('is answered, over one connection per purpose', async () => {
      expect((await ask(1)).alive).toBe(true);
      expect((await ask(1)).alive).toBe(true);
      expect(channels.size).toBe(1);
      const request = create(ProbeRequestSchema, { shard: 1, epoch });
      await channels.unary({ address }, 'query', probe, request, { timeoutMs: 2_000 });
      expect(channels.size).toBe(2);
      expect(peer.callers).toEqual(['node-1', 'node-1', 'node-1']);
      expect(failures).toEqual([]);
    });

    it('is refused with a reason, and hints', async () => {
      const { error } = await failure(ask(2));
      expect(error).toMatchObject({ reason: 'REJECTED', code: 'NOT_PRIMARY', hints: { node: 'node-3' } });
      expect((await failure(ask(3))).error).toMatchObject({
        reason: 'REJECTED',
        code: 'OVERLOADED',
        retryAfterMs: 40,
      });
    });

    it('meets a bug of the other side as INTERNAL', async () => {
      const asked = channels.unary(
        { address },
        'control',
        ReplicationService.method.announce,
        create(ReplicationService.method.announce.input),
        { timeoutMs: 2_000 },
      );
      expect((await failure(asked)).error).toMatchObject({ reason: 'REJECTED', code: 'INTERNAL' });
    });

    it('ends by its time-out, on both sides', async () => {
      const { error, ms } = await failure(ask(0, { timeoutMs: 120 }));
      expect(error.reason).toBe('TIMEOUT');
      expect(ms).toBeGreaterThan(100);
      expect(ms).toBeLessThan(1_000);
      await until(() => peer.aborted === 1);
      expect((await ask(1)).alive).toBe(true);
      expect(failures).toEqual(['TIMEOUT']);
    });

    it('ends when its signal aborts, with the reason of the signal', async () => {
      const abort = new AbortController();
      const asked = ask(0, { signal: abort.signal });
      await until(() => peer.asked === 1);
      abort.abort(new Error('no longer needed'));
      await expect(asked).rejects.toThrow('no longer needed');
      await until(() => peer.aborted === 1);
      await expect(ask(1, { signal: abort.signal })).rejects.toThrow('no longer needed');
      expect(failures).toEqual([]);
    });

    it('is not larger than a peer may send, either way', async () => {
      const large = (bytesMax: bigint) =>
        channels.unary({ address }, 'query', pull, create(PullRequestSchema, { bytesMax, epoch }), {
          timeoutMs: 5_000,
        });
      expect((await large(3n * 1024n * 1024n)).entries[0].length).toBe(3 * 1024 * 1024);
      expect((await failure(large(5n * 1024n * 1024n))).error).toMatchObject({
        reason: 'REJECTED',
        code: 'PAYLOAD_TOO_LARGE',
      });
      const request = create(ProbeRequestSchema, { shard: 1, epoch, via: new Uint8Array(5 * 1024 * 1024) });
      const asked = channels.unary({ address }, 'query', probe, request, { timeoutMs: 5_000 });
      expect((await failure(asked)).error).toMatchObject({ reason: 'REJECTED', code: 'PAYLOAD_TOO_LARGE' });
      expect((await ask(1)).alive).toBe(true);
    });
  });

  describe('a peer that is not there', () => {
    it('is reported at once when nobody listens, and keeps no channel', async () => {
      await peer.stop();
      const { error, ms } = await failure(ask(1));
      expect(error.reason).toBe('REFUSED');
      expect(ms).toBeLessThan(500);
      expect(channels.size).toBe(0);
    });

    it('is not connected to again at once for what is not a probe', async () => {
      await peer.stop();
      const query = () =>
        channels.unary({ address }, 'query', probe, create(ProbeRequestSchema, { shard: 1, epoch }), {
          timeoutMs: 1_000,
        });
      const first = (await failure(query())).error;
      const second = (await failure(query())).error;
      expect(second).toMatchObject({ reason: 'REFUSED', cause: first });
    });

    it('is reported when its connection breaks under a question', async () => {
      const breaks = await port((socket) => socket.once('data', () => socket.resetAndDestroy()));
      expect((await failure(ask(1, { at: breaks }))).error.reason).toBe('RESET');
    });

    it('breaks the questions it was asked, then refuses', async () => {
      await ask(1);
      const asked = failure(ask(0, { timeoutMs: 10_000 }));
      await until(() => peer.asked === 2);
      await peer.stop();
      const { error, ms } = await asked;
      expect(error.reason).toBe('RESET');
      expect(ms).toBeLessThan(1_000);
      expect((await failure(ask(1))).error.reason).toBe('REFUSED');
    });

    it('is silence when it accepts connections and says nothing', async () => {
      let accepted = 0;
      const silence = await port(() => accepted++);
      const { error, ms } = await failure(ask(1, { at: silence, timeoutMs: 200 }));
      expect(error.reason).toBe('TIMEOUT');
      expect(ms).toBeLessThan(10_000);
      // The next tries wait for a sign of life and leave no connection behind.
      for (let i = 0; i < 3; i++)
        expect((await failure(ask(1, { at: silence, timeoutMs: 150 }))).error.reason).toBe('TIMEOUT');
      expect(accepted).toBeLessThanOrEqual(5);
    });

    it('is named when its address does not resolve or is none', async () => {
      expect((await failure(ask(1, { at: 'no-such-host.invalid:1' }))).error.reason).toMatch(/UNRESOLVED|TIMEOUT/);
      expect((await failure(ask(1, { at: 'nonsense' }))).error.reason).toBe('UNRESOLVED');
    });

    it('is reached again within a second of its restart', async () => {
      await ask(1);
      const { port: same } = peer.server!;
      await peer.stop();
      const downUntil = performance.now() + 1_500;
      while (performance.now() < downUntil) {
        expect((await failure(ask(1))).error.reason).toMatch(/REFUSED|RESET/);
        await pause(20);
      }
      await peer.listen(same);
      const restarted = performance.now();
      let answered = false;
      while (!answered) {
        answered = await ask(1, { timeoutMs: 500 }).then(
          ({ alive }) => alive,
          () => false,
        );
        if (performance.now() - restarted > 1_000) break;
        if (!answered) await pause(10);
      }
      expect(answered).toBe(true);
    });

    it('is forgotten with its connections', async () => {
      await ask(1);
      channels.forget(address);
      expect(channels.size).toBe(0);
      expect((await ask(1)).alive).toBe(true);
      channels.close();
      expect((await failure(ask(1))).error.reason).toBe('RESET');
    });
  });

  describe('a stream', () => {
    const ack = create(FollowRequestSchema, { kind: { case: 'ack', value: { durableOffset: 1n } } });
    const batch = (bytes: number) => create(FollowResponseSchema, { entries: [new Uint8Array(bytes)] });

    function collect() {
      const received: FollowResponse[] = [];
      const ends: (Error | undefined)[] = [];
      return {
        received,
        ends,
        events: {
          message: (message: FollowResponse) => void received.push(message),
          ended: (error: Error | undefined) => void ends.push(error),
        },
      };
    }

    it('carries messages both ways, in order, and what was sent before it was open', async () => {
      const heard: bigint[] = [];
      peer.open = (link) => ({
        message: ({ kind }) => {
          if (kind.case === 'ack') heard.push(kind.value.durableOffset);
          link.send(batch(heard.length));
        },
        ended: (error) => heard.push(error === undefined ? -1n : -2n),
      });
      const { received, ends, events } = collect();
      const link = channels.duplex({ address }, 'replication', follow, events);
      for (let i = 1; i <= 5; i++)
        link.send(create(FollowRequestSchema, { kind: { case: 'ack', value: { durableOffset: BigInt(i) } } }));
      await until(() => received.length === 5);
      expect(heard).toEqual([1n, 2n, 3n, 4n, 5n]);
      expect(received.map(({ entries }) => entries[0].length)).toEqual([1, 2, 3, 4, 5]);
      link.close();
      await until(() => heard.includes(-1n));
      expect(ends).toEqual([]);
      expect(link.send(ack)).toBe(true);
      await link.drained();
    });

    it('is ended by the server in good order, after its last message', async () => {
      peer.open = (link) => ({
        message: () => {
          for (let i = 0; i < 50; i++) link.send(batch(1_000));
          link.close();
        },
        ended: () => undefined,
      });
      const { received, ends, events } = collect();
      channels.duplex({ address }, 'replication', follow, events).send(ack);
      await until(() => ends.length === 1);
      expect(ends).toEqual([undefined]);
      expect(received).toHaveLength(50);
    });

    it('says why it was refused', async () => {
      peer.open = (link) => ({
        message: () => link.fail(new PeerRefusal('NOT_PRIMARY', 'no')),
        ended: () => undefined,
      });
      const { ends, events } = collect();
      channels.duplex({ address }, 'replication', follow, events).send(ack);
      await until(() => ends.length === 1);
      expect(ends[0]).toMatchObject({ reason: 'REJECTED', code: 'NOT_PRIMARY' });
    });

    it('is told when the server stops, refuses, or was never there', async () => {
      const { ends, events } = collect();
      const link = channels.duplex({ address }, 'replication', follow, events);
      link.send(ack);
      await link.drained();
      await peer.stop();
      await until(() => ends.length === 1);
      expect(ends[0]).toBeInstanceOf(PeerError);
      await link.drained();
      channels.duplex({ address }, 'replication', follow, events);
      await until(() => ends.length === 2);
      expect(ends[1]).toMatchObject({ reason: 'REFUSED' });
    });

    it('is broken off by either side, and told to the other alone', async () => {
      const told: (Error | undefined)[] = [];
      let server: PeerServerLink<FollowResponse> | undefined;
      peer.open = (link) => {
        server = link;
        return { message: () => undefined, ended: (error) => told.push(error) };
      };
      const { ends, events } = collect();
      let link = channels.duplex({ address }, 'replication', follow, events);
      link.send(ack);
      await until(() => server !== undefined);
      link.cancel();
      await until(() => told.length === 1);
      expect(ends).toEqual([]);

      server = undefined;
      link = channels.duplex({ address }, 'replication', follow, events);
      link.send(ack);
      await until(() => server !== undefined);
      server!.cancel();
      await until(() => ends.length === 1);
      expect(told).toHaveLength(1);
      expect(ends[0]).toBeInstanceOf(PeerError);
    });

    it('streams 300 MB in bounded memory, waiting for a slow reader', async () => {
      const bytes = 256 * 1024;
      const count = Math.ceil((300 * 1024 * 1024) / bytes);
      let ahead = 0;
      let sent = 0;
      const { ends, events } = collect();
      let received = 0;
      const message = batch(bytes);
      peer.open = (link) => ({
        message: () => void pump(link),
        ended: () => undefined,
      });
      const pump = async (link: PeerServerLink<FollowResponse>) => {
        while (sent < count) {
          sent++;
          ahead = Math.max(ahead, sent - received);
          if (!link.send(message)) await link.drained();
        }
        link.close();
      };
      const before = process.memoryUsage();
      let peak = 0;
      const link = channels.duplex({ address }, 'replication', follow, {
        ...events,
        message: ({ entries }) => {
          received += entries[0].length === bytes ? 1 : 0;
          if (received % 50 === 0) peak = Math.max(peak, process.memoryUsage().rss);
        },
      });
      link.send(ack);
      await until(() => ends.length === 1, 60_000);
      expect(ends).toEqual([undefined]);
      expect(received).toBe(count);
      // 16 messages in each side's buffer, and what is on the way.
      expect(ahead).toBeLessThan(64);
      expect(peak - before.rss).toBeLessThan(200 * 1024 * 1024);
    }, 90_000);
  });
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(condition: () => boolean, ms = 5_000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${condition.toString()}`);
    await pause(5);
  }
}
