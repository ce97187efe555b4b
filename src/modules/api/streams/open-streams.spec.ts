import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import type { FastifyReply } from 'fastify';
import { LIMITS } from '../../../kernel/limits.js';
import { OpenStreams } from './open-streams.js';

const reply = (): FastifyReply => ({ raw: new EventEmitter() }) as unknown as FastifyReply;

describe('OpenStreams', () => {
  it('admits so many that last, and another one when one of them has ended', () => {
    const streams = new OpenStreams();
    const open = Array.from({ length: LIMITS.lastingAnswersMax }, () => {
      streams.admit();
      return streams.open(reply());
    });
    expect(() => streams.admit()).toThrow(/streams already/);
    open[0].close();
    streams.admit();
    expect(streams.size).toBe(LIMITS.lastingAnswersMax - 1);
  });

  it('ends all with the reason when the node stops', () => {
    const streams = new OpenStreams();
    const { signal } = streams.open(reply());
    streams.beforeApplicationShutdown();
    for (const each of [signal, streams.open(reply()).signal]) expect(each.reason).toMatchObject({ code: 'DRAINING' });
  });
});
