import { describe, expect, it } from '@jest/globals';
import { PROOF_WINDOW_MS, ReplayGuard } from './peer-proof.js';

describe('ReplayGuard', () => {
  it('accepts each nonce of a node once while its proof could be valid', () => {
    const guard = new ReplayGuard();
    expect(guard.accept('a', 'x', 1_000, 1_000)).toBe(true);
    expect(guard.accept('a', 'x', 1_000, 1_000)).toBe(false);
    expect(guard.accept('b', 'x', 1_000, 1_000)).toBe(true);
    expect(guard.accept('a', 'x', 1_000, 1_000 + PROOF_WINDOW_MS)).toBe(false);
  });

  it('refuses what it may have forgotten when it is asked more often than it can remember', () => {
    const guard = new ReplayGuard();
    for (let i = 0; i < 20_000; i++) expect(guard.accept('a', `n${i}`, 10_000 + i, 10_000 + i)).toBe(true);
    expect(guard.accept('a', 'n0', 10_000, 30_000)).toBe(false);
    expect(guard.accept('a', 'n19999', 29_999, 30_000)).toBe(false);
    expect(guard.accept('a', 'never seen, but too old to tell', 10_001, 30_000)).toBe(false);
    expect(guard.accept('a', 'new', 30_000, 30_000)).toBe(true);
  });

  it('remembers a bounded number of nodes, and forgets silent ones first', () => {
    const guard = new ReplayGuard();
    for (let i = 0; i < 256; i++) expect(guard.accept(`node ${i}`, 'x', 1_000, 1_000)).toBe(true);
    expect(guard.accept('one too many', 'x', 1_000, 1_000)).toBe(false);
    const later = 1_000 + 2 * PROOF_WINDOW_MS + 1;
    expect(guard.accept('one too many', 'y', later, later)).toBe(true);
  });
});
