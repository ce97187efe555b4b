import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DiskGuard, statfsProbe } from './disk-guard.js';

const MIB = 2 ** 20;

/** A disk whose free bytes a test moves, on a clock it moves. */
function world(totalBytes: number, freeBytes = totalBytes) {
  const disk = { freeBytes, totalBytes, reads: 0, broken: false };
  const clock = { now: 0, monotonicMs: () => clock.now, wallMs: () => clock.now };
  const guard = new DiskGuard({
    clock,
    writeBufferBytes: 4 * MIB,
    fileBytesMax: 2 * MIB,
    probe: () => {
      disk.reads++;
      if (disk.broken) throw new Error('EIO');
      return { freeBytes: disk.freeBytes, totalBytes: disk.totalBytes };
    },
  });
  return { disk, clock, guard };
}

describe('DiskGuard', () => {
  it('knows how another node with such a disk stands', () => {
    const { guard } = world(100 * 1024 * MIB);
    // The reserve is 130 MiB; of a disk of 64 MiB it is 36.
    const room = (freeMib: number, totalMib = 100 * 1024) =>
      guard.room({ freeBytes: freeMib * MIB, totalBytes: totalMib * MIB });
    expect([0, 130, 132, 133, 162, 163, 50_000].map((free) => room(free))).toEqual([
      'full',
      'full',
      'full',
      'little',
      'little',
      'ample',
      'ample',
    ]);
    expect([38, 39, 44, 45].map((free) => room(free, 64))).toEqual(['full', 'little', 'little', 'ample']);
    // A node that has not told yet.
    expect(room(0, 0)).toBe('ample');
  });

  it.each([
    [64, 28],
    [1024, 894],
    [100 * 1024, 100 * 1024 - 130],
  ])('lets a disk of %i MiB be used up to %i MiB', (total, usable) => {
    const { disk, clock, guard } = world(total * MIB);
    let used = 0;
    while (guard.admits(MIB / 16)) {
      used += MIB / 16;
      if (total > 10_000) used += 1_000 * MIB * Number(used < (total - 2_000) * MIB);
      disk.freeBytes = total * MIB - used;
      clock.now += 1_000;
    }
    expect(used / MIB).toBeGreaterThan(usable - 1);
    expect(used / MIB).toBeLessThanOrEqual(usable);
  });

  it('always leaves room to rewrite everything that is stored, or the most LevelDB rewrites at once', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 4_096 }),
        fc.array(fc.integer({ min: 1, max: 8 * MIB }), { maxLength: 400 }),
        (totalMib, writes) => {
          const { disk, guard } = world(totalMib * MIB);
          for (const bytes of writes) {
            if (!guard.admits(bytes)) continue;
            disk.freeBytes -= bytes;
            const stored = disk.totalBytes - disk.freeBytes;
            expect(disk.freeBytes).toBeGreaterThanOrEqual(Math.min(stored, 130 * MIB));
          }
        },
      ),
    );
  });

  it('counts what it admitted until it asks the disk again', () => {
    const { disk, guard } = world(1024 * MIB, 132 * MIB);
    expect(guard.admits(MIB / 2)).toBe(true);
    expect(guard.admits(MIB / 2)).toBe(true);
    expect(guard.admits(MIB / 2)).toBe(false);
    expect(disk.reads).toBe(1);
  });

  it('asks again after a second, and after much was admitted', () => {
    const { disk, clock, guard } = world(1024 * MIB);
    guard.admits(1);
    guard.admits(1);
    expect(disk.reads).toBe(1);
    clock.now += 1_000;
    guard.admits(1);
    expect(disk.reads).toBe(2);
    guard.admits(5 * MIB);
    guard.admits(1);
    expect(disk.reads).toBe(3);
  });

  it('admits again when space returns', () => {
    const { disk, clock, guard } = world(1024 * MIB, 100 * MIB);
    expect(guard.admits(1)).toBe(false);
    disk.freeBytes = 200 * MIB;
    expect(guard.admits(1)).toBe(false);
    clock.now += 1_000;
    expect(guard.admits(1)).toBe(true);
  });

  it('takes deletes when upserts are refused, but not to the last byte', () => {
    const { guard } = world(1024 * MIB, 100 * MIB);
    expect(guard.admits(100)).toBe(false);
    expect(guard.admits(100, 'delete')).toBe(true);
    expect(world(1024 * MIB, 20 * MIB).guard.admits(100, 'delete')).toBe(false);
  });

  it('says what there is room for, and counts what comes unasked', () => {
    expect(world(1024 * MIB, 600 * MIB).guard.roomFor).toBe('upserts');
    expect(world(1024 * MIB, 100 * MIB).guard.roomFor).toBe('deletes');
    expect(world(1024 * MIB, 20 * MIB).guard.roomFor).toBe('nothing');
    const { guard } = world(1024 * MIB, 600 * MIB);
    const { freeBytes } = guard;
    guard.takes(MIB);
    expect(guard.freeBytes).toBe(freeBytes - 2 * MIB);
  });

  it('takes a disk that cannot be asked for full', () => {
    const { disk, clock, guard } = world(1024 * MIB);
    expect(guard.admits(1)).toBe(true);
    disk.broken = true;
    clock.now += 1_000;
    expect(guard.admits(1)).toBe(false);
    expect(guard.freeBytes).toBe(0);
    disk.broken = false;
    clock.now += 1_000;
    expect(guard.admits(1)).toBe(true);
  });

  it('reads a real disk', () => {
    const directory = mkdtempSync(join(tmpdir(), 'spector-disk-'));
    try {
      const { freeBytes, totalBytes } = statfsProbe(directory)();
      expect(totalBytes).toBeGreaterThan(MIB);
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
      expect(() => statfsProbe(join(directory, 'gone'))()).toThrow('ENOENT');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
