import { describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { RunningRequests } from './running-requests.js';

const response = () => new EventEmitter() as unknown as ServerResponse;

describe('RunningRequests', () => {
  it('is drained at once when nothing runs, and when the last answer is out', async () => {
    const running = new RunningRequests();
    await running.drained(60_000);
    const [one, two] = [response(), response()];
    running.enter(one);
    running.enter(two);
    let drained = false;
    const waited = running.drained(60_000).then(() => {
      drained = true;
    });
    one.emit('close');
    await Promise.resolve();
    expect({ drained, size: running.size }).toEqual({ drained: false, size: 1 });
    two.emit('close');
    await waited;
    expect(drained).toBe(true);
  });

  it('does not wait longer than it is told', async () => {
    const running = new RunningRequests();
    running.enter(response());
    await running.drained(1);
    expect(running.size).toBe(1);
  });
});
