import { jest } from '@jest/globals';

/** So many turns of the event loop are a millisecond. */
const TURNS_A_MS = 4;

/**
 * From now on time passes with the turns of the event loop instead of with the machine's: for tests in which something
 * ends by a deadline. What takes few turns is done in time, however long the machine stands still meanwhile; what waits
 * has waited as long as it should, and the test does not.
 *
 * Begin before what is tested sets its first timer; not for code that waits for sockets, disks or threads.
 * @returns ends it
 */
export function turnTime(): () => void {
  jest.useFakeTimers({
    doNotFake: ['Date', 'hrtime', 'nextTick', 'queueMicrotask', 'setImmediate', 'clearImmediate'],
  });
  let going = true;
  let turn = 0;
  const pass = (): void => {
    if (!going) return;
    if (++turn % TURNS_A_MS === 0) jest.advanceTimersByTime(1);
    setImmediate(pass);
  };
  setImmediate(pass);
  return () => {
    going = false;
    jest.useRealTimers();
  };
}
