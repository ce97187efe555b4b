import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EqualWaits } from './equal-waits.js';

describe('EqualWaits', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('tells each wait that it is overdue at its own time, unless it ended', () => {
    const waits = new EqualWaits(1_000);
    const told: string[] = [];
    waits.begin(() => told.push('first'));
    jest.advanceTimersByTime(400);
    const ended = waits.begin(() => told.push('ended'));
    jest.advanceTimersByTime(200);
    waits.begin(() => told.push('third'));
    waits.end(ended);
    jest.advanceTimersByTime(399);
    expect(told).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(told).toEqual(['first']);
    jest.advanceTimersByTime(599);
    expect(told).toEqual(['first']);
    jest.advanceTimersByTime(1);
    expect(told).toEqual(['first', 'third']);
    waits.end(ended);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('keeps one timer for all', () => {
    const waits = new EqualWaits(50);
    let overdue = 0;
    for (let i = 0; i < 100; i++) waits.begin(() => overdue++);
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(50);
    expect(overdue).toBe(100);
    waits.begin(() => overdue++);
    jest.advanceTimersByTime(50);
    expect(overdue).toBe(101);
  });

  it('keeps one timer also when what is overdue is waited for again', () => {
    const waits = new EqualWaits(50);
    let looks = 0;
    const look = (): void => {
      looks++;
      waits.begin(look);
    };
    waits.begin(look);
    waits.begin(look);
    jest.advanceTimersByTime(500);
    expect([looks, jest.getTimerCount()]).toEqual([20, 1]);
  });
});
