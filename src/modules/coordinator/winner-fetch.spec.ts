import { describe, expect, it } from '@jest/globals';
import { NodeError } from '../../kernel/errors.js';
import { LogDamagedError } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { ShardAsk, StoredSegments } from './core/shard-calls.js';
import type { Deadline } from './deadline.js';
import type { FanOut, ShardFailed } from './fan-out.js';
import type { LocalShards } from './local-shards.js';
import type { Routes } from './routes.js';
import { WinnerFetch, type Winner } from './winner-fetch.js';

const FIELDS = { title: true, content: false, metadata: false, vector: false };
const deadline = {
  remainingMs: 1_000,
  signal: new AbortController().signal,
  race: (call: Promise<unknown>) => call,
} as unknown as Deadline;

/** Node a, which asks; shards 0 and 1 have copies on a and b, shard 2 on b alone, shard 3 on b and, damaged, on a. */
class Setting {
  readonly asked: ShardAsk<'fetch'>[] = [];
  readonly faulted: number[] = [];
  readonly failed = new Map<number, ShardFailed>();
  here: (shard: number, id: string) => StoredSegments | undefined = (_, id) => stored(id, 'here');

  fetch(winners: readonly Winner[]) {
    const copies = (shard: number) => [
      ...(shard === 2 ? [] : [{ node: 'a', self: true, faulted: shard === 3 }]),
      { node: 'b', self: false, faulted: false, status: 'ACTIVE', role: 'primary', offset: 1 },
    ];
    const routes = { self: 'a', shards: () => [0, 1, 2, 3].map((shard) => ({ shard, copies: copies(shard) })) };
    const call = (_: 'fetch', ask: ShardAsk<'fetch'>) => {
      this.asked.push(ask);
      return Promise.resolve(
        ask.shards.map((shard, at) => ({ shard, value: ask.wanted[at].map(({ id }) => stored(id, 'there')) })),
      );
    };
    const fetch = new WinnerFetch(
      { ...routes, nodeIdOf: (node: string) => node } as unknown as Routes,
      { accessOf: () => ({ call }) } as unknown as FanOut,
      { fetchOne: (shard: number, _: number, { id }: Winner) => this.here(shard, id) } as unknown as LocalShards,
      { faultShard: (shard: number) => this.faulted.push(shard) } as unknown as ReplicationService,
    );
    return fetch.fetch(winners, 1, FIELDS, () => deadline, this.failed);
  }
}

function stored(id: string, title: string): StoredSegments {
  return { id, version: 'v', title, content: undefined, metadata: undefined, vector: undefined };
}

function winner(shard: number, node: string, id = `id-${shard}`): Winner {
  return { shard, node, id, offset: 5, versionMs: 1, versionCounter: 0 };
}

const titles = async (found: ReturnType<Setting['fetch']>) => (await found).map((payload) => payload?.title);

describe('the payloads of winners', () => {
  it('are read here whichever copy found them, and at once', () => {
    const setting = new Setting();
    const found = setting.fetch([winner(0, 'b'), winner(1, 'b')]) as readonly StoredSegments[];
    expect(found.map(({ title }) => title)).toEqual(['here', 'here']);
    expect(setting.asked).toEqual([]);
  });

  it('are asked for where this node has no copy, or a damaged one, and nothing else is', async () => {
    const setting = new Setting();
    const found = setting.fetch([winner(0, 'b'), winner(2, 'b'), winner(3, 'b')]);
    expect(await titles(found)).toEqual(['here', 'there', 'there']);
    expect(setting.asked.map(({ shards }) => shards)).toEqual([[2, 3]]);
    expect(setting.failed.size).toBe(0);
  });

  it('are asked for when the own copy does not have that version yet', async () => {
    const setting = new Setting();
    setting.here = (_, id) => (id === 'new' ? undefined : stored(id, 'here'));
    expect(await titles(setting.fetch([winner(0, 'b', 'old'), winner(0, 'b', 'new')]))).toEqual(['here', 'there']);
    expect(setting.asked.map(({ wanted }) => wanted.map((ids) => ids.map(({ id }) => id)))).toEqual([[['new']]]);
  });

  it('are asked for when the own copy cannot be read, which is found out on the way', async () => {
    const setting = new Setting();
    setting.here = (shard) => {
      if (shard === 0) throw new LogDamagedError({ shard, offset: 5, problem: 'crc' });
      throw new NodeError('STARTING', 'later');
    };
    expect(await titles(setting.fetch([winner(0, 'b'), winner(1, 'b')]))).toEqual(['there', 'there']);
    expect([setting.faulted, setting.failed.size]).toEqual([[0], 0]);
  });
});
