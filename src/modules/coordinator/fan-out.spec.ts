import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { turnTime } from '../../../test/contract/turn-time.js';
import { NodeError } from '../../kernel/errors.js';
import { PeerError } from '../../kernel/peer.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import type { Positions } from './core/positions.js';
import type { RefusalCode, ShardAnswer, ShardAsk, ShardCall, ShardReply } from './core/shard-calls.js';
import { Deadline } from './deadline.js';
import { FanOut, type FanOutAnswer } from './fan-out.js';
import type { Routes } from './routes.js';
import type { ShardAccess, ShardCallOptions } from './shard-access.js';

/** What a node does with a question about a shard. */
type Behaviour = 'ok' | 'stale' | RefusalCode | 'REFUSED' | 'RESET' | 'lost' | 'silent';

const NODES = ['a', 'b', 'c'];
const NONE: Positions = new Map();

/** Nodes that answer a count of 1 for each shard, or do what they are told to. */
class Nodes implements Routes {
  readonly self = 'a';
  readonly mapEpoch = 1;
  readonly asked: { readonly node: string; readonly shards: readonly number[] }[] = [];
  readonly stale: number[] = [];
  aborted = 0;
  table: ShardRoute[];

  constructor(
    shards: number,
    readonly behaviour: (node: string, shard: number, stale: boolean, primary: boolean) => Behaviour,
    changes: (node: string, shard: number) => Partial<CopyRoute> = () => ({}),
  ) {
    this.table = Array.from({ length: shards }, (_, shard) => ({
      shard,
      epoch: 1,
      lastEpoch: 1,
      primary: 'a',
      copies: NODES.map((node) => ({
        node,
        nodeId: node,
        self: node === 'a',
        role: node === 'a' ? 'primary' : 'replica',
        inSync: true,
        status: 'ACTIVE',
        lagMs: 0,
        offset: 1,
        durable: 1,
        faulted: false,
        held: false,
        ...changes(node, shard),
      })),
      documents: 1,
      wanted: 3,
    }));
  }

  refresh(): void {
    // Each answer is made anew.
  }

  shards(): readonly ShardRoute[] {
    return this.table;
  }

  meta(): ShardRoute {
    return this.table[0];
  }

  nodeIdOf(node: string): string {
    return node;
  }

  onStaleLeader(shard: number): void {
    this.stale.push(shard);
  }

  fanOut(): FanOut {
    const local = Object.assign(this.access('a'), { underWay: 0 });
    return new FanOut(
      this,
      local,
      { of: (node) => this.access(node), reportedLoad: () => 0, generation: () => 1, forget: () => undefined },
      () => 0.5,
    );
  }

  async count(
    primary = false,
    timeoutMs = 2_000,
    session = NONE,
    signal = new AbortController().signal,
  ): Promise<FanOutAnswer<number>> {
    const deadline = new Deadline({ signal }, timeoutMs);
    try {
      return await this.fanOut().ask(
        'count',
        this.table.map(({ shard }) => shard),
        (gates) => ({ mapEpoch: 1, gates, collectionId: 1, filter: undefined }),
        { deadline, session, primary },
      );
    } finally {
      deadline.end();
    }
  }

  private access(node: string): ShardAccess {
    return {
      call: async <C extends ShardCall>(_: C, ask: ShardAsk<C>, options: ShardCallOptions): Promise<ShardAnswer<C>> =>
        await this.answer(node, ask as ShardAsk<'count'>, options),
    };
  }

  private async answer(
    node: string,
    { gates }: ShardAsk<'count'>,
    { signal }: ShardCallOptions,
  ): Promise<readonly ShardReply<number>[]> {
    this.asked.push({ node, shards: gates.map(({ shard }) => shard) });
    await Promise.resolve();
    const replies: ShardReply<number>[] = [];
    for (const { shard, stale, primary } of gates) {
      const does = this.behaviour(node, shard, stale, primary);
      switch (does) {
        case 'ok':
          replies.push({ shard, value: 1 });
          break;
        case 'stale':
          replies.push(stale ? { shard, value: 1, lagMs: 7 } : { shard, refusal: { code: 'NOT_IN_SYNC' } });
          break;
        case 'REFUSED':
        case 'RESET':
          throw new PeerError(does, 'as told');
        case 'lost':
          throw new PeerError('TIMEOUT', 'as told');
        case 'silent':
          return new Promise((_, reject) => {
            signal?.addEventListener('abort', () => {
              this.aborted++;
              reject(new PeerError('TIMEOUT', 'as told'));
            });
          });
        default:
          replies.push({ shard, refusal: { code: does } });
      }
    }
    return replies;
  }
}

const sum = ({ values }: FanOutAnswer<number>): number =>
  [...values.values()].reduce((all, { value }) => all + value, 0);

