/**
 * Builds, then runs a program of dist/ in this very process, so that signals and exit codes are its own.
 *
 *   node scripts/start.mjs dist/main.js --port 0
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { root } from './run.mjs';

const [program, ...args] = process.argv.slice(2);
if (await build()) {
  const path = join(root, program);
  process.argv = [process.argv[0], path, ...args];
  await import(pathToFileURL(path).href);
} else {
  process.exitCode = 1;
}
