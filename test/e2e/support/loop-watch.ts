import { Worker } from 'node:worker_threads';

/**
 * The watcher runs in a thread of its own, so that what the test computes does not count. It asks /livez again and
 * again over one connection; an answer that came while the thread itself was held up (its 5 ms timer was late) says
 * nothing about the node and is left out.
 */
const WATCHER = `
const http = require('node:http');
const { parentPort, workerData } = require('node:worker_threads');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const HELD_UP_MS = 40;
let lastTick = performance.now();
let heldUpUntil = 0;
setInterval(() => {
  const now = performance.now();
  if (now - lastTick > HELD_UP_MS) heldUpUntil = now;
  lastTick = now;
}, 5);
let worst = 0;
let pings = 0;
let failures = 0;
let stopped = false;
function ping() {
  const began = performance.now();
  const request = http.get(workerData.url + '/livez', { agent, timeout: 10000 }, (response) => {
    response.resume();
    response.on('end', () => done(began, response.statusCode === 200));
  });
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('error', () => done(began, false));
}
function done(began, ok) {
  const now = performance.now();
  const heldUp = heldUpUntil > began || now - lastTick > HELD_UP_MS;
  pings++;
  if (!ok) failures++;
  if (!heldUp) worst = Math.max(worst, now - began);
  if (!stopped) setTimeout(ping, 2);
}
parentPort.on('message', (message) => {
  if (message === 'stop') {
    stopped = true;
    agent.destroy();
    parentPort.close();
    setTimeout(() => process.exit(0), 0);
    return;
  }
  parentPort.postMessage({ worst, pings, failures });
  worst = 0;
  pings = 0;
  failures = 0;
});
ping();
`;

/** What the watcher saw since it was asked last. */
export interface LoopReading {
  /** Longest answer time, milliseconds. */
  readonly worst: number;
  readonly pings: number;
  readonly failures: number;
}

/** Measures from outside how long a node's event loop is held up. */
export class LoopWatch {
  private readonly worker: Worker;

  constructor(base: string) {
    this.worker = new Worker(WATCHER, { eval: true, workerData: { url: base } });
  }

  /** The reading since the last one; starts a new one. */
  read(): Promise<LoopReading> {
    return new Promise((resolve, reject) => {
      this.worker.once('message', resolve);
      this.worker.once('error', reject);
      this.worker.postMessage('read');
    });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.worker.once('exit', resolve));
    this.worker.postMessage('stop');
    await ended;
  }
}

/** Longest time a request may hold up the loop. Milliseconds. */
export const LOOP_HELD_MS_MAX = 200;

/**
 * Runs `act` and checks that /livez was answered all the while. The machine may be busy with other things: an act counts
 * as blocking only when it blocks three times in a row, which one that computes too long does.
 */
export async function withoutBlocking<T>(watch: LoopWatch, act: () => Promise<T>): Promise<T> {
  const worst: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    await watch.read();
    const result = await act();
    const reading = await watch.read();
    if (reading.worst <= LOOP_HELD_MS_MAX && reading.failures === 0) return result;
    worst.push(Math.round(reading.worst));
  }
  throw new Error(`the event loop was held up for ${worst.join(', ')} ms`);
}
