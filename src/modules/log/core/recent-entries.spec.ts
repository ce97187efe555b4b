import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RecentEntries } from './recent-entries.js';

const entry = (length: number, fill = 0): Uint8Array => new Uint8Array(length).fill(fill);

describe('RecentEntries', () => {
  it('gives back what was pushed, within limit and bytes, at least one', () => {
    const recent = new RecentEntries();
    for (let offset = 5; offset <= 10; offset++) recent.push(1, offset, entry(10, offset));
    const offsets = (from: number, to: number, limit: number, bytesMax: number) =>
      recent.read(1, from, to, limit, bytesMax)?.map(([first]) => first);
    expect(offsets(5, 10, 100, 1_000)).toEqual([5, 6, 7, 8, 9, 10]);
    expect(offsets(7, 10, 2, 1_000)).toEqual([7, 8]);
    expect(offsets(7, 10, 100, 25)).toEqual([7, 8]);
    expect(offsets(7, 10, 100, 1)).toEqual([7]);
    expect(offsets(4, 10, 100, 1_000)).toBeUndefined();
    expect(offsets(5, 11, 100, 1_000)).toBeUndefined();
    expect(recent.read(2, 5, 10, 100, 1_000)).toBeUndefined();
  });

  it('starts anew after a gap or a step back', () => {
    const recent = new RecentEntries();
    recent.push(1, 1, entry(10));
    recent.push(1, 3, entry(20));
    expect(recent.read(1, 1, 1, 1, 1)).toBeUndefined();
    expect(recent.read(1, 3, 3, 1, 1)).toEqual([entry(20)]);
    recent.push(1, 2, entry(30, 7));
    expect(recent.read(1, 2, 2, 1, 1)).toEqual([entry(30, 7)]);
    recent.forget(1);
    expect(recent.bytes).toBe(0);
  });

  it('keeps to its bounds, and always a dense end', () => {
    const push = fc.record({ shard: fc.nat(3), length: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(fc.array(push, { maxLength: 300 }), (pushes) => {
        const recent = new RecentEntries({ shardBytes: 100, nodeBytes: 250 });
        const tails = new Map<number, number>();
        for (const { shard, length } of pushes) {
          const offset = (tails.get(shard) ?? 0) + 1;
          tails.set(shard, offset);
          recent.push(shard, offset, entry(length, offset));
          expect(recent.bytes).toBeLessThanOrEqual(250);
        }
        for (const [shard, tail] of tails) {
          let first = tail;
          while (recent.read(shard, first - 1, tail, 1_000, 1_000) !== undefined) first--;
          const kept = recent.read(shard, first, tail, 1_000, 1_000) ?? [];
          expect(kept.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(100);
          kept.forEach(([fill], i) => expect(fill).toBe((first + i) & 0xff));
        }
      }),
    );
  });

  it('takes no more memory than its bound, and uses most of it', () => {
    const recent = new RecentEntries({ shardBytes: 100_000, nodeBytes: 1_000_000 });
    for (let offset = 1; offset <= 10_000; offset++) recent.push(1, offset, entry(100, offset));
    expect(recent.bytes).toBeLessThanOrEqual(100_000);
    expect(recent.read(1, 9_100, 10_000, 1_000, 100_000)).toHaveLength(901);
    expect(recent.read(1, 9_000, 10_000, 1_000, 1_000_000)).toBeUndefined();
  });

  it('takes little for a few entries, and holds on to nothing they were part of', () => {
    const recent = new RecentEntries();
    const message = new Uint8Array(1 << 20);
    for (let shard = 0; shard < 256; shard++) recent.push(shard, 1, message.subarray(shard, shard + 100));
    expect(recent.bytes).toBeLessThanOrEqual(1 << 20);
    expect(recent.read(7, 1, 1, 1, 1)?.[0].buffer).not.toBe(message.buffer);
  });

  it('keeps nothing of an entry above its bound, and starts again after it', () => {
    const recent = new RecentEntries({ shardBytes: 100, nodeBytes: 1_000 });
    recent.push(1, 1, entry(50));
    recent.push(1, 2, entry(101));
    expect(recent.bytes).toBe(0);
    recent.push(1, 3, entry(100));
    expect(recent.read(1, 3, 3, 1, 1)).toEqual([entry(100)]);
  });

  it('gives all of its memory back when asked', () => {
    const recent = new RecentEntries();
    recent.push(1, 1, entry(50));
    recent.push(2, 1, entry(50));
    recent.forgetAll();
    expect(recent.bytes).toBe(0);
    expect(recent.read(1, 1, 1, 1, 1)).toBeUndefined();
    recent.push(1, 2, entry(60));
    expect(recent.read(1, 2, 2, 1, 1)).toEqual([entry(60)]);
  });
});
