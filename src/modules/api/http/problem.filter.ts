import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { Catch, Inject } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { InvariantError } from '../../../kernel/assert.js';
import type { Logger } from '../../../platform/logging/logger.js';
import { LOGGER } from '../../../platform/logging/logger.js';
import { sendProblem } from './send-problem.js';

/** Answers every error of the HTTP edge with a problem document. A broken invariant is answered and then ends the process. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  private readonly log: Logger;

  constructor(@Inject(LOGGER) log: Logger) {
    this.log = log.child({ module: 'api' });
  }

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    sendProblem(exception, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>(), this.log);
    if (exception instanceof InvariantError) {
      setImmediate(() => {
        throw exception;
      });
    }
  }
}
