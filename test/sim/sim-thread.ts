import { Worker } from 'node:worker_threads';
import type { Play, Played } from './played.js';

/** What the thread answers. */
export type SimAnswer = { readonly played: Played } | { readonly problem: string };

/**
 * The simulator in a thread of its own, from its sources as by hand (`npm run sim`): outside of the sandbox that tests run in
 * it takes half the time.
 */
export class SimThread {
  readonly #worker = new Worker(new URL('../../scripts/sim-thread.mjs', import.meta.url));

  /** One after the other. @throws Error when it could not be played at all */
  play(play: Play): Promise<Played> {
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const settled = (): void => {
        worker.off('message', answered).off('error', reject);
      };
      const answered = (answer: SimAnswer): void => {
        settled();
        if ('played' in answer) resolve(answer.played);
        else reject(new Error(answer.problem));
      };
      worker.once('message', answered).once('error', reject);
      worker.postMessage(play);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
