import { NodeError } from '../../kernel/errors.js';
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

/**
 * Reads a peer's request by a mapper.
 * @param refused counts requests that were malformed
 * @throws NodeError INVALID_REQUEST
 */
export function requestReader(refused: () => void): <W, M>(map: (message: W) => M, message: W) => M {
  return (map, message) => {
    try {
      return map(message);
    } catch (error) {
      if (error instanceof NodeError) refused();
      throw error;
    }
  };
}
