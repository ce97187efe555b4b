import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { SearchAnswer } from '../../coordinator/core/requests.js';
import { searchAnswerJson } from './search-answer.js';

const text = fc.string({ unit: 'binary' });
const number = fc.oneof(fc.double(), fc.constant(-0), fc.integer());
const ranks = fc.record({ vector: fc.integer({ min: 1 }), keyword: fc.integer({ min: 1 }) }, { requiredKeys: [] });
const hit = fc.record(
  {
    id: text,
    score: number,
    title: text,
    content: text,
    metadata: fc.dictionary(text, fc.jsonValue()),
    vector: fc.float32Array({ noNaN: true, noDefaultInfinity: true }),
    version: text,
    ranks,
    explanation: fc.constant({ shard: 1, vector: { rank: 1, score: 0.5, contribution: 0.1 } }),
  },
  { requiredKeys: ['id', 'score', 'version', 'ranks'] },
);
const fusion = fc.constantFrom<SearchAnswer['fusion']>(
  null,
  { method: 'rrf', k: 60, weights: { vector: 1, keyword: 0.5 } },
  { method: 'relative', alpha: 0.5 },
);
const answer = fc.record(
  {
    results: fc.array(hit, { maxLength: 5 }),
    totalHits: fc.nat(),
    queryTimeMs: number,
    mode: fc.constantFrom<SearchAnswer['mode']>('KEYWORD', 'VECTOR', 'HYBRID'),
    fusion,
    partial: fc.boolean(),
    shards: fc.constant<SearchAnswer['shards']>({
      total: 2,
      ok: 1,
      stale: [],
      failed: [{ shard: 1, reason: 'TIMEOUT' }],
    }),
    coverage: number,
    mapEpoch: fc.nat(),
    session: text,
    explain: fc.constant({ legSize: 50, rounds: 1, timings: { planMs: 1, shardsMs: 2, fuseMs: 3, fetchMs: 4 } }),
  },
  {
    requiredKeys: [
      'results',
      'totalHits',
      'queryTimeMs',
      'mode',
      'fusion',
      'partial',
      'shards',
      'coverage',
      'mapEpoch',
      'session',
    ],
  },
);

describe('searchAnswerJson', () => {
  it('writes what JSON.stringify writes of the plain shape', () => {
    fc.assert(
      fc.property(answer, (plain) => {
        const results = plain.results.map(({ title, content, metadata, vector, ...rest }) => ({
          ...rest,
          ...(title === undefined ? {} : { titleJson: JSON.stringify(title) }),
          ...(content === undefined ? {} : { contentJson: JSON.stringify(content) }),
          ...(metadata === undefined ? {} : { metadataJson: JSON.stringify(metadata) }),
          ...(vector === undefined ? {} : { vector }),
        }));
        const expected = {
          ...plain,
          results: plain.results.map((one) => ({
            ...one,
            ...(one.vector === undefined ? {} : { vector: Array.from(one.vector) }),
          })),
        };
        expect(JSON.parse(searchAnswerJson({ ...plain, results }))).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
    );
  });
});
