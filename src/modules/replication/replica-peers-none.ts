import { PeerError } from '../../kernel/peer.js';
import type { ReplicaPeers } from './replica-peers.js';

const nobody = (): Promise<never> => Promise.reject(new PeerError('REFUSED', 'there is no other node'));

/** A cluster of one: there is nobody to ask. */
export const NO_REPLICA_PEERS: ReplicaPeers = {
  follow: (_to, _shard, events) => {
    queueMicrotask(() => events.ended(new PeerError('REFUSED', 'there is no other node')));
    return { send: () => true, drained: () => Promise.resolve(), close: () => undefined };
  },
  fence: nobody,
  probe: nobody,
  pull: nobody,
  covers: nobody,
  fetch: nobody,
  announce: () => undefined,
};
