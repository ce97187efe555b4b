/**
 * Plays in a thread what it is sent, from the simulator's sources: see test/sim/sim-thread.ts.
 */
import { register } from 'node:module';
import { parentPort } from 'node:worker_threads';

register('./typescript-hooks.mjs', import.meta.url);
const { played } = await import('../test/sim/played.ts');
parentPort?.on('message', (play) => {
  played(play).then(
    (found) => parentPort?.postMessage({ played: found }),
    (error) => parentPort?.postMessage({ problem: String(error?.stack ?? error) }),
  );
});
