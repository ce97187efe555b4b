import { NodeError } from '../../kernel/errors.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { ShardAnswer, ShardAsk, ShardCall, ShardWriteOutcome } from './core/shard-calls.js';
import type { PeerShards, ShardAccess, ShardCallOptions } from './shard-access.js';
import type { ServedShards } from './shard-call-server.js';

const NOT_THERE: ShardWriteOutcome = { kind: 'turned-away', refusal: { code: 'NOT_PRIMARY' } };
const UNKNOWN_NODE: ShardWriteOutcome = { kind: 'turned-away', refusal: { code: 'STALE_MAP' } };
const LOST: ShardWriteOutcome = {
  kind: 'refused',
  code: 'WRITE_OUTCOME_UNKNOWN',
  detail: 'the write was passed on to its primary, which did not answer',
};

/**
 * What other nodes ask of this one: its own shards, and that writes are passed on to a primary which the asking node
 * cannot reach (replication 3). What was passed on is not passed on again. Only nodes of the map are heard of in this: a
 * name that is none costs nothing that is kept.
 */
export class RelayingShards implements ServedShards {
  constructor(
    private readonly local: ShardAccess & Pick<ServedShards, 'underWay'>,
    private readonly peers: PeerShards,
    /** Whether the map has such a node. */
    readonly knows: (node: NodeUuid) => boolean,
  ) {}

  get underWay(): number {
    return this.local.underWay;
  }

  call<C extends ShardCall>(kind: C, ask: ShardAsk<C>, options: ShardCallOptions): Promise<ShardAnswer<C>> {
    if (kind !== 'write') return this.local.call(kind, ask, options);
    const { relay, ...rest } = ask as ShardAsk<'write'>;
    if (relay === undefined) return this.local.call(kind, ask, options);
    const { to, ...passed } = relay;
    if (!this.knows(relay.from) || (to !== undefined && !this.knows(to)))
      return Promise.resolve(rest.writes.map(() => UNKNOWN_NODE) as ShardAnswer<C>);
    if (to === undefined) return this.local.call(kind, ask, options);
    return this.#passOn(to, { ...rest, relay: passed }, options);
  }

  async #passOn(to: NodeUuid, ask: ShardAsk<'write'>, options: ShardCallOptions): Promise<ShardAnswer<'write'>> {
    try {
      return await this.peers.of(to).call('write', ask, options);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      if (error.code === 'OVERLOADED') throw new NodeError('OVERLOADED', error.message, { retryAfterMs: 100 });
      const lost = error.reason === 'RESET' || error.reason === 'TIMEOUT';
      return ask.writes.map(() => (lost ? LOST : NOT_THERE));
    }
  }
}
