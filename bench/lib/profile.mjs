/**
 * Summarises .cpuprofile files: where the time of a thread went, in text. Also a command:
 * `node bench/lib/profile.mjs <file…> [--top 30]`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** Frames of the engine that are no work. */
const IDLE = new Set(['(idle)', '(root)']);

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {string} place file:line of the source, or empty
 * @property {number} self share of the busy time in the function itself
 * @property {number} total share with everything it called
 */

/**
 * @param {any} profile as the inspector gives it
 * @returns {{ durationMs: number, busy: number, lines: Line[] }} `busy`: share of the time that was not idle; lines by self time
 */
export function summarise(profile) {
  const parents = new Map();
  const nodes = new Map();
  for (const node of profile.nodes) {
    nodes.set(node.id, node);
    for (const child of node.children ?? []) parents.set(child, node.id);
  }
  const selfUs = new Map();
  profile.samples.forEach((/** @type {number} */ id, /** @type {number} */ i) => {
    selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, profile.timeDeltas[i]));
  });
  let allUs = 0;
  let busyUs = 0;
  /** @type {Map<string, Line>} */
  const lines = new Map();
  const line = (/** @type {any} */ frame) => {
    const place = placeOf(frame);
    const key = `${frame.functionName} ${place}`;
    let found = lines.get(key);
    if (found === undefined)
      lines.set(key, (found = { name: frame.functionName || '(anonymous)', place, self: 0, total: 0 }));
    return found;
  };
  for (const [id, us] of selfUs) {
    const frame = nodes.get(id).callFrame;
    allUs += us;
    if (IDLE.has(frame.functionName)) continue;
    busyUs += us;
    line(frame).self += us;
    const counted = new Set();
    for (let at = id; at !== undefined; at = parents.get(at)) {
      const own = line(nodes.get(at).callFrame);
      if (counted.has(own)) continue;
      counted.add(own);
      own.total += us;
    }
  }
  const list = [...lines.values()].map((own) => ({ ...own, self: own.self / busyUs, total: own.total / busyUs }));
  return {
    durationMs: allUs / 1000,
    busy: allUs === 0 ? 0 : busyUs / allUs,
    lines: list.filter(({ name }) => !IDLE.has(name)).sort((a, b) => b.self - a.self),
  };
}

/** @param {string} file @param {number} top @returns {string} */
export function profileText(file, top) {
  const { durationMs, busy, lines } = summarise(JSON.parse(readFileSync(file, 'utf8')));
  const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)}%`.padStart(6);
  const text = [
    `${basename(file)}: ${(durationMs / 1000).toFixed(1)} s, ${percent(busy).trim()} busy; shares of the busy time`,
    '  self  total',
  ];
  for (const { name, place, self, total } of lines.slice(0, top))
    text.push(`${percent(self)} ${percent(total)}  ${name}  ${place}`);
  text.push('  by total, our code:');
  const own = lines.filter(({ place }) => /^(src|dist)\//.test(place)).sort((a, b) => b.total - a.total);
  for (const { name, place, self, total } of own.slice(0, top))
    text.push(`${percent(self)} ${percent(total)}  ${name}  ${place}`);
  return text.join('\n');
}

/** By the file of the program. @type {Map<string, SourceMap | undefined>} */
const maps = new Map();

/** Where a function stands: in its source, when the file says by a map what it was made of. @param {any} frame @returns {string} */
function placeOf({ url, lineNumber, columnNumber }) {
  if (url === '') return '';
  const path = url.replace(/^file:\/\//, '').replace(/\?.*$/, '');
  if (!maps.has(path)) maps.set(path, existsSync(`${path}.map`) ? mapOf(path) : undefined);
  const { originalSource, originalLine } = /** @type {any} */ (
    maps.get(path)?.findEntry(lineNumber, columnNumber) ?? {}
  );
  if (originalSource === undefined) return `${shorten(path)}:${lineNumber + 1}`;
  return `${shorten(resolve(dirname(path), originalSource))}:${originalLine + 1}`;
}

/** @param {string} path */
function mapOf(path) {
  return new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')));
}

/** @param {string} path */
function shorten(path) {
  const at = ['/node_modules/', '/dist/', '/src/'].map((folder) => path.lastIndexOf(folder)).find((i) => i >= 0);
  return at === undefined ? path : path.slice(at + 1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { top: { type: 'string' } }, allowPositionals: true });
  for (const file of positionals) console.log(`${profileText(file, Number(values.top ?? 30))}\n`);
}
