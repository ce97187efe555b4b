import { describe, expect, it } from '@jest/globals';
import { FLAPPING_WINDOW_MS, Transitions } from './flapping.js';
import { PeerHealth } from './peer-health.js';
import { skews } from './skew.js';
import { timingOf } from './timing.js';

const timing = timingOf(2_000, 10_000);

describe('the timing', () => {
  it('follows from interval and timeout', () => {
    expect(timing).toMatchObject({ failoverAfterMs: 6_000, contactMs: 1_000 });
    expect(timingOf(500, 3_000)).toMatchObject({ failoverAfterMs: 1_800, contactMs: 500 });
    expect(timingOf(2_000, 5_000)).toMatchObject({ failoverAfterMs: 5_000 });
    expect(() => timingOf(2_000, 4_999)).toThrow('2.5');
  });
});

describe('the evidence about a peer', () => {
  it('is judged by silence', () => {
    const health = new PeerHealth(0);
    health.answered(1_000, 990);
    expect(health.rttMs).toBe(10);
    expect(health.verdict(6_999, timing)).toBe('heard');
    expect(health.verdict(7_000, timing)).toBe('suspect');
    expect(health.verdict(11_000, timing)).toBe('unavailable');
    health.seen(10_500);
    expect(health.verdict(11_000, timing)).toBe('heard');
    health.seen(3_000);
    expect(health.silenceMs(11_000)).toBe(500);
  });

  it('does not count our own pauses, until it is heard again', () => {
    const health = new PeerHealth(0);
    health.excuse(8_000);
    expect(health.verdict(9_000, timing)).toBe('heard');
    health.seen(9_000);
    expect(health.silenceMs(10_000)).toBe(1_000);
  });

  it('of two refusals 200 ms apart is a crash; a time-out, a reset or a name that does not resolve is not', () => {
    const health = new PeerHealth(0);
    expect(health.failed(100, 'TIMEOUT')).toBe(false);
    expect(health.failed(100, 'UNRESOLVED')).toBe(false);
    expect(health.failed(100, 'REJECTED')).toBe(false);
    expect(health.failed(100, 'RESET')).toBe(true);
    expect(health.failed(200, 'REFUSED')).toBe(true);
    expect(health.failed(399, 'REFUSED')).toBe(true);
    expect(health.isRefused()).toBe(false);
    expect(health.failed(400, 'REFUSED')).toBe(false);
    expect(health.isRefused()).toBe(true);
    expect(health.verdict(400, timing)).toBe('suspect');
    health.failed(6_200, 'REFUSED');
    expect(health.verdict(6_200, timing)).toBe('unavailable');
  });

  it('forgets refusals when somebody heard it since', () => {
    const health = new PeerHealth(0);
    health.failed(200, 'REFUSED');
    health.seen(150);
    health.failed(400, 'REFUSED');
    expect(health.isRefused()).toBe(true);
    health.seen(300);
    expect(health.isRefused()).toBe(false);
  });
});

describe('flapping', () => {
  it('is three changes within a minute', () => {
    const transitions = new Transitions();
    for (const at of [0, 10_000]) transitions.add(at);
    expect(transitions.flapping(10_000)).toBe(false);
    transitions.add(20_000);
    expect(transitions.flapping(20_000)).toBe(true);
    expect(transitions.flapping(FLAPPING_WINDOW_MS)).toBe(false);
    transitions.add(FLAPPING_WINDOW_MS + 5_000);
    expect(transitions.flapping(FLAPPING_WINDOW_MS + 5_000)).toBe(true);
  });
});

describe('clock skew', () => {
  it('is measured against the median of the others', () => {
    const found = skews(
      'a',
      new Map([
        ['b', 10],
        ['c', -10],
        ['d', 900],
      ]),
    );
    expect(found.get('a')).toBe(-10);
    expect(found.get('d')).toBe(900);
    expect(found.get('b')).toBe(10);
    expect(skews('a', new Map()).size).toBe(0);
    expect(Object.fromEntries(skews('a', new Map([['b', 700]])))).toEqual({ a: -700, b: 700 });
  });
});
