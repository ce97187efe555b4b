import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import type { Scope } from './api-keys.js';
import { ApiKeys, secretOf } from './api-keys.js';

const key = (secret: string, scope: 'read' | 'write' | 'admin') => ({
  name: secret,
  scope,
  sha256: createHash('sha256').update(secret).digest('hex'),
});

describe('ApiKeys', () => {
  const keys = new ApiKeys([key('r', 'read'), key('w', 'write'), key('a', 'admin'), key('r', 'write')]);

  it.each<[string | undefined, Scope, string | undefined]>([
    [undefined, 'open', undefined],
    ['nobody', 'open', undefined],
    [undefined, 'read', 'UNAUTHENTICATED'],
    ['', 'read', 'UNAUTHENTICATED'],
    ['nobody', 'read', 'UNAUTHENTICATED'],
    ['x'.repeat(10_000), 'read', 'UNAUTHENTICATED'],
    ['w', 'read', undefined],
    ['w', 'write', undefined],
    ['w', 'admin', 'FORBIDDEN'],
    ['a', 'admin', undefined],
    ['r', 'write', undefined],
    ['r', 'admin', 'FORBIDDEN'],
  ])('of %j for %s is %s', (secret, scope, code) => {
    expect(keys.refusal(secret, scope)?.code).toBe(code);
  });

  it('opens everything when there are none', () => {
    expect(new ApiKeys([]).refusal(undefined, 'admin')).toBeUndefined();
  });
});

describe('secretOf', () => {
  it.each([
    [undefined, undefined, undefined],
    ['k', 'Bearer other', 'k'],
    [undefined, 'Bearer k', 'k'],
    [undefined, 'bearer  k ', 'k'],
    [undefined, 'Basic k', undefined],
    [undefined, 'Bearer', undefined],
  ])('of %j and %j is %j', (apiKey, authorization, secret) => {
    expect(secretOf(apiKey, authorization)).toBe(secret);
  });
});
