import { readFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from '@jest/globals';
import { SCENARIOS } from './scenarios/scenarios.js';
import { SimThread } from './sim-thread.js';

interface KeptSeed {
  readonly seed: number;
  readonly scenario?: string;
  /** Found while only the first so many faults were there: more would make another course of it. */
  readonly faults?: number;
  /** What it found. */
  readonly why: string;
}

/** Seeds of every run of the tests; more by hand: `npm run sim -- --seeds 10000`. */
const SEEDS = 200;
/** So many of them, like all that has a name, are played twice and compared: the same seed must be the same run. */
const SEEDS_TWICE = 60;
const SEEDS_A_TEST = 20;
/** Nothing waits in real time; only the machine may be slow. */
const TEST_MS = 600_000;

const kept = JSON.parse(await readFile(new URL('seeds.json', import.meta.url), 'utf8')) as readonly KeptSeed[];
const rare = new Map<string, number>();

const thread = new SimThread();
afterAll(() => thread.end());

/** Plays a seed; the text of what went wrong, or ''. */
async function play(seed: number, scenario?: string, faults?: number, once = false): Promise<string> {
  const { text, counters } = await thread.play({ kind: 'seed', seed, scenario, faults, once });
  for (const [name, count] of counters) rare.set(name, (rare.get(name) ?? 0) + count);
  return text;
}

describe('scenarios', () => {
  it.each(SCENARIOS.filter(({ cluster }) => cluster === undefined).map(({ name }) => name))(
    '%s',
    async (scenario) => {
      expect(await play(1, scenario)).toBe('');
    },
    TEST_MS,
  );
});

describe('seeds that failed once', () => {
  it.each(kept.map(({ seed, scenario, faults, why }) => [why, seed, scenario, faults] as const))(
    '%s',
    async (_why, seed, scenario, faults) => {
      expect(await play(seed, scenario, faults)).toBe('');
    },
    TEST_MS,
  );
});

describe('random faults', () => {
  const firsts = Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, i) => 1 + i * SEEDS_A_TEST);
  it.each(firsts)(
    `keep every promise, ${SEEDS_A_TEST} seeds from %i`,
    async (first) => {
      const failed: string[] = [];
      for (let seed = first; seed < first + SEEDS_A_TEST; seed++)
        failed.push(await play(seed, undefined, undefined, seed > SEEDS_TWICE));
      expect(failed.filter((text) => text !== '').join('\n')).toBe('');
    },
    TEST_MS,
  );

  it('took the rare paths', () => {
    for (const path of RARE) expect([path, rare.get(path) ?? 0]).not.toEqual([path, 0]);
  });
});

/** What must have happened somewhere in these runs for them to prove anything. */
const RARE = [
  'acknowledged all',
  'acknowledged one',
  'acknowledged quorum',
  'adoption pull',
  'ask doubled',
  'ask lost',
  'bit flipped',
  'candidate killed',
  'client unknown',
  'compaction',
  'crash',
  'entry MERGED',
  'entry SET',
  'exit',
  'fence PRIMARY_LIVES',
  'fence PROMISED',
  'fence granted',
  'hand over',
  'hello diverged',
  'hello reject NOT_PRIMARY',
  'hello reject STALE_EPOCH',
  'hello snapshot',
  'idempotent replay',
  'loose rows offered',
  'member added',
  'member removed',
  'not primary',
  'pause',
  'probe alive',
  'role candidate',
  'shard faulted',
  'snapshot flip',
  'stop',
  'stream reset',
  'transfer',
  'wipe',
  'write NO_QUORUM',
  'write VERSION_CONFLICT',
  'write WRITE_OUTCOME_UNKNOWN',
];
