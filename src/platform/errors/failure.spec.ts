import { describe, expect, it } from '@jest/globals';
import { NodeError } from '../../kernel/errors.js';
import { DETAIL_CHARACTERS_MAX, failureOf } from './failure.js';

describe('failureOf', () => {
  it('tells code, detail, retryability and extras of an operating error', () => {
    const failure = failureOf(new NodeError('OVERLOADED', 'too much', { retryAfterMs: 50, extra: { shards: 1 } }));
    expect(failure).toEqual({
      code: 'OVERLOADED',
      detail: 'too much',
      retryable: true,
      retryAfterMs: 50,
      extra: { shards: 1 },
      unexpected: false,
    });
  });

  it.each([[new Error('password is hunter2')], ['hunter2'], [undefined], [{ message: 'hunter2' }]])(
    'says nothing about an unexpected %p',
    (thrown) => {
      const failure = failureOf(thrown);
      expect(failure.code).toBe('INTERNAL');
      expect(failure.unexpected).toBe(true);
      expect(JSON.stringify(failure)).not.toContain('hunter2');
    },
  );

  it('makes details safe to send', () => {
    const failure = failureOf(new NodeError('INVALID_REQUEST', `id \ud800 ${'x'.repeat(5_000)}`));
    expect(failure.detail.isWellFormed()).toBe(true);
    expect(failure.detail.length).toBe(DETAIL_CHARACTERS_MAX);
  });
});
