import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { documentIdProblem, utf8Length } from './ids.js';
import { fromBase64Url, toBase64Url } from './base64url.js';
import { fromHex, toHex } from './bytes.js';

describe('document ids', () => {
  it('are 1–512 bytes of well-formed Unicode without control characters', () => {
    for (const id of ['a', 'doc-1', 'ü', '文書', '🦊', 'a b', 'x'.repeat(512), '🦊'.repeat(128)])
      expect(documentIdProblem(id)).toBeUndefined();
    expect(documentIdProblem('')).toContain('empty');
    for (const id of ['x'.repeat(513), 'ü'.repeat(257), '🦊'.repeat(129)])
      expect(documentIdProblem(id)).toContain('512 bytes');
    for (const id of ['\u0000', 'a\nb', '\u007f', '\u0085']) expect(documentIdProblem(id)).toContain('control');
    for (const id of ['\ud800', 'a\udc00', '\udc00\ud800']) expect(documentIdProblem(id)).toContain('surrogate');
  });

  it('utf8Length is what an encoder makes of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) =>
        expect(utf8Length(text)).toBe(new TextEncoder().encode(text).length),
      ),
    );
  });
});

describe('byte texts', () => {
  it('survive a round trip', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes);
        expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString('base64url'));
        expect(fromBase64Url(toBase64Url(bytes))).toEqual(bytes);
      }),
    );
  });

  it('refuse what is not one', () => {
    for (const text of ['a', 'zz', '0x']) expect(fromHex(text)).toBeUndefined();
    for (const text of ['a', 'ab+/', 'ab==']) expect(fromBase64Url(text)).toBeUndefined();
  });
});
