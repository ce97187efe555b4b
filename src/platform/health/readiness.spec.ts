import { beforeEach, describe, expect, it } from '@jest/globals';
import { Readiness } from './readiness.js';

describe('Readiness', () => {
  let readiness: Readiness;
  beforeEach(() => {
    readiness = new Readiness();
  });

  it('is not ready before any condition was named', () => {
    expect(readiness.ready).toBe(false);
    expect(readiness.health().status).toBe('DOWN');
  });

  it('is ready when every condition holds, and says what it waits for until then', () => {
    readiness.expect('log', 'opening the log');
    readiness.expect('shards', 'replaying shard 1');
    readiness.settle('log');
    expect(readiness.view()).toEqual({
      ready: false,
      conditions: [
        { name: 'log', ready: true, waitsFor: '' },
        { name: 'shards', ready: false, waitsFor: 'replaying shard 1' },
      ],
    });
    readiness.settle('shards');
    expect(readiness.view().ready).toBe(true);
    expect(readiness.health()).toMatchObject({ status: 'UP', degraded: [] });
  });

  it('loses readiness when a condition stops holding', () => {
    readiness.settle('log');
    readiness.expect('log', 'a shard reloads');
    expect(readiness.ready).toBe(false);
  });

  it('is degraded while it serves with a problem', () => {
    readiness.settle('log');
    readiness.degrade('shard 1', 'no primary');
    expect(readiness.health()).toMatchObject({ status: 'DEGRADED', degraded: ['shard 1: no primary'] });
    expect(readiness.ready).toBe(true);
    readiness.degrade('shard 1', undefined);
    expect(readiness.health().status).toBe('UP');
  });

  it('is never ready again once it stops', () => {
    readiness.settle('log');
    readiness.stop();
    readiness.settle('log');
    expect(readiness.ready).toBe(false);
    expect(readiness.stopping).toBe(true);
    expect(readiness.view().conditions).toContainEqual({
      name: 'running',
      ready: false,
      waitsFor: 'the node is shutting down',
    });
  });

  it('tells listeners of every change until they leave', () => {
    const seen: boolean[] = [];
    const leave = readiness.onChange(() => seen.push(readiness.ready));
    readiness.expect('log', 'x');
    readiness.settle('log');
    readiness.stop();
    leave();
    readiness.degrade('x', 'y');
    expect(seen).toEqual([false, true, false]);
  });
});
