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

const E2E = ['--selectProjects', 'e2e', '--runInBand', '--forceExit'];
/** Suites that measure the times that are promised: they have the machine for themselves. */
const TIMED =
  '(any-node|cluster-forms|nodes-come-and-go|partition|primary-killed|primary-stopped|shards-missing)\\.e2e-spec';

/** It has what the end-to-end suites leave of the machine, and after them all of it: nothing in it is timed. */
const ALL_CORES = ['--maxWorkers', '100%'];

/**
 * In the order they run in. Real processes wait more than they compute: so beside the end-to-end suites runs, at the lowest
 * priority, everything that starts no node. Those that are timed follow. Each suite checks that it leaves no node behind; a
 * client's half-closed socket must not keep the run open.
 * @type {readonly { name: string, about: string, beside: boolean, alone?: boolean, run: () => Promise<{ passed: number, failed: number }> }[]}
 */
const STEPS = [
  { ...check('build', 'node', ['scripts/build.mjs']), beside: false },
  check('lint', 'eslint', ['--max-warnings', '0', '.']),
  check('types', 'tsc', ['-p', 'tsconfig.check.json']),
  check('format', 'prettier', ['--check', '--log-level', 'warn', '.']),
  check('imports', 'depcruise', ['--output-type', 'err', 'src']),
  check('generated', 'node', ['scripts/gen.mjs', '--check']),
  check('proto-lint', 'buf', ['lint']),
  check('proto-breaking', 'buf', ['breaking', '--against', 'proto/baseline.binpb']),
  jest('unit', [...ALL_CORES, '--selectProjects', 'unit', 'contract', 'sim', '--testTimeout', '120000'], {
    beside: true,
  }),
  jest('e2e', [...E2E, '--testPathIgnorePatterns', TIMED, '/dist/'], { beside: false }),
  jest('timed', [...E2E, '--testPathPatterns', TIMED], { beside: false, alone: true }),
];

function check(name, command, args) {
  return {
    name,
    about: [command, ...args].join(' '),
    beside: true,
    async run() {
      const { code, output } = await run(command, args, { quiet: true, background: name !== 'build' });
      if (code !== 0) process.stdout.write(`${output.trimEnd()}\n`);
      return { passed: Number(code === 0), failed: Number(code !== 0) };
    },
  };
}

function jest(name, args, { beside, alone = false }) {
  return {
    name,
    about: ['jest', ...args].join(' '),
    beside,
    alone,
    async run() {
      const directory = await mkdtemp(join(tmpdir(), 'spector-test-'));
      const report = join(directory, 'report.json');
      try {
        const { code, output } = await run('jest', [...args, '--passWithNoTests', '--json', '--outputFile', report], {
          env: JEST_ENV,
          quiet: beside,
          background: beside,
        });
        process.stdout.write(output);
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

async function performAll(steps) {
  for (const step of steps) await perform(step);
}

const [build, beside, e2e, alone] = [
  (step) => step.name === 'build',
  (step) => step.beside,
  (step) => step.name === 'e2e',
  (step) => step.alone,
].map((belongs) => chosen().filter(belongs));
await performAll(build);
await Promise.all([performAll(e2e), performAll(beside)]);
await performAll(alone);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
