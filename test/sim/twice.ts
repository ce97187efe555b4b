import { execFileSync } from 'node:child_process';
import type { RunOptions, RunReport } from './world/run.js';
import { runSeed } from './world/run.js';
import { firstDifference } from './world/trace.js';

/** Runs a seed twice; a second run that differs from the first is a failure of its own. */
export async function runTwice(options: RunOptions): Promise<RunReport> {
  const first = await runSeed(options);
  const second = await runSeed(options);
  if (first.digest === second.digest) return first;
  const difference = firstDifference(first.lines, second.lines) ?? 'only in their digests';
  return {
    ...first,
    violations: [...first.violations, { rule: 'INVARIANT', detail: `two runs of one seed differ, ${difference}` }],
  };
}

/** How to see a seed again. */
export function commandFor(seed: number, scenario?: string, subject?: string, bugs?: ReadonlySet<string>): string {
  const options = [
    ...(scenario === undefined ? [] : [`--scenario ${scenario}`]),
    ...(subject === undefined ? [] : [`--subject ${subject}`]),
    ...(bugs === undefined || bugs.size === 0 ? [] : [`--bugs ${[...bugs].join(',')}`]),
  ];
  return `npm run sim -- --seeds 1 --from ${seed} ${options.join(' ')}${options.length > 0 ? ' ' : ''}--trace`;
}

/** What a failed run is told as: the seed, the commit, the command, the first violations. */
export function failureText(report: RunReport, command: string): string {
  const found = report.violations.slice(0, 5).map(({ rule, detail }) => `  ${rule} ${detail}`);
  return [`seed ${report.seed} failed at commit ${commit()}: ${command}`, ...found].join('\n');
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    // Not a working copy.
    return '(unknown)';
  }
}
