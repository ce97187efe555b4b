import { describe, expect, it } from '@jest/globals';
import { Retention } from './retention.js';

describe('Retention', () => {
  it('keeps what the slowest replica would miss, also one that is away', () => {
    const retention = new Retention();
    retention.joined('b', 10);
    retention.joined('c', 20);
    retention.synced('b', 30);
    expect(retention.floor(['b', 'c'], 40)).toBe(20);
    expect(retention.slowest(['b', 'c'])).toBe('c');
    retention.synced('c', 35);
    expect(retention.floor(['b', 'c'], 40)).toBe(30);
    expect(retention.floor(['b', 'c'], 25)).toBe(25);
    expect(retention.floor([], 40)).toBe(40);
    // One that comes back with less, after a cut, needs what follows.
    retention.joined('c', 15);
    expect(retention.floor(['b', 'c'], 40)).toBe(15);
  });

  it('keeps everything for one it knows nothing of, or what the primary before told', () => {
    const retention = new Retention();
    expect(retention.floor(['b'], 40)).toBe(0);
    retention.tell(12);
    expect(retention.told).toBe(12);
    retention.joined('b', 30);
    retention.begin();
    expect(retention.floor(['b', 'c'], 40)).toBe(12);
    retention.joined('b', 30);
    expect(retention.floor(['b', 'c'], 40)).toBe(12);
    expect(retention.slowest(['b', 'c'])).toBe('c');
    retention.cut(5);
    expect(retention.floor(['b', 'c'], 40)).toBe(5);
    retention.cut(50);
    expect(retention.told).toBe(5);
  });

  it('keeps nothing for one that was demoted, until it goes on from somewhere', () => {
    const retention = new Retention();
    retention.joined('b', 10);
    retention.joined('c', 20);
    retention.demote('b');
    expect(retention.floor(['b', 'c'], 40)).toBe(20);
    expect(retention.slowest(['b', 'c'])).toBe('c');
    // What its old stream still says changes nothing.
    retention.synced('b', 12);
    expect(retention.floor(['b', 'c'], 40)).toBe(20);
    retention.demote('c');
    expect(retention.floor(['b', 'c'], 40)).toBe(40);
    expect(retention.slowest(['b', 'c'])).toBeUndefined();
    retention.joined('b', 38);
    expect(retention.floor(['b', 'c'], 40)).toBe(38);
  });

  it('keeps what follows a snapshot for whoever takes it in, and demotes nobody for that', () => {
    const retention = new Retention();
    retention.joined('b', 30);
    retention.demote('c');
    retention.receives('c', 20, 1_000);
    retention.receives('d', 20, 1_000);
    expect(retention.receivers()).toEqual(['c', 'd']);
    expect(retention.floor(['b', 'c', 'd'], 40)).toBe(20);
    expect(retention.slowest(['b', 'c', 'd'])).toBeUndefined();
    // One that has less holds back more.
    retention.joined('e', 10);
    expect(retention.slowest(['b', 'c', 'd', 'e'])).toBe('e');
    // As much: the log would go no further.
    retention.joined('e', 20);
    expect(retention.slowest(['b', 'c', 'd', 'e'])).toBeUndefined();
    retention.joined('d', 20);
    expect(retention.receivers()).toEqual(['c']);
    retention.begin();
    expect(retention.receivers()).toEqual([]);
  });

  it('waits a minute for a snapshot to get on', () => {
    const retention = new Retention();
    retention.receives('b', 20, 1_000);
    retention.tick(60_999);
    expect(retention.slowest(['b'])).toBeUndefined();
    retention.staged('b', 20, 61_000);
    retention.tick(120_999);
    expect(retention.receivers()).toEqual(['b']);
    retention.tick(121_000);
    expect(retention.receivers()).toEqual([]);
    expect(retention.slowest(['b'])).toBe('b');
    expect(retention.floor(['b'], 40)).toBe(20);
  });

  it('waits no longer for one that goes on again and again, and stages nothing', () => {
    const retention = new Retention();
    for (let ms = 1_000; ms < 61_000; ms += 5_000) {
      retention.receives('b', 20, ms);
      retention.tick(ms);
      expect(retention.slowest(['b'])).toBeUndefined();
    }
    retention.tick(61_000);
    retention.receives('b', 20, 61_000);
    expect(retention.slowest(['b'])).toBe('b');
    retention.demote('b');
    retention.receives('b', 20, 66_000);
    expect([retention.floor(['b'], 40), retention.receivers()]).toEqual([40, []]);
    // It stages some of it, or begins anew.
    retention.staged('b', 20, 67_000);
    expect([retention.floor(['b'], 40), retention.receivers()]).toEqual([20, ['b']]);
    retention.demote('b');
    retention.receives('b', 30, 68_000);
    expect([retention.floor(['b'], 40), retention.receivers()]).toEqual([30, ['b']]);
  });
});
