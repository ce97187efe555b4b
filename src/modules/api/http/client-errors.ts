import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { NodeError } from '../../../kernel/errors.js';
import { PROBLEM_CONTENT_TYPE, problemOf } from '../../../platform/http/problem.js';
import { instanceOf } from './send-problem.js';

/** Answers what is not HTTP enough to become a request, then closes the connection. */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const { problem } = problemOf(clientError(error.code), instanceOf(randomUUID()));
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\ncontent-type: ${PROBLEM_CONTENT_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function clientError(code: string | undefined): NodeError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new NodeError('LIMIT_EXCEEDED', 'the headers of the request are too large');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new NodeError('INVALID_REQUEST', 'the request did not arrive in time');
    default:
      return new NodeError('INVALID_REQUEST', 'the request is not valid HTTP');
  }
}
