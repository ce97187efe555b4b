import { HttpException } from '@nestjs/common';
import { NodeError } from '../../../kernel/errors.js';

/**
 * The error for the client behind anything the edge throws. Frameworks speak HTTP statuses; what is none of theirs and
 * none of ours stays as it is and becomes INTERNAL, untold.
 */
export function edgeError(error: unknown): unknown {
  if (error instanceof NodeError) return error;
  const status = statusOf(error);
  if (status === undefined || status >= 500) return error;
  switch (status) {
    case 404:
      return new NodeError('ROUTE_NOT_FOUND', 'there is no such path: /docs lists all', { cause: error });
    case 405:
      return new NodeError('METHOD_NOT_ALLOWED', 'the method is not allowed here', { cause: error });
    case 413:
      return new NodeError('PAYLOAD_TOO_LARGE', 'the request is too large', { cause: error });
    case 415:
      return new NodeError(
        'UNSUPPORTED_MEDIA_TYPE',
        'content-type must be application/json, or application/x-ndjson for a bulk',
        { cause: error },
      );
    default:
      return new NodeError('INVALID_REQUEST', (error as Error).message, { cause: error });
  }
}

function statusOf(error: unknown): number | undefined {
  if (error instanceof HttpException) return error.getStatus();
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined;
  return typeof error.statusCode === 'number' ? error.statusCode : undefined;
}
