import { beforeEach, describe, expect, it } from '@jest/globals';
import { TurnShare } from './turn-share.js';

describe('TurnShare', () => {
  let nowMs: number;
  let turns: (() => void)[];
  let done: string[];
  let share: TurnShare;

  beforeEach(() => {
    nowMs = 0;
    turns = [];
    done = [];
    const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
    share = new TurnShare(clock, { soon: (run) => turns.push(run) });
  });

  const act = (name: string, ms: number): void =>
    share.run(() => {
      nowMs += ms;
      done.push(name);
    });

  /** What was done in the next turn. */
  const turn = (): string[] => {
    done = [];
    for (const run of turns.splice(0)) run();
    return done;
  };

  it('does at once what fits into a turn, and the rest in later ones, in order', () => {
    act('a', 3);
    act('b', 13);
    act('c', 13);
    act('d', 1);
    expect(done).toEqual(['a', 'b']);
    expect(turn()).toEqual(['c']);
    // What comes waits behind what waits.
    act('e', 1);
    expect(turn()).toEqual(['d', 'e']);
    expect(turn()).toEqual([]);
    expect(turns).toEqual([]);
    act('f', 5);
    expect(done).toEqual(['f']);
  });

  it('counts nothing from turn to turn', () => {
    for (let at = 0; at < 10; at++) {
      act(`${at}`, 4);
      expect(done).toEqual([`${at}`]);
      turn();
    }
  });

  it('goes on when something fails, which whoever asked, or nobody, hears of', () => {
    const fail = (): void => {
      nowMs += 6;
      throw new Error('damaged');
    };
    expect(() => share.run(fail)).toThrow('damaged');
    act('a', 6);
    share.run(fail);
    act('b', 1);
    expect(turn()).toEqual(['a']);
    expect(() => turn()).toThrow('damaged');
    expect(turn()).toEqual(['b']);
  });
});
