/**
 * Builds dist/ from src/, and the vector graph in it for this CPU.
 *
 *   node scripts/build.mjs [--force] [--skip-addon]
 *
 * Every module is there as a file; those a node starts with are bundles besides (scripts/bundle.mjs).
 *
 * Nothing is done when no source changed. dist/ is replaced as a whole and only by a build without errors, so that a
 * running node or a test never sees half of one.
 */
import { chmod, cp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildAddon } from './addon.mjs';
import { bundle } from './bundle.mjs';
import { root, run } from './run.mjs';

const dist = join(root, 'dist');
const stamp = join(dist, '.sources');

/** @returns {Promise<boolean>} whether dist/ is what src/ says */
export async function build({ force = false, skipAddon = false } = {}) {
  const compiled = await compile(force);
  const addon = skipAddon ? 'the vector graph is left as it is' : await buildAddon();
  console.log(`build: ${compiled ?? 'failed'}; ${addon}`);
  return compiled !== undefined;
}

/** @returns {Promise<string | undefined>} what was done, in words; undefined when there are errors */
async function compile(force) {
  const sources = await digestOfSources();
  if (!force && (await readFile(stamp, 'utf8').catch(() => '')) === sources) return 'dist is up to date';

  const fresh = join(root, `dist.new-${process.pid}`);
  const old = join(root, `dist.old-${process.pid}`);
  try {
    const [code, types] = await Promise.all([
      run('tsc', ['-p', 'tsconfig.json', '--outDir', fresh]),
      run('tsc', ['-p', 'tsconfig.client.json', '--outDir', join(fresh, 'client'), '--rootDir', 'src/client'], {
        quiet: true,
      }),
    ]);
    if (code.code !== 0) return undefined;
    if (types.code !== 0) {
      console.error(types.output);
      return undefined;
    }
    await bundle(fresh);
    await chmod(join(fresh, 'cli/main.js'), 0o755).catch(ignoreMissing);
    await cp(join(dist, 'native'), join(fresh, 'native'), { recursive: true }).catch(ignoreMissing);
    await writeFile(join(fresh, '.sources'), sources);
    await rename(dist, old).catch(ignoreMissing);
    await rename(fresh, dist);
    return 'compiled dist';
  } finally {
    await Promise.all([fresh, old].map((directory) => rm(directory, { recursive: true, force: true })));
  }
}

function ignoreMissing(error) {
  if (error.code !== 'ENOENT') throw error;
}

/** Changes whenever a source does. */
async function digestOfSources() {
  const hash = createHash('sha256');
  const entries = await readdir(join(root, 'src'), { recursive: true, withFileTypes: true });
  const sources = entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.spec.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
  for (const path of [
    ...sources.sort(),
    join(root, 'tsconfig.json'),
    join(root, 'tsconfig.client.json'),
    join(root, 'package-lock.json'),
    join(root, 'scripts/bundle.mjs'),
  ]) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const options = { force: process.argv.includes('--force'), skipAddon: process.argv.includes('--skip-addon') };
  process.exitCode = (await build(options)) ? 0 : 1;
}
