import { readFileSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Linux counts CPU in hundredths of a second, whatever the kernel's own clock. */
const TICK_MS = 10;
/** A machine is quiet when so little of its CPU is used for so long. */
const QUIET_SHARE = 0.1;
const QUIET_MS = 2_000;

/**
 * @typedef {object} CpuOf
 * @property {number} totalMs of all threads
 * @property {number} mainMs
 * @property {number[]} othersMs of every other thread, most first
 */

/** CPU each thread of a process used so far. @param {number} pid @returns {Map<number, number>} thread → ms */
export function threadCpu(pid) {
  const threads = new Map();
  for (const name of readdirSync(`/proc/${pid}/task`)) {
    const text = read(`/proc/${pid}/task/${name}/stat`);
    if (text === undefined) continue;
    // The second field is a name in parentheses that may hold anything; user and system time are fields 14 and 15.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    threads.set(Number(name), (Number(fields[11]) + Number(fields[12])) * TICK_MS);
  }
  return threads;
}

/** @param {number} pid @param {Map<number, number>} before @returns {CpuOf} CPU used since `before` */
export function cpuSince(pid, before) {
  const now = [...threadCpu(pid)].map(
    ([thread, ms]) => /** @type {const} */ ([thread, ms - (before.get(thread) ?? 0)]),
  );
  return {
    totalMs: now.reduce((sum, [, ms]) => sum + ms, 0),
    mainMs: now.find(([thread]) => thread === pid)?.[1] ?? 0,
    othersMs: now
      .filter(([thread, ms]) => thread !== pid && ms > 0)
      .map(([, ms]) => ms)
      .sort((a, b) => b - a),
  };
}

/**
 * What the cores could do at most at these costs, whoever else uses them now: each thread fills at most one core, all
 * together all of them.
 * @param {number} costUs CPU of everything a request needs, the load included
 * @param {number} busiestUs CPU of the busiest thread
 * @param {number} cores
 */
export function cpuBound(costUs, busiestUs, cores) {
  return Math.min((cores * 1e6) / costUs, 1e6 / busiestUs);
}

/** CPU that all processes of the machine and the kernel used since it started, in ms. */
export function busyCpuMs() {
  const [user, nice, system, , , interrupts, soft, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + interrupts + soft + steal) * TICK_MS;
}

/**
 * Waits until other processes leave the CPU alone, or no longer.
 * @param {number} seconds at most; 0 does not wait
 * @returns {Promise<boolean>} whether they do
 */
export async function quietMachine(seconds) {
  const deadline = performance.now() + seconds * 1000;
  while (performance.now() < deadline) {
    const before = busyCpuMs();
    await sleep(QUIET_MS);
    if (busyCpuMs() - before <= QUIET_SHARE * availableParallelism() * QUIET_MS) return true;
  }
  return seconds === 0;
}

/** Memory of a process now and at most so far. @param {number} pid @returns {{ rssBytes: number, peakBytes: number, mappedBytes: number }} */
export function memoryOf(pid) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (/** @type {string} */ name) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) * 1024;
  return { rssBytes: field('VmRSS'), peakBytes: field('VmHWM'), mappedBytes: field('RssFile') };
}

/** Bytes of all files below a directory; hard links count once. @param {string} directory @param {Set<number>} [seen] */
export function directoryBytes(directory, seen = new Set()) {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) bytes += directoryBytes(path, seen);
    else {
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat === undefined || seen.has(stat.ino)) continue;
      seen.add(stat.ino);
      bytes += stat.blocks * 512;
    }
  }
  return bytes;
}

/** The text of a file of /proc, or undefined when the thread is gone by now. @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
