import { expect, it } from '@jest/globals';
import { repeatedFrom } from './earlier-writes.js';

it('looks for a repeated write after where the log ended then, among the newest 50 000, and not below the start', () => {
  expect(repeatedFrom(900, 0, 1_000)).toBe(901);
  expect(repeatedFrom(900, 950, 1_000)).toBe(951);
  // Of a copy that was not heard of: it is not known where its log ended.
  expect(repeatedFrom(0, 0, 80_000)).toBe(30_001);
});
