import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Filter } from '../../shard/core/filter.js';
import type { ShardAnswer, ShardAsk, ShardCall } from './shard-calls.js';
import { decodeSearch, encodeSearch } from '../../shard/core/search-wire.js';
import type { SearchOfShards } from '../../shard/core/search.js';
import { written } from '../../shard/testing/written-answer.js';
import { SHARD_CALL_WIRE, SHARD_CALLS } from './shard-call-wire.js';
import { decodeWire, encodeWire, text, WireError, type Codec } from '../../../kernel/wire.js';

const filter: Filter = {
  must: [
    { kind: 'match', key: 'a.b', any: ['x', 1, true, null] },
    { kind: 'range', key: 'n', gte: 1, lt: 2.5 },
    { kind: 'nested', filter: { must: [], should: [{ kind: 'exists', key: 'k', exists: false }], mustNot: [] } },
  ],
  should: [],
  mustNot: [{ kind: 'ids', ids: ['a', 'é'] }],
};
const gates = [
  { shard: 3, epoch: 2 ** 40, primary: true, stale: false, position: { epoch: 4, reign: 2 ** 31, offset: 2 ** 45 } },
  { shard: 200, epoch: 0, primary: false, stale: true },
];
const fields = { title: true, content: false, metadata: true, vector: true };
const stored = {
  id: 'a',
  version: 'v',
  title: '"t"',
  content: undefined,
  metadata: '{}',
  vector: Float32Array.of(1, -2),
};
const candidates = [
  { id: 'a', score: 0.1, offset: 1 },
  { id: 'b', score: -0.5, offset: 2 ** 50, versionMs: 2, versionCounter: 1 },
];
const statistics = { documents: 9, totalLength: 99, documentFrequencies: [1, 2] };
const search: SearchOfShards = {
  collectionId: 1,
  vector: { values: Float32Array.of(0.5, 1), k: 10, ef: 100 },
  keyword: { terms: ['a', 'b'], k: 5, statistics },
  filter,
  exact: true,
};
const hint = { shard: 3, epoch: { num: 7, uuid: new Uint8Array(16).fill(3) }, node: 'ab'.repeat(16) };

const asks: { readonly [C in ShardCall]: ShardAsk<C> } = {
  search: {
    mapEpoch: 5,
    gates,
    search: encodeSearch(search),
  },
  statistics: { mapEpoch: 5, gates, collectionId: 1, terms: [] },
  count: { mapEpoch: 5, gates, collectionId: 1, filter: undefined },
  read: { mapEpoch: 5, gates, collectionId: 1, ids: [['a', 'b'], []], fields },
  page: { mapEpoch: 5, gates, collectionId: 1, filter, after: 'x', limit: 10, fields },
  keys: { mapEpoch: 5, gates, collectionId: 1 },
  summary: { mapEpoch: 5, gates: [] },
  fetch: { collectionId: 1, shards: [1], wanted: [[{ id: 'a', offset: 1, versionMs: 2, versionCounter: 3 }]], fields },
  write: {
    mapEpoch: 5,
    writes: [
      {
        shard: 1,
        op: 'UPSERT',
        collectionId: 1,
        id: 'a',
        payload: Uint8Array.of(1, 2),
        condition: { kind: 'version', version: 'v' },
        level: 'quorum',
        opId: new Uint8Array(16),
        repeatedFrom: 0,
      },
    ],
  },
  entries: { mapEpoch: 5, shard: 1, after: { epoch: 1, reign: 3, offset: 2 }, limit: 3, bytesMax: 4, waitMs: 5 },
  change: { operation: { kind: 'dropAlias', name: 'x' } },
  map: { mapEpoch: 5 },
  transfer: { shard: 1, to: 'ab'.repeat(16) },
  operations: { mapEpoch: 5, gates, prefix: new Uint8Array(8).fill(7) },
  conflicts: { mapEpoch: 5, gates },
};

