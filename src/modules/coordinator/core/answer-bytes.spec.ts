import { describe, expect, it } from '@jest/globals';
import { AnswerBytes } from './answer-bytes.js';

const ALL = { title: true, content: true, metadata: true, vector: true };

const document = (content: string, vector?: Float32Array) => ({
  id: 'ab',
  version: 'v',
  title: undefined,
  content,
  metadata: undefined,
  vector,
});

describe('AnswerBytes', () => {
  it('counts ids, texts and vectors, up to the bound and no further', () => {
    const bytes = new AnswerBytes(ALL, 50);
    expect(bytes.fits(document('c'.repeat(18)))).toBe(true);
    expect(bytes.fits(document('c'.repeat(2), Float32Array.of(1, 2)))).toBe(true);
    expect(bytes.fits(document('c'))).toBe(false);
    bytes.add(undefined);
    bytes.add(document(''));
    expect(() => bytes.add(document(''))).toThrow(/ask for fewer/);
  });

  it('counts nothing that is not answered', () => {
    const bytes = new AnswerBytes({ title: false, content: false, metadata: false, vector: false }, 4);
    expect(bytes.fits(document('c'.repeat(100), Float32Array.of(1)))).toBe(true);
    expect(bytes.fits(document(''))).toBe(true);
    expect(bytes.fits(document(''))).toBe(false);
  });
});
