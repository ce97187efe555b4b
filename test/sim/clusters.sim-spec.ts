import { afterAll, describe, expect, it } from '@jest/globals';
import { CLUSTERS } from './scenarios/clusters.js';
import { SimThread } from './sim-thread.js';

/** Nothing waits in real time; only the machine may be slow. */
const TEST_MS = 600_000;
/** So large that one run of it is enough; that a seed repeats itself the smaller ones show. */
const ONCE: ReadonlySet<string> = new Set(['sixteen-nodes', 'nodes-come-and-go']);

const thread = new SimThread();
afterAll(() => thread.end());

describe('clusters with their own map', () => {
  it.each(CLUSTERS.filter(({ byHand }) => byHand !== true).map(({ name }) => name))(
    '%s',
    async (scenario) => {
      const { text } = await thread.play({ kind: 'seed', seed: 1, scenario, once: ONCE.has(scenario) });
      expect(text).toBe('');
    },
    TEST_MS,
  );
});
