import { describe, expect, it } from '@jest/globals';
import { DiskGuard } from '../../platform/resources/disk-guard.js';
import { MemoryGuard } from '../../platform/resources/memory-guard.js';
import { NodeAdmission } from './node-admission.js';

const MIB = 2 ** 20;
const clock = { wallMs: () => 0, monotonicMs: () => 0 };

/** A node with a disk of 1 GiB, of which so much is free; its reserve is 16 memory tables and 25 files and some: 472 MiB. */
function admission(freeBytes: number, maxBytes = Number.MAX_SAFE_INTEGER): NodeAdmission {
  const probe = () => ({ freeBytes, totalBytes: 1_024 * MIB });
  const disk = new DiskGuard({ probe, clock, writeBufferBytes: 16 * MIB, fileBytesMax: 8 * MIB });
  return new NodeAdmission(disk, new MemoryGuard({ maxBytes, clock }));
}

describe('what a node admits', () => {
  it.each([
    ['an ample disk', 600, undefined, undefined],
    ['a disk down to its reserve', 400, 'INSUFFICIENT_STORAGE', undefined],
    ['a disk down to the last quarter of it', 100, 'INSUFFICIENT_STORAGE', 'INSUFFICIENT_STORAGE'],
  ])('on %s', (_what, freeMib, upsert, remove) => {
    const node = admission(freeMib * MIB);
    expect([node.refusal(1_000, 'upsert')?.code, node.refusal(0, 'delete')?.code]).toEqual([upsert, remove]);
  });

  it('in too little memory: deletes', () => {
    const node = admission(600 * MIB, 1);
    expect([node.refusal(1_000, 'upsert')?.code, node.refusal(0, 'delete')]).toEqual([
      'INSUFFICIENT_STORAGE',
      undefined,
    ]);
  });
});
