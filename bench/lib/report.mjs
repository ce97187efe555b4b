import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const RESULTS = fileURLToPath(new URL('../results', import.meta.url));

/** @typedef {Record<string, string | number | undefined>} Row */

/** What a figure was measured on. */
export function machine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    loadAverage: loadavg().map((load) => Number(load.toFixed(2))),
    steal: stealShare(),
    node: process.version,
    flags: cpuFlags(),
  };
}

/** @param {ReturnType<typeof machine>} found */
export function machineText(found) {
  return `${found.cpu}, ${found.cores} cores${found.flags}, ${(found.memoryBytes / 2 ** 30).toFixed(0)} GiB, Node ${found.node}; load average ${found.loadAverage.join(' ')}`;
}

/** @param {Row[]} rows @returns {string} a table with the columns in the order of their first appearance */
export function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [columns, ...rows.map((row) => columns.map((column) => text(row[column])))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  return cells
    .map((line, y) =>
      line
        .map((cell, i) => (i === 0 || y === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** @param {string} name @param {unknown} result @returns {string} the file */
export function save(name, result) {
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${name}-${new Date().toISOString().replace(/[:.]/g, '-')}.json`);
  writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`);
  return file;
}

/** @param {string | number | undefined} cell */
function text(cell) {
  if (cell === undefined) return '';
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell)) return String(cell);
  const size = Math.abs(cell);
  return size >= 100 ? cell.toFixed(0) : size >= 10 ? cell.toFixed(1) : size >= 1 ? cell.toFixed(2) : cell.toFixed(4);
}

function cpuFlags() {
  const flags =
    readFileSync('/proc/cpuinfo', 'utf8')
      .match(/^flags\s*: (.*)$/m)?.[1]
      .split(' ') ?? [];
  const known = ['avx2', 'avx512f'].filter((flag) => flags.includes(flag));
  return known.length === 0 ? '' : ` (${known.join(', ')})`;
}

/** Share of the CPU the hypervisor gave to others since the start. */
function stealShare() {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].trim().split(/\s+/).slice(1, 9).map(Number);
  return fields[7] / fields.reduce((sum, ticks) => sum + ticks, 0);
}
