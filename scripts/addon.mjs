/**
 * Rebuilds the vector index addon for the vector units of this CPU: half again as many searches a second as the build
 * that npm makes for any x86-64. Works offline with the Makefile npm left behind; the new build replaces the shipped one
 * only after it was loaded and searched with in a process of its own. Anything amiss keeps the shipped build.
 */
import { access, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root, run } from './run.mjs';

const FLAGS = '-O3 -march=x86-64-v3 -DNDEBUG';
/** CPU flags that x86-64-v3 stands on. */
const CPU_FLAGS = ['avx2', 'fma', 'bmi2'];

const build = join(root, 'node_modules/hnswlib-node/build');
const addon = join(build, 'Release/addon.node');
const stamp = join(build, 'spector-build.json');

/** Searches with the addon at a path; exits with 1, or by a signal, when it cannot. */
const TRIAL = `
const { HierarchicalNSW } = require(process.argv[1]);
const index = new HierarchicalNSW('l2', 16);
index.initIndex(64, 8, 32, 1);
for (let i = 0; i < 64; i++) index.addPoint(Array.from({ length: 16 }, (_, d) => Math.sin(i * 16 + d)), i);
const { neighbors } = index.searchKnn(Array.from({ length: 16 }, (_, d) => Math.sin(7 * 16 + d)), 1);
process.exit(neighbors[0] === 7 ? 0 : 1);
`;

/** @returns {Promise<string>} what was done, in words */
export async function buildAddon() {
  const reason = await unfit();
  if (reason !== undefined) return `kept the shipped vector index: ${reason}`;
  if ((await readFile(stamp, 'utf8').catch(() => '')) === (await stampOf())) return 'vector index is optimised already';

  const output = `spector-${process.pid}`;
  try {
    const made = await run('make', ['-C', build, `builddir=${output}`, 'BUILDTYPE=Release'], {
      quiet: true,
      env: { CXXFLAGS: FLAGS },
      timeoutMs: 600_000,
    });
    if (made.code !== 0) return `kept the shipped vector index: make failed\n${lastLines(made.output)}`;
    const candidate = join(build, output, 'addon.node');
    const trial = await run(process.execPath, ['-e', TRIAL, candidate], { quiet: true, timeoutMs: 20_000 });
    if (trial.code !== 0)
      return `kept the shipped vector index: the optimised one does not run here\n${lastLines(trial.output)}`;
    await rename(candidate, addon);
    await writeFile(stamp, await stampOf());
    return `rebuilt the vector index with ${FLAGS}`;
  } finally {
    await rm(join(build, output), { recursive: true, force: true });
  }
}

/** Why this machine keeps the shipped build; undefined when it need not. */
async function unfit() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return `${process.platform}-${process.arch} has no other`;
  const cpu = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpu)?.[1] ?? '').trim().split(/\s+/));
  const missing = CPU_FLAGS.filter((flag) => !flags.has(flag));
  if (missing.length > 0) return `the CPU has no ${missing.join(', ')}`;
  const makefile = await access(join(build, 'Makefile')).then(
    () => true,
    () => false,
  );
  return makefile ? undefined : 'there is no Makefile of it';
}

/** Ties the stamp to the very file: a fresh npm ci brings back the shipped build under another one. */
async function stampOf() {
  const { size, mtimeMs } = await stat(addon);
  return JSON.stringify({ flags: FLAGS, size, mtimeMs });
}

function lastLines(output) {
  return output.trimEnd().split('\n').slice(-5).join('\n');
}
