import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ErrorCode } from '../../../kernel/errors.js';
import { bulkOutcome } from './bulk-status.js';
import { durationMs, durationText } from './duration.js';
import { metadataOf } from './metadata.js';
import { nearestName } from './nearest-name.js';
import { idempotencyKeyOf, writeConditionOf } from './write-headers.js';

describe('nearestName', () => {
  it.each([
    ['topk', 'topK'],
    ['top_k', 'topK'],
    ['TITLE', 'title'],
    ['tilte', 'title'],
    ['metdata', 'metadata'],
    ['colour', undefined],
    ['x'.repeat(10_000), undefined],
  ])('takes %s for %s', (name, expected) => {
    expect(nearestName(name, ['topK', 'title', 'metadata', 'ef'])).toBe(expected);
  });
});

describe('durations', () => {
  it('survive their text', () => {
    fc.assert(fc.property(fc.nat(), (ms) => durationMs(durationText(ms)) === ms));
    expect([durationText(0), durationText(600_000), durationText(86_400_000), durationText(1_500)]).toEqual([
      '0s',
      '10m',
      '24h',
      '1500ms',
    ]);
    expect(['', '10', 'm', '-1s', '1.5s', '1 s'].map(durationMs)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('headers of writes', () => {
  it('read conditions', () => {
    expect(writeConditionOf(undefined, undefined)).toBeUndefined();
    expect(writeConditionOf('"0a"', undefined)).toEqual({ kind: 'version', version: '0a' });
    expect(writeConditionOf(undefined, '*')).toEqual({ kind: 'absent' });
    expect(() => writeConditionOf('"0a"', '*')).toThrow(/contradict/);
    for (const bad of ['*', '0a', 'W/"0a"', '"a", "b"', '""'])
      expect(() => writeConditionOf(bad, undefined)).toThrow(/double quotes/);
    expect(() => writeConditionOf(undefined, '"0a"')).toThrow(/must be \*/);
  });

  it('read idempotency keys', () => {
    expect(idempotencyKeyOf(undefined)).toBeUndefined();
    expect(idempotencyKeyOf('k'.repeat(256))).toHaveLength(256);
    for (const bad of ['', 'a b', 'ä', 'k'.repeat(257)]) expect(() => idempotencyKeyOf(bad)).toThrow(/Idempotency-Key/);
  });
});

describe('bulkOutcome', () => {
  const outcome = (success: number, ...codes: ErrorCode[]) =>
    bulkOutcome({
      answer: {
        total: success + codes.length,
        success,
        failed: codes.length,
        // One is told.
        errors: codes.slice(0, 1).map((code, index) => ({ index, id: null, code, detail: '' })),
        session: '',
      },
      codes: new Set(codes),
    });

  it.each<[number, ErrorCode[], number, ErrorCode | undefined]>([
    [2, [], 201, undefined],
    [1, ['NO_QUORUM'], 200, undefined],
    [0, [], 400, 'INVALID_REQUEST'],
    [0, ['INVALID_REQUEST', 'PAYLOAD_TOO_LARGE'], 400, 'INVALID_REQUEST'],
    [0, ['DIMENSION_MISMATCH', 'DIMENSION_MISMATCH'], 400, 'DIMENSION_MISMATCH'],
    [0, ['NO_QUORUM', 'SHARD_UNAVAILABLE'], 503, 'NO_QUORUM'],
    [0, ['NO_QUORUM', 'INVALID_REQUEST'], 400, 'INVALID_REQUEST'],
    [0, ['WRITE_OUTCOME_UNKNOWN'], 504, 'WRITE_OUTCOME_UNKNOWN'],
    [0, ['INSUFFICIENT_STORAGE'], 507, 'INSUFFICIENT_STORAGE'],
    [0, ['OVERLOADED', 'OVERLOADED'], 429, 'OVERLOADED'],
    [0, ['OVERLOADED', 'NO_QUORUM'], 400, 'INVALID_REQUEST'],
    [0, ['INTERNAL'], 400, 'INVALID_REQUEST'],
    [0, ['LOG_CORRUPT', 'INTERNAL'], 400, 'INVALID_REQUEST'],
  ])('of %i stored and %j failed is %i', (success, codes, status, code) => {
    expect(outcome(success, ...codes)).toEqual(code === undefined ? { status } : { status, code });
  });
});

describe('metadataOf', () => {
  it('counts bytes as JSON has them', () => {
    const exact = { x: 'ä'.repeat((65_536 - 8) / 2) };
    expect(Buffer.byteLength(JSON.stringify(exact))).toBe(65_536);
    expect(metadataOf(exact, 'metadata')).toBe(exact);
    expect(() => metadataOf({ x: `${exact.x}a` }, 'metadata')).toThrow(/65537/);
  });

  it('refuses what would come back changed, or reaches a prototype', () => {
    expect(() => metadataOf({ a: ['\udc00'] }, 'metadata')).toThrow(/surrogate/);
    expect(() => metadataOf({ '\ud800': 1 }, 'metadata')).toThrow(/surrogate/);
    expect(() => metadataOf({ a: { b: Infinity } }, 'metadata')).toThrow(/`metadata.a.b`/);
    expect(() => metadataOf({ a: Object.setPrototypeOf({}, { polluted: 1 }) as object }, 'metadata')).toThrow(
      /__proto__/,
    );
    expect(() => metadataOf(JSON.parse('{"__proto__":1}'), 'metadata')).toThrow(/__proto__/);
    expect(metadataOf({ a: [null, true, -0.5, { b: '' }] }, 'metadata')).toBeDefined();
  });
});
