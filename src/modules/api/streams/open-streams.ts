import type { BeforeApplicationShutdown } from '@nestjs/common';
import { Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { SOCKET_IDLE_MS } from '../http-setup.js';

/** An answer that lasts. */
export interface OpenStream {
  /** Aborted when the client goes away or the node stops. */
  readonly signal: AbortSignal;
  /** Call when the answer is complete. */
  readonly close: () => void;
}

/** Answers that last until someone ends them: a node that stops ends them, or its server would wait for ever. */
@Injectable()
export class OpenStreams implements BeforeApplicationShutdown {
  private readonly controllers = new Set<AbortController>();
  private stopped = false;

  /** Before an answer begins. @throws NodeError OVERLOADED when too many last already */
  admit(): void {
    if (this.controllers.size < LIMITS.lastingAnswersMax) return;
    const detail = `this node sends ${LIMITS.lastingAnswersMax} streams already; read from another node, or end some`;
    throw new NodeError('OVERLOADED', detail, { retryAfterMs: 1_000 });
  }

  /** Registers an answer; its connection may be idle from now until it is closed. */
  open(reply: FastifyReply): OpenStream {
    const controller = new AbortController();
    const { raw } = reply;
    const { socket } = raw;
    const forget = () => {
      raw.off('close', forget);
      this.controllers.delete(controller);
      controller.abort();
      socket?.setTimeout(SOCKET_IDLE_MS);
    };
    raw.on('close', forget);
    socket?.setTimeout(0);
    this.controllers.add(controller);
    if (this.stopped) controller.abort(stopping());
    return { signal: controller.signal, close: forget };
  }

  /** Number of open ones. */
  get size(): number {
    return this.controllers.size;
  }

  beforeApplicationShutdown(): void {
    this.stopped = true;
    for (const controller of this.controllers) controller.abort(stopping());
  }
}

function stopping(): NodeError {
  return new NodeError('DRAINING', 'The node is shutting down');
}
