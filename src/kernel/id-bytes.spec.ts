import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from './bytes.js';
import { compareIdBytes, idHash } from './id-bytes.js';
import { compareIds } from './ids.js';

const id = fc.string({
  unit: fc.constantFrom('a', 'b', '\u007f', 'é', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}'),
  maxLength: 6,
});

describe('ids in UTF-8', () => {
  it('are ordered as their texts', () => {
    fc.assert(
      fc.property(id, id, (a, b) => {
        const [first, second] = [utf8(`x${a}`), utf8(b)];
        expect(Math.sign(compareIdBytes(first, 1, first.length, second, 0, second.length))).toBe(compareIds(a, b));
      }),
      { numRuns: 2_000 },
    );
  });

  it('have the hash that FNV-1a has for known texts', () => {
    const hashOf = (text: string): number => idHash(utf8(`<${text}>`), 1, utf8(text).length + 1);
    expect([hashOf(''), hashOf('a'), hashOf('foobar')]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
  });
});
