import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SearchAnswerWriter } from '../../src/modules/shard/core/search-answer-writer.js';
import { idText, tableOf } from './label-tables.js';
import { compiledAddon } from './native-addon.js';

describe('the native LegWriter', () => {
  const faster = compiledAddon().writeLeg;

  it('writes the very bytes SearchAnswerWriter does, however much room it has', () => {
    const long = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.uniqueArray(fc.oneof(idText, long), { maxLength: 300 }), (ids) => {
        const { records } = tableOf(ids);
        const items = Uint32Array.from(ids, (_, i) => ids.length - 1 - i);
        const found = { items, scores: Float64Array.from(ids, (_, i) => 1 / (i + 1)) };
        const [native, plain] = [new SearchAnswerWriter(), new SearchAnswerWriter()];
        for (const [writer, by] of [[native, faster] as const, [plain, undefined] as const]) {
          for (let shard = 0; shard < 3; shard++) {
            writer.begin(shard, ids.length);
            writer.vector(records, found, by);
            writer.end();
          }
        }
        expect(native.take()).toEqual(plain.take());
      }),
      { numRuns: 100 },
    );
  });

  it('refuses labels without a record, and ids outside of the texts', () => {
    const { records } = tableOf(['one']);
    const write = (label: number, texts = records.texts): unknown =>
      faster?.({ words: records.words, texts }, Uint32Array.of(label), Float64Array.of(1), new Uint8Array(99), 0);
    expect(write(0)).toBe(8 + 34 + 3);
    expect(() => write(1_000_000)).toThrow(/record/);
    expect(() => write(0, new Uint8Array(2))).toThrow(/texts/);
  });
});
