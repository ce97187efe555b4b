import { status } from '@grpc/grpc-js';
import { NodeError } from '../../kernel/errors.js';

/**
 * The operating error behind a status that grpc-js sends on its own, before or instead of a handler: it knows neither
 * ErrorInfo nor that malformed input is the client's fault. The texts are those of the pinned grpc-js; a spec provokes
 * each of them.
 * @param details the text grpc-js gave
 * @param messageBytesMax its limit of received messages
 */
export function refusalOf(code: status, details: string, messageBytesMax: number): NodeError {
  switch (code) {
    case status.RESOURCE_EXHAUSTED:
      return new NodeError('PAYLOAD_TOO_LARGE', `A message is larger than ${messageBytesMax} bytes: split it`);
    case status.DEADLINE_EXCEEDED:
      return new NodeError('QUERY_TIMEOUT', 'The deadline of the call passed');
    case status.UNIMPLEMENTED:
      return details.includes('unsupported encoding')
        ? new NodeError('UNSUPPORTED_MEDIA_TYPE', details)
        : new NodeError('INVALID_REQUEST', 'The method takes exactly one request message');
    case status.INTERNAL:
      if (details.startsWith('Error deserializing request'))
        return new NodeError('INVALID_REQUEST', 'The message is not well-formed protobuf of its type');
      if (details.startsWith('Failed to decompress'))
        return new NodeError('INVALID_REQUEST', 'The message cannot be decompressed');
      if (details.startsWith('Invalid grpc-timeout')) return new NodeError('INVALID_REQUEST', details);
      return new NodeError('INTERNAL', 'The answer could not be sent');
    default:
      return new NodeError('INTERNAL', 'The call failed');
  }
}
