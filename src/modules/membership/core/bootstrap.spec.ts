import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Introduction } from '../membership-peers.js';
import {
  decideBootstrap,
  givesWay,
  namesThisNode,
  seedText,
  type BootstrapFacts,
  type SeedAnswer,
} from './bootstrap.js';

const facts: BootstrapFacts = {
  nodeId: 'node-1',
  nodeUuid: '1'.repeat(32),
  advertisedHost: 'one.example',
  grpcPort: 9090,
  interfaces: ['127.0.0.1', '::1', '10.0.0.1'],
  clusterMode: true,
  seeds: [
    { host: 'one.example', port: 9090 },
    { host: 'two.example', port: 9090 },
    { host: 'three.example', port: 9090 },
  ],
  storedClusterId: '',
  emptyDirectory: true,
  bootCount: 1,
};
const [one, two, three] = facts.seeds.map(seedText);

function introduction(fields: Partial<Introduction> = {}): Introduction {
  return {
    nodeId: 'node-2',
    nodeUuid: '2'.repeat(32),
    bootCount: 1,
    clusterId: '',
    provisional: false,
    bootstrappedMs: 0,
    protocolMin: 1,
    protocolMax: 1,
    version: '1.0.0',
    grpcAddress: two,
    ...fields,
  };
}

const none: SeedAnswer = { kind: 'answered', introduction: introduction() };
const absent: SeedAnswer = { kind: 'absent' };
const silent: SeedAnswer = { kind: 'silent' };
const of = (clusterId: string, fields: Partial<Introduction> = {}): SeedAnswer => ({
  kind: 'answered',
  introduction: introduction({ clusterId, ...fields }),
});

describe('a starting node', () => {
  it('goes on in the cluster of its data directory, whatever the seeds say', () => {
    const stored = { ...facts, storedClusterId: 'mine', bootCount: 5, emptyDirectory: false };
    expect(decideBootstrap(stored, new Map([[two, of('other')]]))).toEqual({ kind: 'resume', clusterId: 'mine' });
  });

  it('without seeds is a cluster of one at once', () => {
    expect(decideBootstrap({ ...facts, clusterMode: false, seeds: [] }, new Map())).toEqual({ kind: 'create' });
    expect(decideBootstrap({ ...facts, seeds: [], bootCount: 3 }, new Map())).toEqual({ kind: 'create' });
  });

  it('creates a cluster when it is the first seed and nobody else can hold one', () => {
    for (const [a, b] of [
      [none, none],
      [absent, absent],
      [none, absent],
    ] as const) {
      expect(
        decideBootstrap(
          facts,
          new Map([
            [two, a],
            [three, b],
          ]),
        ),
      ).toEqual({ kind: 'create' });
    }
    expect(decideBootstrap({ ...facts, seeds: facts.seeds.slice(0, 1) }, new Map())).toEqual({ kind: 'create' });
  });

  it('never creates one in any other case', () => {
    const answer = fc.constantFrom(none, absent, silent, of('theirs'), undefined);
    fc.assert(
      fc.property(
        answer,
        answer,
        fc.nat(2),
        fc.boolean(),
        fc.integer({ min: 1, max: 3 }),
        (a, b, first, empty, boots) => {
          const seeds = [...facts.seeds.slice(first), ...facts.seeds.slice(0, first)];
          const answers = new Map<string, SeedAnswer>();
          if (a !== undefined) answers.set(two, a);
          if (b !== undefined) answers.set(three, b);
          const decision = decideBootstrap({ ...facts, seeds, emptyDirectory: empty, bootCount: boots }, answers);
          const clear = [a, b].every((each) => each === none || each === absent);
          expect(decision.kind === 'create').toBe(first === 0 && empty && boots === 1 && clear);
          const found = [a, b].some((each) => each?.kind === 'answered' && each.introduction.clusterId !== '');
          expect(decision.kind === 'join').toBe(found);
        },
      ),
    );
  });

  it('says what it waits for', () => {
    const detail = (other: BootstrapFacts, answers: [string, SeedAnswer][]): string | undefined => {
      const decision = decideBootstrap(other, new Map(answers));
      return decision.kind === 'wait' ? decision.detail : undefined;
    };
    expect(detail(facts, [[two, silent]])).toContain('two.example:9090 does not answer');
    expect(detail({ ...facts, seeds: facts.seeds.slice(1) }, [])).toContain('two.example:9090, creates it');
    expect(detail({ ...facts, bootCount: 2 }, [])).toContain('first start');
  });

  it('joins the cluster that lasts before a provisional one, and the older before the younger', () => {
    const answers = new Map([
      [one, of('young', { bootstrappedMs: 9, nodeUuid: '7'.repeat(32) })],
      [two, of('provisional', { provisional: true, bootstrappedMs: 1 })],
      [three, of('old', { bootstrappedMs: 5 })],
      ['four:1', of('old', { bootstrappedMs: 5 })],
    ]);
    expect(decideBootstrap(facts, answers)).toEqual({
      kind: 'join',
      clusterId: 'old',
      addresses: ['four:1', three],
    });
  });

  it('knows itself behind an alias by its own answer', () => {
    const alias = { ...facts, seeds: [{ host: 'cluster.local', port: 9090 }] };
    const itself = new Map([['cluster.local:9090', of('', { nodeUuid: facts.nodeUuid })]]);
    expect(decideBootstrap(alias, itself)).toEqual({ kind: 'create' });
    expect(decideBootstrap(alias, new Map([['cluster.local:9090', none]])).kind).toBe('wait');
  });
});

describe('a seed', () => {
  it('names this node when the port is its own and the host one of its names', () => {
    for (const host of ['one.example', 'ONE.example', 'node-1', '127.0.0.1', '::1', '10.0.0.1', 'localhost']) {
      expect(namesThisNode({ host, port: 9090 }, facts)).toBe(true);
      expect(namesThisNode({ host, port: 9091 }, facts)).toBe(false);
    }
    for (const host of ['two.example', '10.0.0.2', 'one'])
      expect(namesThisNode({ host, port: 9090 }, facts)).toBe(false);
    expect(seedText({ host: '::1', port: 1 })).toBe('[::1]:1');
  });
});

describe('of two clusters that meet', () => {
  it('at most one gives way, and only a provisional one', () => {
    const standing = fc.record({
      clusterId: fc.constantFrom('', 'a', 'b', 'c'),
      provisional: fc.boolean(),
      bootstrappedMs: fc.nat(2),
    });
    fc.assert(
      fc.property(standing, standing, (x, y) => {
        const [a, b] = [introduction(x), introduction(y)];
        const ways = [givesWay(a, b), givesWay(b, a)];
        expect(ways).not.toEqual([true, true]);
        if (ways[0]) expect(a.provisional).toBe(true);
        const two = x.clusterId !== '' && y.clusterId !== '' && x.clusterId !== y.clusterId;
        if (two && (x.provisional || y.provisional)) expect(ways).toContain(true);
      }),
    );
  });

  it('the older stays', () => {
    const young = introduction({ clusterId: 'a', provisional: true, bootstrappedMs: 2 });
    const old = introduction({ clusterId: 'b', provisional: true, bootstrappedMs: 1 });
    expect(givesWay(young, old)).toBe(true);
    expect(givesWay(old, young)).toBe(false);
    expect(givesWay(old, { ...young, provisional: false })).toBe(true);
  });
});
