import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeScrollCursor, encodeScrollCursor } from './scroll-cursor.js';

describe('scroll cursor', () => {
  it('survives a round trip for any id', () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.option(fc.string({ unit: 'grapheme', minLength: 1 }), { nil: undefined }),
        (shard, after) => {
          expect(decodeScrollCursor(encodeScrollCursor({ shard, after }))).toEqual({ shard, after });
        },
      ),
    );
  });

  it('refuses rubbish', () => {
    for (const text of ['', 'x', 'AAAA', 'W10', 'WzI1Nl0', 'WyJhIl0', 'WzEsMl0', 'y'.repeat(9_999)])
      expect(decodeScrollCursor(text)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => void decodeScrollCursor(text)));
  });
});
