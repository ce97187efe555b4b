import { describe, expect, it } from '@jest/globals';
import { concatBytes, utf8 } from '../../../kernel/bytes.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { BREATH, bytesOf, jsonSections, readSections, writeSections } from './index-sections.js';

const MAGIC = 0x1234;

describe('index sections', () => {
  const values = [
    'a',
    '\ud800',
    'line\nfeed',
    1.5,
    -1e300,
    true,
    null,
    'x'.repeat(600_000),
    'y'.repeat(600_000),
    'end',
  ];
  const encoded = function* (): Generator<Uint8Array> {
    const list = yield* jsonSections(values);
    yield* writeSections(MAGIC, 3, [
      utf8('hello'),
      { length: 12, parts: [bytesOf(Uint32Array.of(1, 2)), BREATH, bytesOf(Uint32Array.of(3))] },
      new Uint8Array(0),
      ...list,
    ]);
  };
  const whole = concatBytes([...encoded()]);

  it('take a breath after each piece of a long list', () => {
    expect([...encoded()].findIndex((part) => part.length > 0)).toBeGreaterThan(1);
  });

  it('come back, at any alignment, lone surrogates included', () => {
    for (let shift = 0; shift < 8; shift++) {
      const shifted = concatBytes([new Uint8Array(shift), whole]).subarray(shift);
      const reader = readSections(shifted, MAGIC, 3);
      expect(reader.bytes()).toEqual(utf8('hello'));
      expect([...reader.uint32s(3)]).toEqual([1, 2, 3]);
      expect(reader.bytes()).toHaveLength(0);
      expect(reader.json()).toEqual(values);
      reader.end();
    }
  });

  it('refuse another kind, another version, every cut and what follows', () => {
    expect(() => readSections(whole, MAGIC + 1, 3)).toThrow(IndexDamagedError);
    expect(() => readSections(whole, MAGIC, 4)).toThrow('format 3');
    for (let length = 0; length < 200; length++) {
      expect(() => readSections(whole.subarray(0, length), MAGIC, 3)).toThrow(IndexDamagedError);
    }
    expect(() => readSections(concatBytes([whole, new Uint8Array(8)]), MAGIC, 3)).toThrow(IndexDamagedError);
  });

  it('refuse to be read as what they are not', () => {
    const reader = readSections(concatBytes([...writeSections(MAGIC, 3, [utf8('hello')])]), MAGIC, 3);
    expect(() => reader.end()).toThrow(IndexDamagedError);
    expect(() => reader.uint32s()).toThrow(IndexDamagedError);
    expect(() => reader.bytes()).toThrow('missing');
  });
});
