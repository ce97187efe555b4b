import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { JsonObject } from '../../../kernel/json.js';
import { decodeDocument, DocumentFormatError, documentSegments, encodeDocument } from './document-codec.js';
import type { DocumentFields } from './document.js';

const fields: fc.Arbitrary<DocumentFields> = fc.record(
  {
    title: fc.string({ unit: 'binary' }),
    content: fc.string({ unit: 'grapheme' }),
    metadata: fc
      .dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.jsonValue(),
      )
      .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject),
    vector: fc.float32Array({ noNaN: true, maxLength: 32 }),
  },
  { requiredKeys: [] },
);

describe('the document codec', () => {
  it('survives a round trip, from any place in a buffer, lone surrogates included', () => {
    fc.assert(
      fc.property(fields, fc.nat(9), (document, shift) => {
        const payload = encodeDocument(document);
        const buffer = new Uint8Array(payload.length + 20);
        buffer.set(payload, shift);
        expect(decodeDocument(buffer.subarray(shift, shift + payload.length))).toEqual(document);
      }),
    );
  });

  it('takes out only what was chosen', () => {
    const payload = encodeDocument({ title: 't', content: 'c', metadata: { a: 1 }, vector: Float32Array.of(1) });
    expect(documentSegments(payload, { title: true, content: false, metadata: true, vector: false })).toEqual({
      title: '"t"',
      content: undefined,
      metadata: '{"a":1}',
      vector: undefined,
    });
  });

  it('refuses another format and lengths that do not add up', () => {
    const payload = encodeDocument({ title: 'title' });
    expect(() => decodeDocument(payload.subarray(0, payload.length - 1))).toThrow(DocumentFormatError);
    expect(() => decodeDocument(payload.subarray(0, 3))).toThrow(DocumentFormatError);
    const newer = payload.slice();
    newer[0] = 2;
    expect(() => decodeDocument(newer)).toThrow('format 2');
  });
});
