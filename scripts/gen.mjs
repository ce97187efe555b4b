/**
 * Generates src/gen from proto/ (buf and protoc-gen-es of node_modules, offline).
 *
 *   node scripts/gen.mjs              writes src/gen
 *   node scripts/gen.mjs --check      fails when src/gen is not what would be written
 *   node scripts/gen.mjs --baseline   also makes the contract as it is now the one that `buf breaking` holds changes to
 */
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, run } from './run.mjs';

async function generate(output) {
  const { code, output: said } = await run('buf', ['generate', '--output', output], { quiet: true });
  if (code !== 0) throw new Error(said);
}

async function files(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(paths.map(async (path) => [path.slice(directory.length + 1), await readFile(path, 'utf8')])),
  );
}

async function differences() {
  const directory = await mkdtemp(join(tmpdir(), 'spector-gen-'));
  try {
    await generate(directory);
    const [fresh, committed] = await Promise.all([files(join(directory, 'src/gen')), files(join(root, 'src/gen'))]);
    const names = [...new Set([...fresh.keys(), ...committed.keys()])].sort();
    return names.filter((name) => fresh.get(name) !== committed.get(name));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

if (process.argv.includes('--check')) {
  const stale = await differences();
  for (const name of stale) console.error(`src/gen/${name} is not what npm run gen writes`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  await generate('.');
  if (process.argv.includes('--baseline'))
    process.exitCode = (await run('buf', ['build', '-o', 'proto/baseline.binpb'])).code;
}