describe('FanOut', () => {
  let realTime: () => void;
  beforeAll(() => {
    realTime = turnTime();
  });
  afterAll(() => realTime());

  it('asks one node for all of its shards', async () => {
    const nodes = new Nodes(
      4,
      () => 'ok',
      (node, shard) => ({ inSync: node === NODES[shard % 3] }),
    );
    const answer = await nodes.count();
    expect(sum(answer)).toBe(4);
    expect(nodes.asked).toEqual([
      { node: 'a', shards: [0, 3] },
      { node: 'b', shards: [1] },
      { node: 'c', shards: [2] },
    ]);
    expect([...answer.values].map(([shard, { node }]) => [shard, node])).toEqual(
      expect.arrayContaining([
        [0, 'a'],
        [1, 'b'],
      ]),
    );
  });

  it('asks other copies for what one refused or could not answer, and learns of stale routes', async () => {
    const nodes = new Nodes(3, (node, shard) =>
      node === 'a' ? (shard === 1 ? 'NOT_PRIMARY' : 'ok') : shard === 1 && node === 'b' ? 'RESET' : 'ok',
    );
    const answer = await nodes.count();
    expect(sum(answer)).toBe(3);
    expect(answer.failed.size).toBe(0);
    expect(nodes.stale).toEqual([1]);
    expect(answer.values.get(1)?.node).toBe('c');
  });

  it('answers stale rather than nothing, with the lag the copy told', async () => {
    const nodes = new Nodes(1, (node) => (node === 'b' ? 'stale' : 'REFUSED'));
    const answer = await nodes.count();
    expect(sum(answer)).toBe(1);
    expect([...answer.stale]).toEqual([[0, { node: 'b', lagMs: 7 }]]);
  });

  it('waits for a primary whose index is behind, asks others where they may answer, and says how old it is as the last resort', async () => {
    let asked = 0;
    const behind = (node: string, _shard: number, stale: boolean, primary: boolean): Behaviour =>
      node !== 'a' ? 'ok' : primary && ++asked > 3 ? 'ok' : stale ? 'stale' : 'NOT_IN_SYNC';
    const alone = (node: string) => (node === 'a' ? {} : { status: 'UNAVAILABLE' as const });
    const only = new Nodes(1, behind, alone);
    expect(sum(await only.count(true))).toBe(1);
    expect(asked).toBe(4);
    const answer = await only.count();
    expect([sum(answer), [...answer.stale.keys()]]).toEqual([1, [0]]);
    const three = await new Nodes(1, behind).count();
    expect([sum(three), three.stale.size, three.failed.size]).toEqual([1, 0, 0]);
    const never = await new Nodes(1, (node) => (node === 'a' ? 'NOT_IN_SYNC' : 'ok')).count(true, 300);
    expect(never.failed.get(0)?.reason).toBe('UNREACHABLE');
  });

  it('says of a node that gives no answer long before the deadline that it cannot be reached', async () => {
    const nodes = new Nodes(1, () => 'lost');
    const answer = await nodes.count();
    expect(answer.failed.get(0)?.reason).toBe('UNREACHABLE');
  });

  it('names the shards it could not ask, with the reason, and is over by the deadline', async () => {
    const nodes = new Nodes(
      2,
      (_, shard) => (shard === 0 ? 'silent' : 'FAULTED'),
      (node, shard) => ({
        inSync: shard === 0 ? node === 'b' : true,
        status: shard === 0 && node !== 'b' ? 'UNAVAILABLE' : 'ACTIVE',
      }),
    );
    const startedMs = performance.now();
    const answer = await nodes.count(false, 100);
    expect(performance.now() - startedMs).toBeLessThan(350);
    expect(answer.values.size).toBe(0);
    expect(answer.failed.get(0)).toEqual({ node: 'b', reason: 'TIMEOUT' });
    expect(answer.failed.get(1)?.reason).toBe('FAULTED');
    expect(nodes.aborted).toBe(1);
  });

  it('asks another copy beside one that is silent, and calls the silent one back', async () => {
    const nodes = new Nodes(2, (node) => (node === 'a' ? 'silent' : 'ok'));
    const answer = await nodes.count();
    expect(sum(answer)).toBe(2);
    expect([...answer.values.values()].every(({ node }) => node !== 'a')).toBe(true);
  });

  it('does not wait for a suspect node alone', async () => {
    const nodes = new Nodes(
      1,
      (node) => (node === 'a' ? 'silent' : 'stale'),
      (node) => (node === 'a' ? { status: 'SUSPECT' } : { inSync: false }),
    );
    const startedMs = performance.now();
    const answer = await nodes.count();
    expect(sum(answer)).toBe(1);
    expect(answer.stale.size).toBe(1);
    expect(performance.now() - startedMs).toBeLessThan(400);
  });

  it('asks the primary when a copy has not what the session saw, and says so when that has not either', async () => {
    const caughtUp = new Nodes(
      1,
      (node, _, __, primary) => (node === 'a' && primary ? 'ok' : 'NOT_CAUGHT_UP'),
      (node) => ({
        self: node === 'b',
      }),
    );
    expect(sum(await caughtUp.count())).toBe(1);
    const behind = new Nodes(1, () => 'NOT_CAUGHT_UP');
    const answer = await behind.count();
    expect(answer.notCaughtUp).toEqual([0]);
    expect(answer.failed.size).toBe(1);
  });

  it('waits for a primary that is being handed over or replaced, while there is a copy that may become it', async () => {
    for (const gone of ['NOT_PRIMARY', 'REFUSED'] as const) {
      const nodes = new Nodes(2, (node) => (node === 'a' ? gone : 'ok'));
      setTimeout(() => {
        nodes.table = nodes.table.map((route) => ({ ...route, primary: 'b' }));
      }, 120);
      const answer = await nodes.count(true);
      expect([answer.values.size, answer.failed.size]).toEqual([2, 0]);
      expect([...answer.values.values()].map(({ node }) => node)).toEqual(['b', 'b']);
    }
    const never = new Nodes(1, () => 'NOT_PRIMARY');
    const startedMs = performance.now();
    expect((await never.count(true, 300)).failed.get(0)).toEqual({ node: 'a', reason: 'STALE_ROUTE' });
    expect(performance.now() - startedMs).toBeGreaterThan(250);
    // It is there, and has too much to do.
    const busy = new Nodes(1, () => 'OVERLOADED');
    await expect(busy.count(true, 10_000)).resolves.toMatchObject({ failed: new Map([[0, { reason: 'OVERLOADED' }]]) });
    expect(busy.asked).toHaveLength(1);
    // Nobody can become it.
    const alone = new Nodes(
      1,
      () => 'REFUSED',
      (node) => (node === 'a' ? {} : { status: 'UNAVAILABLE' }),
    );
    expect((await alone.count(true, 10_000)).failed.get(0)).toEqual({ node: 'a', reason: 'UNREACHABLE' });
  });

  it('asks a copy whose map was old again when no other one has an answer', async () => {
    const asked = new Map<string, number>();
    const late = new Nodes(1, (node) => {
      asked.set(node, (asked.get(node) ?? 0) + 1);
      return (asked.get(node) ?? 0) > 1 ? 'ok' : 'STALE_MAP';
    });
    const answer = await late.count();
    expect(sum(answer)).toBe(1);
    expect(answer.stale.size).toBe(0);
    const never = new Nodes(1, () => 'STALE_MAP');
    expect((await never.count()).failed.get(0)).toMatchObject({ reason: 'STALE_ROUTE' });
    expect(never.asked.length).toBeLessThanOrEqual(7);
  });

  it('rejects when the client went away', async () => {
    const gone = new AbortController();
    const counting = new Nodes(1, () => 'silent').count(false, 2_000, NONE, gone.signal);
    gone.abort();
    await expect(counting).rejects.toThrow(NodeError);
  });

  it('never takes an error for an empty answer: every shard is ok, stale or failed exactly once', async () => {
    const behaviours = fc.constantFrom<Behaviour>(
      'ok',
      'ok',
      'stale',
      'NOT_PRIMARY',
      'STALE_MAP',
      'FAULTED',
      'STARTING',
      'NOT_CAUGHT_UP',
      'OVERLOADED',
      'REFUSED',
      'RESET',
      'silent',
    );
    const statuses = fc.constantFrom<CopyRoute['status']>('ACTIVE', 'ACTIVE', 'SUSPECT', 'UNAVAILABLE');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(behaviours, behaviours, behaviours), { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(statuses, fc.boolean()), { minLength: 3, maxLength: 3 }),
        fc.boolean(),
        async (shards, copies, primary) => {
          const nodes = new Nodes(
            shards.length,
            (node, shard) => shards[shard][NODES.indexOf(node)],
            (node) => ({ status: copies[NODES.indexOf(node)][0], inSync: copies[NODES.indexOf(node)][1] }),
          );
          const answer = await nodes.count(primary, 40).catch((error: unknown) => error);
          if (answer instanceof NodeError) return;
          const { values, failed, stale } = answer as FanOutAnswer<number>;
          expect([...values.keys(), ...failed.keys()].sort()).toEqual(shards.map((_, shard) => shard));
          for (const [shard, { node }] of values) expect(['ok', 'stale']).toContain(shards[shard][NODES.indexOf(node)]);
          for (const [shard] of stale) {
            const { node } = values.get(shard) ?? { node: '' };
            expect(shards[shard][NODES.indexOf(node)]).toBe('stale');
          }
          // A copy that would have answered, and quickly, is not passed over; a node that breaks does so for all it was asked.
          const breaks = NODES.map((_, at) => shards.some((does) => ['REFUSED', 'RESET', 'silent'].includes(does[at])));
          for (const [shard, { reason }] of failed) {
            if (primary || reason === 'TIMEOUT') continue;
            shards[shard].forEach((does, at) => {
              if (
                does === 'ok' &&
                !breaks[at] &&
                copies[at][0] !== 'UNAVAILABLE' &&
                !shards[shard].includes('NOT_CAUGHT_UP')
              )
                throw new Error(`shard ${shard} failed with ${reason} although ${NODES[at]} answers`);
            });
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
