import { describe, expect, it } from '@jest/globals';
import { runTwice } from '../twice.js';
import type { Fault } from '../world/chaos.js';
import { runSeed } from '../world/run.js';
import { StaticNode } from './static-node.js';

/** What a primary that never changes survives. */
const BEARABLE: readonly Fault[] = [
  'crash',
  'pause',
  'isolate',
  'one-way',
  'slow',
  'slow-disk',
  'failed-sync',
  'reset',
];
const TEST_MS = 120_000;

describe('the simulator on a node that never fails over', () => {
  it(
    'finds nothing where nothing is wrong, the same way twice',
    async () => {
      for (let seed = 1; seed <= 8; seed++) {
        const report = await runTwice({ seed, factory: (ports) => new StaticNode(ports), faults: BEARABLE });
        expect(report.violations).toEqual([]);
      }
    },
    TEST_MS,
  );

  it.each([
    ['ack-before-sync', 'S1'],
    ['count-anyone', 'S1'],
    ['reuse-epoch', 'S4'],
    ['skip-entry', 'S7|S9|L4'],
    ['never-end', 'L8'],
    ['claim-sync', 'S9'],
  ])(
    'finds the bug %s',
    async (bug, rules) => {
      const found = new Set<string>();
      for (let seed = 1; seed <= 20 && found.size === 0; seed++) {
        const { violations } = await runSeed({
          seed,
          factory: (ports) => new StaticNode(ports),
          faults: ['crash', 'slow', 'slow-disk', 'isolate'],
          bugs: new Set([bug]),
        });
        for (const { rule } of violations) if (rules.split('|').includes(rule)) found.add(rule);
      }
      expect(found.size).toBeGreaterThan(0);
    },
    TEST_MS,
  );
});
