import { describe, expect, it } from '@jest/globals';
import { CLUSTERS } from './scenarios/clusters.js';
import { DEFAULT_SUBJECT, SUBJECTS } from './subject.js';
import { commandFor, failureText, runTwice } from './twice.js';
import { runSeed } from './world/run.js';

/** Nothing waits in real time; only the machine may be slow. */
const TEST_MS = 600_000;
/** So large that one run of it is enough; that a seed repeats itself the smaller ones show. */
const ONCE: ReadonlySet<string> = new Set(['sixteen-nodes', 'nodes-come-and-go']);

describe('clusters with their own map', () => {
  it.each(CLUSTERS.filter(({ byHand }) => byHand !== true).map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    async (name, scenario) => {
      const options = { seed: 1, factory: SUBJECTS[DEFAULT_SUBJECT], scenario };
      const report = await (ONCE.has(name) ? runSeed(options) : runTwice(options));
      expect(report.violations.length === 0 ? '' : failureText(report, commandFor(1, name))).toBe('');
    },
    TEST_MS,
  );
});
