import { SCENARIOS } from '../scenarios/scenarios.js';
import { DEFAULT_SUBJECT, SUBJECTS } from '../subject.js';
import type { RunOptions } from '../world/run.js';
import { runSeed } from '../world/run.js';
import type { Violation } from '../checkers/violation.js';
import type { Bug } from './bug.js';

/** What gave a bug away. */
export interface Catch {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

/** How a seed is played to show a bug; without `broken`, the same course of events with the rule kept. */
export function courseOf(bug: Bug, seed: number, broken: boolean): RunOptions {
  const scenario = SCENARIOS.find(({ name }) => name === bug.scenario);
  if (bug.scenario !== undefined && scenario === undefined) throw new Error(`there is no scenario ${bug.scenario}`);
  return {
    seed,
    factory: SUBJECTS[DEFAULT_SUBJECT],
    bugs: new Set(broken ? [bug.name] : []),
    ...(scenario === undefined ? {} : { scenario }),
    ...(bug.faults === undefined ? {} : { faults: bug.faults }),
  };
}

/**
 * Plays one seed after the other until a checker finds the bug; undefined when none does. A seed in which something is found
 * with the rule kept proves nothing.
 */
export async function hunt(bug: Bug, from: number, seeds: number): Promise<Catch | undefined> {
  for (let seed = from; seed < from + seeds; seed++) {
    const { violations } = await runSeed(courseOf(bug, seed, true));
    if (violations.length === 0) continue;
    const kept = await runSeed(courseOf(bug, seed, false));
    if (kept.violations.length === 0) return { seed, violations };
  }
  return undefined;
}
