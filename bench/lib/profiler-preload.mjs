/**
 * Loaded into the node before its own code, by --import, in the main thread and again in each worker: SIGUSR2 starts a
 * CPU profile in every thread, the next one ends it and writes <directory>/<thread>.cpuprofile.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';

const SAMPLE_US = 250;
const directory = process.env.BENCH_PROFILE_DIRECTORY ?? '.';
const channel = /** @type {any} */ (new BroadcastChannel('bench-profiler'));
channel.unref();
/** @type {Session | undefined} */
let session;

function start() {
  session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: SAMPLE_US });
  session.post('Profiler.start');
}

function stop() {
  session?.post('Profiler.stop', (error, answer) => {
    const name = isMainThread ? 'main' : `worker-${threadId}`;
    if (error === null) writeFileSync(join(directory, `${name}.cpuprofile`), JSON.stringify(answer.profile));
    else process.stderr.write(`no profile of ${name}: ${error.message}\n`);
    session?.disconnect();
    session = undefined;
  });
}

if (isMainThread) {
  process.on('SIGUSR2', () => {
    const what = session === undefined ? 'started' : 'stopped';
    channel.postMessage(what);
    if (what === 'started') start();
    else stop();
    writeFileSync(join(directory, `profiler-${what}`), '');
  });
} else {
  channel.onmessage = (/** @type {{ data: string }} */ { data }) => (data === 'started' ? start() : stop());
}
