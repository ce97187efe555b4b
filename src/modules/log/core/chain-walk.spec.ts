import { describe, expect, it } from '@jest/globals';
import { EntryWriter } from '../../../../test/contract/log-entries.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { LogState } from '../log-store.js';
import { ChainWalk } from './chain-walk.js';
import { CHAIN_ZERO } from './entry.js';
import { entryChain } from './entry-codec.js';

const entries = new EntryWriter(1).take(8);
const zero: LogState['start'] = { offset: 0, chain: CHAIN_ZERO };

/** Walks stored (offset, bytes) pairs from `from` to 8 and lists what it finds. */
function walked(stored: readonly (readonly [number, Uint8Array])[], from = 1, start = zero): [number, string][] {
  const found: [number, string][] = [];
  const walk = new ChainWalk(nodeHasher, 1, from, () => start);
  const report = (offset: number, problem: string): boolean => found.push([offset, problem]) < 5;
  for (const [offset, bytes] of stored) walk.take(offset, bytes, report);
  walk.reach(9, report);
  return found;
}

const stored = entries.map(({ offset, bytes }) => [offset, bytes] as const);

describe('ChainWalk', () => {
  it('finds nothing in a whole log, wherever it begins', () => {
    expect(walked(stored)).toEqual([]);
    expect(walked(stored.slice(4), 5)).toEqual([]);
  });

  it('finds what is missing, at the front, between and at the end', () => {
    expect(walked(stored.slice(2))).toEqual([
      [1, 'missing'],
      [2, 'missing'],
    ]);
    expect(walked(stored.filter(([offset]) => offset !== 4))).toEqual([[4, 'missing']]);
    expect(walked(stored.slice(0, 6))).toEqual([
      [7, 'missing'],
      [8, 'missing'],
    ]);
  });

  it('stops counting what is missing when told to', () => {
    expect(walked([])).toHaveLength(5);
  });

  it('takes gaps up to the start for compaction', () => {
    const start = { offset: 6, chain: entryChain(entries[5].bytes) };
    expect(
      walked(
        stored.filter(([offset]) => offset === 3 || offset > 6),
        1,
        start,
      ),
    ).toEqual([]);
    expect(walked(stored.slice(7), 1, start)).toEqual([[7, 'missing']]);
    expect(walked([[3, entries[3].bytes], ...stored.slice(6)], 1, start)).toEqual([[3, 'misplaced']]);
  });

  it('holds the first entry above the start to its chain', () => {
    const start = { offset: 6, chain: CHAIN_ZERO };
    expect(walked(stored.slice(6), 1, start)).toEqual([[7, 'chain']]);
  });

  it('reports a broken link once, and a foreign entry by its place', () => {
    const writer = new EntryWriter(1);
    writer.take(3, { id: 'another past' });
    const foreign = writer.next();
    expect(walked([...stored.slice(0, 3), [4, foreign.bytes], ...stored.slice(4)])).toEqual([
      [4, 'chain'],
      [5, 'chain'],
    ]);
    expect(walked([...stored.slice(0, 3), [4, entries[5].bytes], ...stored.slice(4)])).toEqual([[4, 'misplaced']]);
  });
});
