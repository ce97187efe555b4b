import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { STOP_WORDS, STOP_WORD_LENGTH_MAX } from './stop-words.js';
import { TOKEN_CODE_POINTS_MAX, keywordText, tokenize } from './tokenizer.js';

/** The definition, without the fast path: runs of letters and digits, lower case, ≥ 2 code points, no stop words. */
function defined(text: string): string[] {
  return (
    text
      .toLowerCase()
      .normalize('NFC')
      .match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? []
  )
    .map((run) => Array.from(run))
    .filter((points) => points.length >= 2 && !STOP_WORDS.has(points.join('')))
    .map((points) => points.slice(0, TOKEN_CODE_POINTS_MAX).join(''));
}

describe('stop words', () => {
  it('are 34, none longer than declared', () => {
    expect(STOP_WORDS.size).toBe(34);
    expect(Math.max(...[...STOP_WORDS].map((word) => word.length))).toBe(STOP_WORD_LENGTH_MAX);
  });
});

describe('keywordText', () => {
  it('joins title and content', () => {
    expect(keywordText({ title: 'a title', content: 'its content' })).toBe('a title\nits content');
    expect(keywordText({ title: 'alone' })).toBe('alone');
    expect(keywordText({ content: '' })).toBe('');
    expect(keywordText({})).toBeUndefined();
  });
});

describe('tokenize', () => {
  it.each([
    ['The quick brown Fox, and 42 dogs!', ['quick', 'brown', 'fox', '42', 'dogs']],
    ['', []],
    [' \n\t--', []],
    ['a b c 1 x', []],
    ['end', ['end']],
    ["don't e-mail foo_bar v2.10", ['don', 'mail', 'foo', 'bar', 'v2', '10']],
    ['to be or not to be', []],
    ['again and again', ['again', 'again']],
    ['Ärger über ÉCOLE naïve', ['ärger', 'über', 'école', 'naïve']],
    ['Привет, МИР', ['привет', 'мир']],
    ['ΟΔΟΣ', ['οδος'.replace(/σ$/, 'ς')]],
    ['हिन्दी भाषा', ['हिन्दी', 'भाषा']],
    ['日本語 中', ['日本語']],
    ['שלום עולם', ['שלום', 'עולם']],
    ['١٢٣ ½x', ['١٢٣', '½x']],
    ['𝔘𝔫𝔦 𝔘', ['𝔘𝔫𝔦']],
    ['İstanbul', ['i̇stanbul']],
    ['ok \ud800 fine\udc00word', ['ok', 'fine', 'word']],
    ['emoji 🎉party🎉', ['emoji', 'party']],
    ['\u0301acute', ['acute']],
  ])('%j', (text, tokens) => {
    expect(tokenize(text)).toEqual(tokens);
  });

  it('makes one term of composed and decomposed accents', () => {
    expect(tokenize('cafe\u0301')).toEqual(tokenize('caf\u00e9'));
  });

  it('cuts long runs by code points, in documents and queries alike', () => {
    expect(tokenize('x'.repeat(1000))).toEqual(['x'.repeat(64)]);
    expect(tokenize('𐐨'.repeat(1000))).toEqual(['𐐨'.repeat(64)]);
    expect(tokenize('é'.repeat(64))).toEqual(['é'.repeat(64)]);
  });

  it('takes a megabyte of anything', () => {
    // Anything but linear would take minutes and meet the time limit of a test.
    const counts = ['a', 'é', 'ab ', '\u0301', 'é\u0301', '\ud800', ' ', '-ab'].map(
      (unit) => tokenize(unit.repeat(2 ** 20 / 4)).length,
    );
    expect(counts).toEqual([1, 1, 2 ** 18, 0, 1, 0, 0, 2 ** 18]);
  });

  it('is the definition', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary-ascii' }),
      fc.string({
        unit: fc.constantFrom('A', 'b', '1', ' ', '.', 'É', 'e\u0301', '\ud800', '語', 'Σ'),
        maxLength: 200,
      }),
    );
    fc.assert(
      fc.property(text, (value) => expect(tokenize(value)).toEqual(defined(value))),
      { numRuns: 500 },
    );
  });

  it('gives its own output back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const tokens = tokenize(value);
        expect(tokenize(tokens.join(' '))).toEqual(tokens);
      }),
    );
  });
});
