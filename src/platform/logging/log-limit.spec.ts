import { describe, expect, it } from '@jest/globals';
import { LogLimit } from './log-limit.js';

describe('LogLimit', () => {
  let nowMs = 0;
  const clock = { wallMs: () => 0, monotonicMs: () => nowMs };

  it('lets one line of a key through per interval and counts the others', () => {
    const limit = new LogLimit(clock, 1_000);
    expect(limit.take('a')).toBe(0);
    expect(limit.take('a')).toBeUndefined();
    expect(limit.take('a')).toBeUndefined();
    expect(limit.take('b')).toBe(0);
    nowMs += 1_000;
    expect(limit.take('a')).toBe(2);
    expect(limit.take('a')).toBeUndefined();
  });

  it('remembers a bounded number of keys', () => {
    const limit = new LogLimit(clock, 1_000);
    for (let i = 0; i < 300; i++) expect(limit.take(`key ${i}`)).toBe(0);
    expect(limit.take('key 299')).toBeUndefined();
    expect(limit.take('key 0')).toBe(0);
  });
});
