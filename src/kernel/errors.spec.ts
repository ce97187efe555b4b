import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { ERRORS, NodeError } from './errors.js';

describe('the error table', () => {
  it('is the one in docs/errors.md, row by row', () => {
    const document = readFileSync('docs/errors.md', 'utf8');
    const rows = [
      ...document.matchAll(/^\|\s*([A-Z_]+)\s*\|\s*(\d{3})\s*\|\s*([A-Z_]+)\s*\|\s*(yes|no)\s*\|\s*(.+?)\s*\|$/gm),
    ].map(([, code, http, grpc, retryable, title]) => ({
      code,
      http: Number(http),
      grpc,
      retryable: retryable === 'yes',
      title,
    }));
    expect(rows).toEqual(Object.entries(ERRORS).map(([code, error]) => ({ code, ...error })));
  });

  it('keeps cause, retry time and extra members with an error', () => {
    const cause = new Error('below');
    const error = new NodeError('OVERLOADED', 'later', { cause, retryAfterMs: 5, extra: { shards: 1 } });
    expect(error).toMatchObject({ code: 'OVERLOADED', message: 'later', cause, retryAfterMs: 5, extra: { shards: 1 } });
  });
});