const answers: { readonly [C in ShardCall]: ShardAnswer<C> } = {
  search: [
    { shard: 1, value: written({ shard: 1, documents: 2, vector: candidates }), lagMs: 3.5 },
    {
      shard: 2,
      value: written({
        shard: 2,
        documents: 2,
        keyword: {
          candidates: candidates.map((one) => ({ ...one, frequencies: [1, 2], length: 5 })),
          statistics,
          complete: true,
        },
      }),
    },
    { shard: 3, refusal: { code: 'NOT_PRIMARY', hint, retryAfterMs: 5 } },
  ],
  statistics: [{ shard: 1, value: statistics }],
  count: [{ shard: 1, value: 0 }],
  read: [{ shard: 1, value: [stored, undefined] }],
  page: [{ shard: 1, value: { documents: [stored], last: undefined, more: false, offsets: [2 ** 40] } }],
  keys: [{ shard: 1, value: ['a.b'] }],
  summary: [
    {
      shard: 1,
      value: {
        offset: 1,
        applied: 1,
        chain: new Uint8Array(16),
        live: new Uint8Array(16),
        epoch: 1,
        reign: 9,
        collections: [{ id: 1, live: 2 }],
      },
    },
  ],
  fetch: [{ shard: 1, value: [undefined] }],
  write: [
    {
      kind: 'written',
      version: { hlc: { ms: 2 ** 47, counter: 1 }, opId: new Uint8Array(16) },
      epoch: 1,
      reign: 2 ** 31,
      offset: 2,
      created: true,
      durable: 3,
      indexed: false,
    },
    { kind: 'refused', code: 'NO_QUORUM', detail: 'why' },
    { kind: 'turned-away', refusal: { code: 'FROZEN' } },
  ],
  entries: { shard: 1, value: { entries: [Uint8Array.of(9)], start: 0, tail: 4, fork: 2, compacted: false } },
  change: { kind: 'refused', code: 'COLLECTION_CONFLICT', detail: 'why' },
  map: { mapEpoch: 7 },
  transfer: {},
  operations: [{ shard: 1, value: 3 }],
  conflicts: [{ shard: 1, value: [{ any: 'json' }] }],
};

const sides = SHARD_CALLS.flatMap((kind) => {
  const { ask, answer } = SHARD_CALL_WIRE[kind] as { ask: Codec<unknown>; answer: Codec<unknown> };
  return [
    { codec: ask, value: asks[kind] },
    { codec: answer, value: answers[kind] },
  ];
});

describe('calls about shards as bytes', () => {
  it.each(SHARD_CALLS)('come back as they were: %s', (kind) => {
    const { ask, answer } = SHARD_CALL_WIRE[kind] as { ask: Codec<unknown>; answer: Codec<unknown> };
    expect(decodeWire(ask, encodeWire(ask, asks[kind]))).toEqual(asks[kind]);
    const bytes = encodeWire(answer, answers[kind]);
    const decoded = decodeWire(answer, bytes);
    expect(decoded).toEqual(answers[kind]);
    expect(encodeWire(answer, decoded)).toEqual(bytes);
  });

  it('hold texts of any length and characters', () => {
    const texts = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ maxLength: 300 }));
    fc.assert(
      fc.property(texts, texts, (one, other) => {
        for (const value of [one, one + other, 'a'.repeat(64) + one, 'a'.repeat(126) + one])
          expect(decodeWire(text, encodeWire(text, value))).toBe(value);
      }),
    );
    expect(encodeWire(text, 'é'.repeat(100))).toHaveLength(202);
  });

  it('are refused with a WireError when they are cut or mutated, or read as something harmless', () => {
    fc.assert(
      fc.property(fc.constantFrom(...sides), fc.nat(), fc.nat(255), fc.boolean(), ({ codec, value }, at, byte, cut) => {
        const bytes = encodeWire(codec, value);
        const broken = cut ? bytes.slice(0, at % bytes.length) : bytes.with(at % bytes.length, byte);
        try {
          decodeWire(codec, broken);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
        if (cut) expect(() => decodeWire(codec, broken)).toThrow(WireError);
      }),
      { numRuns: 2_000 },
    );
  });

  it('hold no vector that is not finite, and no endless filter', () => {
    const { ask } = SHARD_CALL_WIRE.search;
    const nan = encodeSearch({ ...search, vector: { values: Float32Array.of(NaN), k: 1, ef: 1 } });
    expect(() => decodeWire(ask, encodeWire(ask, { ...asks.search, search: nan }))).toThrow('finite');
    let deep: Filter = { must: [], should: [], mustNot: [] };
    for (let i = 0; i < 20; i++) deep = { must: [{ kind: 'nested', filter: deep }], should: [], mustNot: [] };
    expect(() => encodeWire(SHARD_CALL_WIRE.count.ask, { ...asks.count, filter: deep })).toThrow('deeply');
    // Nothing of it is left in what is written next.
    expect(decodeWire(ask, encodeWire(ask, asks.search))).toEqual(asks.search);
    expect(decodeSearch(asks.search.search)).toEqual(search);
  });
});
