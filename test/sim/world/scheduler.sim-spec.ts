import { describe, expect, it } from '@jest/globals';
import { SimProcess } from './process.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';
import { firstDifference } from './trace.js';

const hardware = { wallOffsetMs: 1_000, rate: 1, monotonicOffsetMs: 50 };

function world(seed: number) {
  const scheduler = new Scheduler(new SeededRandom(seed), (_process, error) => {
    throw error;
  });
  const processes = [1, 2, 3].map((number) => new SimProcess(number, `p${number}`, scheduler, hardware));
  return { scheduler, processes };
}

/** The order in which three processes act that all want to at the same moments. */
async function race(seed: number): Promise<string[]> {
  const { scheduler, processes } = world(seed);
  const order: string[] = [];
  for (let at = 1; at <= 5; at++)
    for (const process of processes) {
      process.timers.after(at, () => order.push(`${process.host} a${at}`));
      process.timers.after(at, () => order.push(`${process.host} b${at}`));
    }
  await scheduler.run(10);
  return order;
}

describe('virtual time', () => {
  it('lets processes race as the seed has it, and keeps each in order', async () => {
    const [one, again, other] = [await race(1), await race(1), await race(2)];
    expect(one).toEqual(again);
    expect(one).not.toEqual(other);
    for (const host of ['p1', 'p2', 'p3'])
      expect(one.filter((name) => name.startsWith(host))).toEqual(
        [1, 2, 3, 4, 5].flatMap((at) => [`${host} a${at}`, `${host} b${at}`]),
      );
  });

  it('settles every promise of a task before the next one', async () => {
    const { scheduler, processes } = world(1);
    const order: string[] = [];
    processes[0].timers.after(1, () => {
      void Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => order.push('promises of the first'));
    });
    processes[0].timers.after(1, () => order.push('second'));
    await scheduler.run(10);
    expect(order).toEqual(['promises of the first', 'second']);
  });

  it('holds what a paused process should do, while its clocks go on', async () => {
    const { scheduler, processes } = world(1);
    const [process] = processes;
    const seen: number[] = [];
    for (const ms of [10, 20, 30]) process.timers.after(ms, () => seen.push(process.clock.monotonicMs()));
    const cancel = process.timers.after(25, () => seen.push(-1));
    process.pause();
    await scheduler.run(100);
    expect(seen).toEqual([]);
    cancel();
    process.resume();
    await scheduler.run(110);
    expect(seen).toEqual([150, 150, 150]);
  });

  it('does nothing any more for a process that died', async () => {
    const { scheduler, processes } = world(1);
    let ran = false;
    processes[0].timers.after(5, () => {
      ran = true;
    });
    processes[0].kill();
    await scheduler.run(10);
    expect(ran).toBe(false);
  });

  it('names the first difference of two traces', () => {
    expect(firstDifference(['a', 'b'], ['a', 'b'])).toBeUndefined();
    expect(firstDifference(['a', 'b'], ['a', 'c'])).toContain('line 2');
    expect(firstDifference(['a'], ['a', 'b'])).toContain('(ended)');
  });
});
