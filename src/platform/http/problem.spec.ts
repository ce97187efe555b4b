import { describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../kernel/errors.js';
import { ERRORS, NodeError } from '../../kernel/errors.js';
import { problemOf } from './problem.js';

describe('problemOf', () => {
  it.each(Object.keys(ERRORS) as ErrorCode[])('gives %s its status, title and type', (code) => {
    const { problem, unexpected } = problemOf(new NodeError(code, 'why'), 'urn:uuid:1');
    expect(unexpected).toBe(false);
    expect(problem).toEqual({
      type: `urn:spector:error:${code}`,
      title: ERRORS[code].title,
      status: ERRORS[code].http,
      detail: 'why',
      instance: 'urn:uuid:1',
      code,
      retryable: ERRORS[code].retryable,
    });
  });

  it('adds retryAfterMs and extras, which cannot replace a standard member', () => {
    const error = new NodeError('COVERAGE_TOO_LOW', 'x', {
      retryAfterMs: 20,
      extra: { shards: { ok: 1 }, status: 200 },
    });
    expect(problemOf(error, 'i').problem).toMatchObject({ shards: { ok: 1 }, status: 503, retryAfterMs: 20 });
  });

  it('keeps an unexpected error to itself', () => {
    const report = problemOf(new Error('secret /etc/path'), 'urn:uuid:2');
    expect(report.unexpected).toBe(true);
    expect(report.problem).toMatchObject({ status: 500, code: 'INTERNAL', instance: 'urn:uuid:2' });
    expect(JSON.stringify(report)).not.toContain('secret');
  });
});
