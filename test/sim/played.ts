import { BUGS } from './bugs/bugs.js';
import { hunt } from './bugs/hunt.js';
import { SCENARIOS } from './scenarios/scenarios.js';
import { DEFAULT_SUBJECT, SUBJECTS } from './subject.js';
import { commandFor, failureText, runTwice } from './twice.js';
import { FAULTS } from './world/chaos.js';
import { runSeed } from './world/run.js';

/** What is to be played, in words that can be sent to a thread. */
export type Play =
  | {
      readonly kind: 'seed';
      readonly seed: number;
      readonly scenario?: string | undefined;
      /** Only the first so many. */
      readonly faults?: number | undefined;
      /** Not compared with a second run of itself. */
      readonly once?: boolean;
    }
  /** Looks for a bug of the list in so many seeds. */
  | { readonly kind: 'hunt'; readonly bug: string; readonly from: number; readonly seeds: number };

/** What it came to. */
export interface Played {
  /** What went wrong, for who reads it; ''. */
  readonly text: string;
  /** Whose rules were broken. */
  readonly rules: readonly string[];
  /** How often each path was taken. */
  readonly counters: ReadonlyMap<string, number>;
}

/** Plays it. @throws Error when there is no such scenario or bug */
export async function played(play: Play): Promise<Played> {
  if (play.kind === 'hunt') {
    const caught = await hunt(named(BUGS, play.bug), play.from, play.seeds);
    const rules = new Set(caught?.violations.map(({ rule }) => rule));
    return { text: '', rules: [...rules], counters: new Map() };
  }
  const { seed, scenario, faults, once = false } = play;
  const report = await (once ? runSeed : runTwice)({
    seed,
    factory: SUBJECTS[DEFAULT_SUBJECT],
    ...(scenario === undefined ? {} : { scenario: named(SCENARIOS, scenario) }),
    ...(faults === undefined ? {} : { faults: FAULTS.slice(0, faults) }),
  });
  const { violations, counters } = report;
  const text = violations.length === 0 ? '' : failureText(report, commandFor(seed, scenario));
  return { text, rules: violations.map(({ rule }) => rule), counters };
}

function named<T extends { readonly name: string }>(list: readonly T[], name: string): T {
  const found = list.find((one) => one.name === name);
  if (found === undefined)
    throw new Error(`there is no "${name}": there are ${list.map((one) => one.name).join(', ')}`);
  return found;
}
