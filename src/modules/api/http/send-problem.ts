import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../platform/logging/logger.js';
import { PROBLEM_CONTENT_TYPE, problemOf, type Problem } from '../../../platform/http/problem.js';
import { edgeError } from './edge-error.js';

/** The URI that names a request in answers and in the log. */
export function instanceOf(requestId: string): string {
  return `urn:uuid:${requestId}`;
}

/**
 * Answers with the problem document of anything that was thrown (api.md, Errors). What is unexpected is logged under
 * the instance the client gets. Once an answer has begun, all that is left is to cut the connection.
 */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  const { problem, unexpected } = problemOf(edgeError(error), instanceOf(request.id));
  if (unexpected)
    log.error(
      { error, instance: problem.instance, method: request.method, path: request.url },
      'a request failed unexpectedly',
    );
  if (reply.sent || reply.raw.headersSent) {
    reply.raw.destroy();
    return;
  }
  replyProblem(problem, reply);
}

/** Answers with a problem document. */
export function replyProblem(problem: Problem, reply: FastifyReply): void {
  void reply.code(problem.status).header('content-type', PROBLEM_CONTENT_TYPE);
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer realm="spector"');
  if (problem.retryAfterMs !== undefined)
    void reply.header('retry-after', Math.max(1, Math.ceil(problem.retryAfterMs / 1_000)));
  // Bytes, because fastify adds a charset to JSON text, which problem documents do not have (RFC 9457).
  void reply.send(Buffer.from(JSON.stringify(problem)));
}
