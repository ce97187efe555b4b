import { describe, expect, it } from '@jest/globals';
import { ERRORS } from '../kernel/errors.js';
import { errorOfAnswer, RETRYABLE_CODES } from './spector-error.js';

describe('RETRYABLE_CODES', () => {
  it('are those of the node', () => {
    const codes = Object.entries(ERRORS).flatMap(([code, { retryable }]) => (retryable ? [code] : []));
    expect([...RETRYABLE_CODES].sort()).toEqual(codes.sort());
  });
});

describe('errorOfAnswer', () => {
  it('knows by the code whether to retry when the answer does not say', () => {
    expect(errorOfAnswer(503, '{"code":"FROZEN"}', 'n')).toMatchObject({ retryable: true, detail: 'FROZEN' });
    expect(errorOfAnswer(400, '{"code":"INVALID_REQUEST","title":"no"}', 'n')).toMatchObject({
      retryable: false,
      detail: 'no',
    });
  });

  it('retries a gateway, not a web page', () => {
    expect(errorOfAnswer(502, 'bad gateway', 'n')).toMatchObject({ code: 'BAD_ANSWER', retryable: true });
    expect(errorOfAnswer(404, '[]', 'n')).toMatchObject({ code: 'BAD_ANSWER', retryable: false });
  });
});
