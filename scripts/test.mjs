/**
 * Runs everything that must hold, as CI does: `npm test`.
 *
 *   node scripts/test.mjs [--only <step>[,<step>…]]
 *
 * Ends with the line `N passed, N failed` (every test of jest, and every other step, counts one) and exits with 1 when
 * anything failed.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './run.mjs';

const JEST_ENV = { NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --experimental-vm-modules --no-warnings`.trim() };

/** Checks that run at a time, each a process of its own. */
const CHECKS_AT_ONCE = 2;

/** @type {readonly { name: string, about: string, alone: boolean, run: () => Promise<{ passed: number, failed: number }> }[]} */
const STEPS = [
  // The longest first: they run side by side.
  check('lint', 'eslint', ['--max-warnings', '0', '.']),
  check('types', 'tsc', ['-p', 'tsconfig.check.json']),
  check('build', 'node', ['scripts/build.mjs']),
  check('format', 'prettier', ['--check', '--log-level', 'warn', '.']),
  check('imports', 'depcruise', ['--output-type', 'err', 'src']),
  check('generated', 'node', ['scripts/gen.mjs', '--check']),
  check('proto-lint', 'buf', ['lint']),
  check('proto-breaking', 'buf', ['breaking', '--against', 'proto/baseline.binpb']),
  jest('unit', ['--selectProjects', 'unit', 'contract', 'sim']),
  // Each suite checks that it leaves no node behind; a client's half-closed socket must not keep the run open.
  jest('e2e', ['--selectProjects', 'e2e', '--runInBand', '--forceExit']),
];

function check(name, command, args) {
  return {
    name,
    about: [command, ...args].join(' '),
    alone: false,
    async run() {
      const { code, output } = await run(command, args, { quiet: true });
      if (code !== 0) process.stdout.write(`${output.trimEnd()}\n`);
      return { passed: Number(code === 0), failed: Number(code !== 0) };
    },
  };
}

function jest(name, args) {
  return {
    name,
    about: ['jest', ...args].join(' '),
    alone: true,
    async run() {
      const directory = await mkdtemp(join(tmpdir(), 'spector-test-'));
      const report = join(directory, 'report.json');
      try {
        const { code } = await run('jest', [...args, '--passWithNoTests', '--json', '--outputFile', report], {
          env: JEST_ENV,
        });
        return countsOf(await readFile(report, 'utf8').catch(() => ''), code);
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

/** A suite that cannot run at all counts as one failure, and so does a jest that ends without a report. */
function countsOf(report, code) {
  if (report === '') return { passed: 0, failed: 1 };
  const { numPassedTests: passed, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(report);
  const failed = numFailedTests + numRuntimeErrorTestSuites;
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed };
}

function chosen() {
  const at = process.argv.indexOf('--only');
  if (at === -1) return STEPS;
  const names = (process.argv[at + 1] ?? '').split(',');
  const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(`No step "${unknown.join(', ')}"; there are ${STEPS.map((step) => step.name).join(', ')}`);
    process.exit(2);
  }
  return STEPS.filter((step) => names.includes(step.name));
}

let [passed, failed] = [0, 0];

async function perform(step) {
  console.log(`\n▶ ${step.name}: ${step.about}`);
  const started = performance.now();
  const counts = await step.run();
  passed += counts.passed;
  failed += counts.failed;
  console.log(
    `${counts.failed === 0 ? '✔' : '✘'} ${step.name} (${((performance.now() - started) / 1_000).toFixed(1)} s)`,
  );
}

async function performAll(waiting) {
  for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) await perform(step);
}

const checks = chosen().filter((step) => !step.alone);
await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, () => performAll(checks)));
await performAll(chosen().filter((step) => step.alone));
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
