import { describe, expect, it } from '@jest/globals';
import { MemoryGuard } from './memory-guard.js';

function world(maxBytes: number) {
  const process = { rss: 0, reads: 0 };
  const clock = { now: 0, monotonicMs: () => clock.now, wallMs: () => clock.now };
  const guard = new MemoryGuard({
    maxBytes,
    clock,
    probe: () => {
      process.reads++;
      return process.rss;
    },
  });
  const at = (rss: number) => {
    process.rss = rss;
    clock.now += 250;
    return guard.admits();
  };
  return { process, clock, guard, at };
}

describe('MemoryGuard', () => {
  it('refuses above the maximum, and takes upserts again only well below', () => {
    const { at } = world(1_000);
    expect([at(999), at(1_000), at(1_001), at(1_000), at(951), at(950), at(1_000), at(1_001)]).toEqual([
      true,
      true,
      false,
      false,
      false,
      true,
      true,
      false,
    ]);
  });

  it('reads at most every 250 ms', () => {
    const { process, clock, guard } = world(1_000);
    guard.admits();
    process.rss = 2_000;
    clock.now += 249;
    expect(guard.admits()).toBe(true);
    expect(process.reads).toBe(1);
    clock.now += 1;
    expect(guard.admits()).toBe(false);
    expect(guard.rssBytes).toBe(2_000);
  });

  it('goes by the last reading when there is none to be had', () => {
    let fails = false;
    const clock = { now: 0, monotonicMs: () => clock.now, wallMs: () => clock.now };
    const probe = (): number => {
      if (fails) throw new Error('EMFILE');
      return 2_000;
    };
    const guard = new MemoryGuard({ maxBytes: 1_000, clock, probe });
    clock.now = 250;
    expect(guard.admits()).toBe(false);
    fails = true;
    clock.now = 500;
    expect([guard.admits(), guard.rssBytes]).toEqual([false, 2_000]);
  });

  it('reads the process by default', () => {
    const guard = new MemoryGuard({ maxBytes: 2 ** 50, clock: { monotonicMs: () => 0, wallMs: () => 0 } });
    expect(guard.admits()).toBe(true);
    expect(guard.rssBytes).toBeGreaterThan(2 ** 20);
  });
});
