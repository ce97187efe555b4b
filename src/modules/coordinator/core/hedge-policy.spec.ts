import { describe, expect, it } from '@jest/globals';
import { HedgePolicy } from './hedge-policy.js';

describe('HedgePolicy', () => {
  it('waits for the 95th percentile of what it saw lately', () => {
    const policy = new HedgePolicy();
    const before = policy.afterMs;
    for (let i = 0; i < 32; i++) policy.answered(400);
    expect(policy.afterMs).toBe(before);
    for (let i = 0; i < 256; i++) policy.answered(i % 20 === 0 ? 100 : 10);
    expect(policy.afterMs).toBe(100);
    for (let i = 0; i < 256; i++) policy.answered(1);
    expect(policy.afterMs).toBeLessThan(10);
  });

  it('lets at most one request in twenty be sent again, and saves up only a few', () => {
    const policy = new HedgePolicy();
    while (policy.take());
    let hedges = 0;
    for (let i = 0; i < 1_000; i++) {
      policy.sent();
      if (policy.take()) hedges++;
    }
    expect(hedges).toBeLessThanOrEqual(50);
    expect(hedges).toBeGreaterThan(40);
    for (let i = 0; i < 10_000; i++) policy.sent();
    let burst = 0;
    while (policy.take()) burst++;
    expect(burst).toBeLessThan(10);
  });
});
