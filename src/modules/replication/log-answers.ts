import { assert } from '../../kernel/assert.js';
import { equalBytes } from '../../kernel/bytes.js';
import { sameEpoch } from '../../kernel/epoch.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { entryOffset } from '../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../log/core/entry.js';
import { LogDamagedError, type LogStore } from '../log/log-store.js';
import type {
  CoversAnswer,
  CoversRequest,
  FetchAnswer,
  FetchRequest,
  PullAnswer,
  PullRequest,
} from './core/protocol.js';
import type { Replica } from './core/replica.js';
import { storedChain } from './stored-copy.js';

const FETCH_ENTRIES = 500;
const PULL_ENTRIES = 5_000;
const PULL_BYTES = 1024 * 1024;

/** What other nodes ask of a copy's log: to heal theirs (2.12), to adopt it (5.5), to drop theirs (9.6). */
export class LogAnswers {
  readonly #shard: number;
  readonly #log: LogStore;
  readonly #replica: Replica;
  readonly #damaged: (error: LogDamagedError) => void;

  /** @param damaged an entry could not be read: the copy is to fail */
  constructor(shard: number, log: LogStore, replica: Replica, damaged: (error: LogDamagedError) => void) {
    this.#shard = shard;
    this.#log = log;
    this.#replica = replica;
    this.#damaged = damaged;
  }

  /** @throws PeerError REJECTED when an entry cannot be read */
  async fetch({ from, to, anchor, bytesMax }: FetchRequest): Promise<FetchAnswer> {
    try {
      const limit = Math.max(1, Math.min(to - from + 1, FETCH_ENTRIES));
      const found = await this.#log.scan(this.#shard, from, limit, Math.max(1, bytesMax));
      const entries = found.filter((entry, i) => entryOffset(entry) === from + i && from + i <= to);
      return { entries, anchorChain: (await storedChain(this.#log, this.#shard, anchor)) ?? CHAIN_ZERO };
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.#damaged(error);
      throw new PeerError('REJECTED', error.message);
    }
  }

  async covers(from: NodeUuid, { mapEpoch, offset, chain }: CoversRequest): Promise<CoversAnswer> {
    const agreed = (): boolean => this.#replica.agreedWithout(from, mapEpoch, offset);
    if (!agreed()) return { covered: false };
    const there = await storedChain(this.#log, this.#shard, offset);
    return { covered: there !== undefined && equalBytes(there, chain) && agreed() };
  }

  /** @throws PeerError REJECTED when this copy no longer stands by the grant, or the entries are compacted */
  async pull(request: PullRequest): Promise<PullAnswer> {
    const { promised, role } = this.#replica;
    if (!sameEpoch(promised, request.epoch) || role === 'primary')
      throw new PeerError('REJECTED', 'another epoch was promised meanwhile');
    const { tail, start } = this.#log.state(this.#shard);
    const before = request.from - 1;
    if (before < start.offset || before > tail)
      throw new PeerError('REJECTED', `the log has no offset ${request.from}`);
    const prevChain = before === start.offset ? start.chain : await storedChain(this.#log, this.#shard, before);
    assert(prevChain !== undefined, 'an entry above the start has a chain');
    const bytesMax = Math.min(request.bytesMax, PULL_BYTES);
    const entries = before === tail ? [] : await this.#log.scan(this.#shard, request.from, PULL_ENTRIES, bytesMax);
    return { entries, prevChain };
  }
}
