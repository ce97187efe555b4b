import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { LIMITS } from '../../../kernel/limits.js';
import { readNumberArray } from './json-numbers.js';

const read = (text: string) => {
  const bytes = new TextEncoder().encode(text);
  return readNumberArray(bytes, 0, bytes.length);
};

/** As a JSON parser and a Float32Array read it; undefined when they would not, or not as finite numbers. */
function reference(text: string): Float32Array | undefined {
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(values) || values.length === 0 || values.some((value) => typeof value !== 'number'))
    return undefined;
  const vector = Float32Array.from(values as number[]);
  return vector.every(Number.isFinite) ? vector : undefined;
}

const digits = (max: number) =>
  fc.string({ unit: fc.constantFrom('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'), maxLength: max });
const written = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.constantFrom('0', '1', '7', '16777217', '9007199254740993', '12345678901234567890123'),
    fc.option(digits(30)),
    fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e-', 'E+'), digits(3))),
  )
  .map(
    ([sign, integer, fraction, exponent]) =>
      sign + integer + (fraction === null ? '' : `.${fraction}`) + (exponent === null ? '' : exponent.join('')),
  );
const printed = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.double({ min: -1, max: 1, noNaN: true }).map(String),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.float({ min: -1, max: 1, noNaN: true }).map((value) => value.toFixed(7)),
  fc.float({ min: -1, max: 1, noNaN: true }).map((value) => value.toExponential()),
  written,
);

describe('readNumberArray', () => {
  it('reads to the bit what JSON.parse and a Float32Array make of it', () => {
    fc.assert(
      fc.property(fc.array(printed, { maxLength: 8 }), fc.constantFrom(',', ', ', '\n,\t'), (numbers, comma) => {
        const text = `[${numbers.join(comma)}]`;
        const expected = reference(text);
        const found = read(text);
        if (found === undefined) {
          // It may leave to the parser what the parser can read, but only for its length.
          if (expected !== undefined) expect(Math.max(...numbers.map(({ length }) => length))).toBeGreaterThan(64);
          return;
        }
        expect(found.end).toBe(text.length);
        expect(new Uint32Array(found.vector.buffer)).toEqual(new Uint32Array(expected?.buffer ?? new ArrayBuffer(0)));
      }),
      { numRuns: 5_000 },
    );
  });

  it('is right on both sides of the middle between two float32 numbers', () => {
    fc.assert(
      fc.property(
        fc.float({ min: Math.fround(1e-6), max: 1, noNaN: true }),
        fc.integer({ min: -6, max: 6 }),
        (value, ulps) => {
          const bits = new Uint32Array(Float32Array.of(value).buffer)[0];
          const above = new Float32Array(Uint32Array.of(bits + 1).buffer)[0];
          const middle = (value + above) / 2;
          const near = middle + ulps * middle * 2 ** -53;
          for (const text of [near.toFixed(20), near.toPrecision(17), near.toPrecision(21), String(near)]) {
            expect(read(`[${text}]`)?.vector[0]).toBe(Math.fround(JSON.parse(text) as number));
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it.each([
    '[]',
    '[1',
    '[1,',
    '[1,]',
    '[,1]',
    '[01]',
    '[+1]',
    '[.5]',
    '[1.]',
    '[1e]',
    '[1e+]',
    '[-]',
    '[- 1]',
    '[1 2]',
    '["1"]',
    '[null]',
    '[[1]]',
    '[1x]',
    '[1e39]',
    '[-1e999]',
  ])('leaves %s to those who can say what is wrong', (text) => {
    expect(read(text)).toBeUndefined();
  });

  it('stays inside the text it is given, and takes no more than a vector may have', () => {
    const bytes = new TextEncoder().encode('[1,23]');
    expect(readNumberArray(bytes, 0, 6)?.vector).toEqual(Float32Array.of(1, 23));
    for (let to = 1; to < 6; to++) expect(readNumberArray(bytes, 0, to)).toBeUndefined();
    const long = (length: number) => `[${Array.from({ length }, () => '0.5').join()}]`;
    expect(read(long(LIMITS.dimensionsMax))?.vector).toHaveLength(LIMITS.dimensionsMax);
    expect(read(long(LIMITS.dimensionsMax + 1))).toBeUndefined();
  });
});
