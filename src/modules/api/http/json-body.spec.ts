import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { JSON_KEYS_MAX, JSON_VALUES_MAX } from '../core/json-scan.js';
import { parseJson } from './json-body.js';

const parse = (text: string | Buffer) => parseJson(Buffer.from(text), 'the body');

function refusal(text: string | Buffer): NodeError {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof NodeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

/** Without the key that is refused by name before its place matters, which has a test of its own below. */
const acceptable = (value: unknown) => !/"__proto__":/.test(JSON.stringify(value));

describe('parseJson', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }).filter(acceptable), (value) => {
        expect(parse(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    expect(parse('\ufeff{"a":1}')).toEqual({ a: 1 });
    expect(parse('{"a":1,"a":2}')).toEqual({ a: 2 });
    expect(parse('{"text":"__proto__"}')).toEqual({ text: '__proto__' });
    expect(Object.entries(parse('{"constructor":{"prototype":1}}') as object)).toEqual([
      ['constructor', { prototype: 1 }],
    ]);
  });

  it('takes the member `vector` of an object as float32, wherever it stands', () => {
    const vector = Float32Array.of(0.25, -3, 1e-7);
    for (const text of [
      '{"vector":[0.25,-3,1e-7]}',
      ' { "vector" : [ 0.25 , -3.0 , 0.0000001 ] , "a" : "ü" } ',
      '\ufeff{"a":{"vector":[1]},"vector":[0.25,-3,1e-7],"b":["vector"]}',
    ]) {
      const all = JSON.parse(text.trim().replace('\ufeff', '')) as object;
      expect(parse(text)).toEqual({ ...all, vector });
    }
  });

  it.each([
    '{"vector":[1],"vector":[2]}',
    '{"vector":[1],"vector":null}',
    '{"vector":[1],"vect\\u006fr":null}',
    '{"vect\\u006fr":null,"vector":[1]}',
    '{"vector":[]}',
    '{"vector":[1,"2"]}',
    '{"vector":[1e39]}',
    '{"vector":{"vector":[1]}}',
    '[{"vector":[1]}]',
    '{"metadata":{"vector":[1]}}',
    '{"text":"vector","a":[1]}',
  ])('leaves %s as JSON has it', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });

  it.each(['{"vector":[1],}', '{"vector":[1]]', '{"vector":[1]', '{"vector":[1,]}', '{"a":1 "vector":[1]}'])(
    'places the fault in %s as if there were no vector',
    (text) => {
      expect(refusal(text).message).toBe(refusal(text.replace('vector', 'Vector')).message);
    },
  );

  it('refuses what JSON.parse refuses, and says where', () => {
    fc.assert(
      fc.property(
        fc.jsonValue().filter(acceptable),
        fc.nat(),
        fc.constantFrom('', '"', '{', '}', '[', ']', ',', ':', '\\', '\u0001', 'x', '-'),
        (value, at, insert) => {
          const text = JSON.stringify(value);
          const cut = at % (text.length + 1);
          const broken = text.slice(0, cut) + insert + text.slice(cut + (insert === '' ? 1 : 0));
          let expected: unknown;
          try {
            expected = JSON.parse(broken);
          } catch {
            const position = Number(/position (\d+)/.exec(refusal(broken).message)?.[1]);
            expect(position).toBeLessThanOrEqual(broken.length);
            // What stands before the fault is the beginning of some JSON text; the fault is not behind the change.
            expect(position).toBeGreaterThanOrEqual(0);
            return;
          }
          expect(parse(broken)).toEqual(expected);
        },
      ),
    );
  });

  it.each([
    ['{"a":tru}', /line 1, column 6, position 5 a value is expected, not "t"/],
    ['{"a":1,}', /position 7 a field name/],
    ['[1 2]', /position 3 , or \] is expected, not "2"/],
    ['{\n"a":\n01}', /line 3, column 2, position 8 , or }/],
    ['"\\x"', /position 1 an escape sequence/],
    ['"a\nb"', /position 2 an escaped control character/],
    ['-', /position 1 a digit is expected, it ends there/],
    ['1.', /a digit/],
    ['1e', /a digit/],
    ['', /a value/],
    ['[1] 2', /the end of the text/],
    ['{"a"', /:/],
  ])('places the fault in %j', (text, detail) => {
    expect(refusal(text)).toMatchObject({ code: 'INVALID_REQUEST', message: expect.stringMatching(detail) });
  });

  it.each(['__proto__'])('refuses the key %s however it is written', (key) => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: key.length, maxLength: key.length }),
        fc.constantFrom('', ' ', '\n\t'),
        (escapes, space) => {
          const written = key
            .split('')
            .map((c, i) => (escapes[i] ? `\\u00${c.charCodeAt(0).toString(16)}` : c))
            .join('');
          expect(refusal(`[{"x":{"${written}"${space}:1}}]`)).toMatchObject({
            code: 'INVALID_REQUEST',
            message: expect.stringContaining(key),
          });
        },
      ),
    );
  });

  it('refuses invalid UTF-8, depth, keys and values beyond their bounds', () => {
    expect(refusal(Buffer.from([0x22, 0xc3, 0x22]))).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(/UTF-8/),
    });
    expect(refusal(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))).toMatchObject({ code: 'INVALID_REQUEST' });
    const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parse(deep(LIMITS.jsonDepthMax))).toBeDefined();
    expect(refusal(deep(LIMITS.jsonDepthMax + 1)).code).toBe('LIMIT_EXCEEDED');
    const keys = (count: number) => `{${Array.from({ length: count }, (_, i) => `"${i}":1`).join(',')}}`;
    expect(parse(keys(JSON_KEYS_MAX))).toBeDefined();
    expect(refusal(keys(JSON_KEYS_MAX + 1)).code).toBe('LIMIT_EXCEEDED');
    expect(parse(`[${'1,'.repeat(JSON_VALUES_MAX - 1)}1]`)).toHaveLength(JSON_VALUES_MAX);
    expect(refusal(`[${'1,'.repeat(JSON_VALUES_MAX)}1]`).code).toBe('LIMIT_EXCEEDED');
    const withVector = (more: number) =>
      `{"a":[${'1,'.repeat(JSON_VALUES_MAX - 5)}1],"vector":[1${',1'.repeat(more)}]}`;
    expect(parse(withVector(1))).toBeDefined();
    expect(refusal(withVector(2)).code).toBe('LIMIT_EXCEEDED');
    expect(refusal(withVector(2).replace('vector', 'Vector')).code).toBe('LIMIT_EXCEEDED');
    expect(parse(withVector(1).replace('vector', 'Vector'))).toBeDefined();
  });

  it.each([
    ['brackets', '['.repeat(LIMITS.bodyBytesMax)],
    ['digits', '1'.repeat(LIMITS.bodyBytesMax)],
    ['digits that end badly', `${'1'.repeat(LIMITS.bodyBytesMax - 1)}x`],
    ['a vector that is one number', `{"vector":[${'1'.repeat(LIMITS.bodyBytesMax - 13)}]}`],
    ['vectors again and again', `{${'"vector":[1,2,3,x],'.repeat(JSON_KEYS_MAX - 1)}"a":1}`],
    ['white space', ' '.repeat(LIMITS.bodyBytesMax)],
    ['an endless string', `"${'\\n'.repeat(LIMITS.bodyBytesMax / 2 - 1)}`],
    ['distinct keys', `{${Array.from({ length: 800_000 }, (_, i) => `"${i}":1`).join(',')}}`],
    [
      'as many long keys as are allowed',
      `{${Array.from({ length: JSON_KEYS_MAX }, (_, i) => `"${'x'.repeat(150)}${i}":1`).join(',')}}`,
    ],
  ])('takes less than 200 ms of the processor for 8 MiB of %s', (_name, text) => {
    const bytes = Buffer.from(text);
    const spent = [1, 2, 3].map(() => {
      const before = process.cpuUsage();
      try {
        parseJson(bytes, 'the body');
      } catch (error) {
        expect(error).toBeInstanceOf(NodeError);
      }
      return process.cpuUsage(before).user / 1_000;
    });
    expect(Math.min(...spent)).toBeLessThan(200);
  });
});
