/**
 * Compiles the vector graph, src/modules/shard/adapters/native, for the vector units of this CPU. Works offline with what
 * npm used to compile hnswlib-node. The result is taken only after it was searched with in a process of its own; anything
 * amiss leaves none, and the node makes its graphs with hnswlib-node, several times slower.
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { root, run } from './run.mjs';

const source = join(root, 'src/modules/shard/adapters/native');
const addon = join(root, 'dist/native/vector-graph.node');
const stamp = join(root, 'dist/native/vector-graph.json');

/** No contraction: scores are the same bits as those of the JavaScript beside it. */
const FLAGS = ['-O3', '-std=c++17', '-DNDEBUG', '-fPIC', '-fvisibility=hidden', '-ffp-contract=off'];
/** CPU flags that x86-64-v3 stands on. */
const V3_CPU_FLAGS = ['avx2', 'bmi2', 'fma', 'f16c', 'movbe', 'abm'];

/** Searches with the addon at a path; exits with 1, or by a signal, when it cannot. */
const TRIAL = `
const addon = require(process.argv[1]);
for (const similarity of [1, 2, 3]) {
  const graph = addon.create(similarity, 16, 8, 32, 0);
  const point = (i) => Float32Array.from({ length: 16 }, (_, d) => Math.sin(i * 16 + d));
  for (let i = 0; i < 64; i++) addon.add(graph, i, point(i), Math.hypot(...point(i)));
  const [labels, distances, found] = [new Uint32Array(1), Float32Array.of(NaN), new Uint32Array(1)];
  addon.search([graph], point(7), Math.hypot(...point(7)), Uint32Array.of(1, 32), [undefined], labels, distances, found);
  if ((similarity !== 2 && labels[0] !== 7) || Number.isNaN(distances[0])) process.exit(1);
}
const one = (type) => type.of(1);
const ids = [new Float64Array(1), new Uint32Array(8), new Uint8Array(0)];
const pages = addon.pages(2, 1, 1);
addon.addPage(pages, one(Float32Array), one(Float64Array));
const [item, score] = [new Uint32Array(1), new Float64Array(1)];
if (addon.best(pages, one(Float64Array), 1, new Uint32Array(1), 1, 1, ...ids, item, score) !== 1) process.exit(1);
if (addon.writeLeg(ids[1], ids[2], item, score, 1, new Uint8Array(64), 0) !== 42) process.exit(1);
const postings = addon.postings();
addon.setPage(postings, 0, Uint32Array.of(0, 0, 1, 0, 0));
const [lists, documents, outcome] = [Uint32Array.of(1, 1), [one(Uint32Array), new Uint32Array(1), 1], new Uint32Array(2)];
const into = [new Uint32Array(1), 1, item, score, one(Uint32Array), new Uint32Array(1)];
addon.rank(postings, lists, one(Float64Array), 1, 1, ...documents, undefined, 1, 0, ...ids, ...into, outcome);
if (outcome[0] !== 1) process.exit(1);
`;

/** @returns {Promise<string>} what was done, in words */
export async function buildAddon() {
  if (process.platform !== 'linux' && process.platform !== 'darwin') {
    return `no vector graph of its own for ${process.platform}: hnswlib-node makes them`;
  }
  const flags = [...FLAGS, ...(await cpuFlags())];
  const wanted = await stampOf(flags);
  if (await isThere(addon, wanted)) return 'the vector graph is up to date';

  const candidate = join(root, `dist/native/vector-graph.${process.pid}.node`);
  try {
    await mkdir(dirname(addon), { recursive: true });
    const headers = await nodeHeaders();
    if (headers === undefined) return without('the headers of Node.js were not found');
    const files = (await readdir(source)).filter((name) => name.endsWith('.cc')).map((name) => join(source, name));
    const shared = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared'];
    const compiler = process.env.CXX ?? 'c++';
    const made = await run(compiler, [...flags, ...shared, `-I${headers}`, ...files, '-o', candidate], {
      quiet: true,
      timeoutMs: 600_000,
    });
    if (made.code !== 0) return without(`${compiler} failed\n${lastLines(made.output)}`);
    const trial = await run(process.execPath, ['-e', TRIAL, candidate], { quiet: true, timeoutMs: 20_000 });
    if (trial.code !== 0) return without(`what was compiled does not run here\n${lastLines(trial.output)}`);
    await rename(candidate, addon);
    await writeFile(stamp, wanted);
    return `compiled the vector graph${flags.length > FLAGS.length ? ` with ${flags.at(-1)}` : ''}`;
  } finally {
    await rm(candidate, { force: true });
  }
}

async function without(reason) {
  await rm(addon, { force: true });
  return `hnswlib-node makes the vector graphs, several times slower: ${reason}`;
}

/** Instructions every CPU this build may meet is expected to have. */
async function cpuFlags() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return [];
  const cpu = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpu)?.[1] ?? '').trim().split(/\s+/));
  return V3_CPU_FLAGS.every((flag) => flags.has(flag)) ? ['-march=x86-64-v3'] : [];
}

/** Where node_api.h is: where npm found it, or beside this very executable. */
async function nodeHeaders() {
  const makefile = await readFile(join(root, 'node_modules/hnswlib-node/build/addon.target.mk'), 'utf8').catch(
    () => '',
  );
  const candidates = [
    ...[...makefile.matchAll(/-I(\S+\/include\/node)\b/g)].map(([, path]) => path),
    join(process.execPath, '../../include/node'),
  ];
  for (const path of candidates) {
    if (await readable(join(path, 'node_api.h'))) return path;
  }
  return undefined;
}

async function isThere(file, wanted) {
  return (await readable(file)) && (await readFile(stamp, 'utf8').catch(() => '')) === wanted;
}

function readable(file) {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Changes with the sources, the flags and the platform. */
async function stampOf(flags) {
  const hash = createHash('sha256');
  for (const name of (await readdir(source)).sort()) hash.update(await readFile(join(source, name)));
  return JSON.stringify({ flags, platform: `${process.platform}-${process.arch}`, sources: hash.digest('hex') });
}

function lastLines(output) {
  return output.trimEnd().split('\n').slice(-5).join('\n');
}
