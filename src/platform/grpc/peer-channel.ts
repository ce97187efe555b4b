import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';
import { Client, connectivityState } from '@grpc/grpc-js';
import { LIMITS } from '../../kernel/limits.js';
import { PeerError } from '../../kernel/peer.js';
import type { DialDepth } from './peer-dial.js';
import { dial } from './peer-dial.js';

/** A connection that is not there after this long is given up and tried anew: TCP's own repeats are too slow to heal by. */
export const CONNECT_TIMEOUT_MS = 1_500;

/** Bytes in flight on one stream: what a 2 ms round trip needs for 500 MB/s, and two batches of the largest kind. */
const FLOW_CONTROL_BYTES = 1024 * 1024;

const CHANNEL_OPTIONS: ChannelOptions = {
  // One HTTP/2 connection per channel: grpc-js would share one for all purposes.
  'grpc.use_local_subchannel_pool': 1,
  // A silent link is noticed here, whatever TCP thinks of it (replication 8.3).
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.max_receive_message_length': LIMITS.peerMessageBytesMax,
  'grpc.max_send_message_length': LIMITS.peerMessageBytesMax,
  'grpc-node.flow_control_window': FLOW_CONTROL_BYTES,
  // A repeated message would be kept in memory until it is answered; callers decide what is repeated.
  'grpc.enable_retries': 0,
  // A purpose that is not used gives its connection back; heartbeats keep that of control.
  'grpc.client_idle_timeout_ms': 60_000,
  'grpc.enable_channelz': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** One HTTP/2 connection to a peer for one purpose: made once; a new channel takes the place of one that broke. */
export class PeerChannel {
  /** Names the purpose and the peer: at most one channel of a key is in use. */
  readonly key: string;
  readonly address: string;
  #client: Client | undefined;
  #opening: Promise<Client>;
  #wasReady = false;
  #closed = false;
  #watch: NodeJS.Timeout | undefined;

  /** @param serverName for SNI: never an address, which TLS forbids */
  constructor(
    key: string,
    address: string,
    depth: DialDepth,
    credentials: () => ChannelCredentials,
    serverName: string,
  ) {
    this.key = key;
    this.address = address;
    this.#opening = dial(address, depth, CONNECT_TIMEOUT_MS).then(() => {
      if (this.#closed) throw new PeerError('RESET', `the connection to ${address} was given up`);
      this.#client = new Client(address, credentials(), {
        ...CHANNEL_OPTIONS,
        'grpc.ssl_target_name_override': serverName,
      });
      return this.#client;
    });
    // Whoever waits for it is told; nobody may be waiting any more.
    this.#opening.catch(() => undefined);
  }

  /** The client, once the peer was dialled. Rejects with PeerError. */
  get opening(): Promise<Client> {
    return this.#opening;
  }

  /** For a new call: undefined while it is being opened. */
  client(): Client | undefined {
    if (this.#client !== undefined && !this.#wasReady) this.#watchConnecting(this.#client);
    return this.#client;
  }

  /** False once it is closed or its connection was lost. */
  get usable(): boolean {
    if (this.#closed) return false;
    if (this.#client === undefined) return true;
    const state = this.#client.getChannel().getConnectivityState(false);
    if (state === connectivityState.READY) this.#wasReady = true;
    return state === connectivityState.READY || !this.#wasReady;
  }

  /** No new calls; those that reached the peer go on, the others fail. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#watch);
    this.#client?.close();
  }

  /** grpc-js never gives up a handshake that is not answered. */
  #watchConnecting(client: Client): void {
    this.#watch ??= setTimeout(() => {
      this.#watch = undefined;
      const state = client.getChannel().getConnectivityState(false);
      if (state === connectivityState.READY) this.#wasReady = true;
      else if (!this.#wasReady) this.close();
    }, CONNECT_TIMEOUT_MS);
    this.#watch.unref();
  }
}
