import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { NodeError } from '../../../kernel/errors.js';
import { systemClock } from '../../../platform/clock/system-clock.js';
import { systemRandom } from '../../../platform/clock/system-random.js';
import { NodeGrpcServer } from '../../../platform/grpc/node-grpc-server.js';
import { PeerAuth } from '../../../platform/grpc/peer-auth.js';
import { PeerChannels } from '../../../platform/grpc/peer-channels.js';
import { PeerCredentials } from '../../../platform/grpc/peer-credentials.js';
import { createLogger } from '../../../platform/logging/logger.js';
import type { ShardAnswer, ShardAsk, ShardCall } from '../core/shard-calls.js';
import { SHARD_SERVICE } from '../query.mapper.js';
import type { ShardCallOptions } from '../shard-access.js';
import { ShardCallClients } from '../shard-call-client.js';
import { ShardCallServer } from '../shard-call-server.js';
import { GrpcQueryLinks } from './grpc-query-links.js';
import { shardHandlers } from './grpc-query-server.js';

const log = createLogger({ level: 'silent', format: 'json', nodeId: 'n' });
const asking = 'ab'.repeat(16);
const asked = 'cd'.repeat(16);
const BIG = 3 * 1024 * 1024;

/** Counts collection 1 at once, hangs on collection 2, is too busy for collection 3; reads make an answer of many parts. */
class Shards {
  underWay = 7;
  aborted = 0;
  calls = 0;
  readonly knows = (): boolean => true;

  async call<C extends ShardCall>(kind: C, ask: ShardAsk<C>, { signal }: ShardCallOptions): Promise<ShardAnswer<C>> {
    this.calls++;
    if (kind === 'entries') {
      const entries = { entries: [new Uint8Array(BIG).fill(5)], start: 0, tail: 1, compacted: false };
      return { shard: 1, value: entries } as ShardAnswer<C>;
    }
    const { collectionId, gates } = ask as ShardAsk<'count'>;
    if (collectionId === 3) throw new NodeError('OVERLOADED', 'later', { retryAfterMs: 40 });
    if (collectionId === 2) {
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
      this.aborted++;
    }
    return gates.map(({ shard }) => ({ shard, value: shard * 10 }));
  }
}

describe('questions about shards over gRPC', () => {
  let server: NodeGrpcServer;
  let channels: PeerChannels;
  let clients: ShardCallClients;
  let shards: Shards;
  let port: number;
  let malformed: number;

  const listen = async (at: number): Promise<void> => {
    server = new NodeGrpcServer({ host: '127.0.0.1', port: at, services: [], drainTimeoutMs: 50, log });
    const auth = new PeerAuth({
      nodeId: 'node-2',
      security: { kind: 'open' },
      clusterId: () => '',
      clock: systemClock,
      log,
      refused: () => undefined,
    });
    const serving = new ShardCallServer(shards, { refused: () => undefined, failed: () => undefined });
    server.addPeerService(
      SHARD_SERVICE,
      shardHandlers(serving, () => malformed++),
      auth,
    );
    const problem = await new Promise((resolve) => void server.listen(resolve));
    if (problem !== undefined) throw problem as Error;
    ({ port } = server);
  };

  beforeEach(async () => {
    shards = new Shards();
    malformed = 0;
    await listen(0);
    const credentials = new PeerCredentials({
      nodeId: 'node-1',
      nodeUuid: asking,
      clusterId: () => '',
      security: { kind: 'open' },
      clock: systemClock,
      random: systemRandom,
    });
    channels = new PeerChannels({ credentials, clock: systemClock, log });
    const resolve = (uuid: string) => (uuid === asked ? { address: `127.0.0.1:${port}`, nodeId: 'node-2' } : undefined);
    clients = new ShardCallClients(new GrpcQueryLinks({ channels, resolve }), () => 1);
  });

  afterEach(async () => {
    clients.close();
    channels.close();
    await server.close();
  });

  const count = (collectionId: number, shard = 1, options: Partial<ShardCallOptions> = {}, node = asked) =>
    clients.of(node).call(
      'count',
      {
        mapEpoch: 1,
        gates: [{ shard, epoch: 1, primary: false, stale: false }],
        collectionId,
        filter: undefined,
      },
      { timeoutMs: 60_000, ...options },
    );

  it('answers many at once, in any order, and tells its load', async () => {
    const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => count(1, i % 200)));
    expect(answers.map(([reply]) => (reply.refusal === undefined ? reply.value : -1))).toEqual(
      Array.from({ length: 500 }, (_, i) => (i % 200) * 10),
    );
    expect(clients.reportedLoad(asked)).toBe(7);
    expect(clients.underWay).toBe(0);
  });

  it('counts a question that cannot be read, and goes on', async () => {
    const ends: (Error | undefined)[] = [];
    const resolve = () => ({ address: `127.0.0.1:${port}`, nodeId: 'node-2' });
    const ended = new Promise<void>((done) => {
      const events = {
        message: () => undefined,
        ended: (error: Error | undefined) => {
          ends.push(error);
          done();
        },
      };
      const link = new GrpcQueryLinks({ channels, resolve }).open(asked, events);
      const call = { id: 1, kind: 'search', timeoutMs: 100, more: false, body: Uint8Array.of(1, 2, 255) } as const;
      link.send({ generation: 1, calls: [call], cancelled: [] });
    });
    await ended;
    expect(ends).toMatchObject([{ reason: 'REJECTED', code: 'INVALID_REQUEST' }]);
    expect(malformed).toBe(1);
    expect(await count(1)).toEqual([{ shard: 1, value: 10 }]);
  });

  it('carries an answer larger than a message in parts', async () => {
    const ask = { mapEpoch: 1, shard: 1, after: { epoch: 0, reign: 0, offset: 0 }, limit: 1, bytesMax: BIG, waitMs: 0 };
    const reply = await clients.of(asked).call('entries', ask, { timeoutMs: 5_000 });
    if (reply.refusal !== undefined) throw new Error('it was refused');
    const [entry] = reply.value.entries;
    expect([entry.length, entry.every((byte) => byte === 5)]).toEqual([BIG, true]);
  });

  it('ends by its time, and calls the other side back', async () => {
    const stop = new AbortController();
    const startedMs = performance.now();
    const waiting = count(2, 1, { signal: stop.signal });
    await expect(count(2, 1, { timeoutMs: 50 })).rejects.toMatchObject({ reason: 'TIMEOUT' });
    expect(performance.now() - startedMs).toBeLessThan(30_000);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ reason: 'TIMEOUT' });
    // The stream is in order: once a later call is answered, both cancellations have arrived.
    await count(1);
    expect(shards.aborted).toBe(2);
    await expect(count(3)).rejects.toMatchObject({ reason: 'REJECTED', code: 'OVERLOADED' });
    expect(clients.underWay).toBe(0);
  });

  it('fails what was under way when the node goes, says who is not there, and finds it when it is back', async () => {
    const waiting = count(2);
    await count(1);
    await Promise.all([expect(waiting).rejects.toMatchObject({ name: 'PeerError' }), server.close()]);
    await expect(count(1)).rejects.toMatchObject({ name: 'PeerError' });
    await expect(count(1, 1, {}, asking)).rejects.toMatchObject({ reason: 'UNRESOLVED' });
    await listen(port);
    const endsMs = performance.now() + 5_000;
    let value = -1;
    while (value < 0 && performance.now() < endsMs) {
      const [reply] = await count(1).catch(() => [{ refusal: true }]);
      if ('value' in reply) value = reply.value;
      else await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(value).toBe(10);
  });
});
