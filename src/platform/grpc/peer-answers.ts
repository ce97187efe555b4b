import { NodeError, type ErrorCode } from '../../kernel/errors.js';
import { PeerError } from '../../kernel/peer.js';

/**
 * Reads a peer's answer by a mapper. What a mapper says of an answer is no refusal of our request: the other side is
 * broken, or newer.
 * @throws PeerError REJECTED
 */
export function readAnswer<T>(read: () => T, address: string): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    const message = `the answer of ${address} cannot be read: ${error.message}`;
    throw new PeerError('REJECTED', message, 'INTERNAL', { cause: error });
  }
}

/** What is wrong with a message itself; other errors speak of the moment. */
const OF_THE_MESSAGE: ReadonlySet<ErrorCode> = new Set(['INVALID_REQUEST', 'FORBIDDEN', 'LIMIT_EXCEEDED']);

/**
 * Reads a peer's request, by a mapper or whatever else judges it.
 * @param refused counts requests that were malformed, or say what their sender must not
 * @throws NodeError
 */
export function requestReader(refused: () => void): <W, M>(map: (message: W) => M, message: W) => M {
  return (map, message) => {
    try {
      return map(message);
    } catch (error) {
      if (error instanceof NodeError && OF_THE_MESSAGE.has(error.code)) refused();
      throw error;
    }
  };
}
