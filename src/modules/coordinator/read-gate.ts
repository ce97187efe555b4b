import { NodeError } from '../../kernel/errors.js';
import type { LogStore } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { Position, Positions } from './core/positions.js';

/** How long a read waits for the index to reach the client's session (replication 7.2). */
const SESSION_WAIT_MS = 200;
const POLL_MS = 2;

/** Lets a read pass once the shards have applied what its session saw. */
export class ReadGate {
  readonly #replication: ReplicationService;
  readonly #log: LogStore;

  constructor(replication: ReplicationService, log: LogStore) {
    this.#replication = replication;
    this.#log = log;
  }

  /** @throws NodeError NOT_CAUGHT_UP when a shard does not reach its position in time, or its log does not contain it */
  async wait(session: Positions, shards: readonly number[], signal: AbortSignal): Promise<void> {
    for (const shard of shards) {
      const position = session.get(shard);
      if (position !== undefined) await this.#waitForShard(shard, position, signal);
    }
  }

  async #waitForShard(shard: number, position: Position, signal: AbortSignal): Promise<void> {
    if (!this.#contains(shard, position)) {
      throw new NodeError(
        'NOT_CAUGHT_UP',
        `the log of shard ${shard} does not contain what this session saw (epoch ${position.epoch}, offset ${position.offset})`,
      );
    }
    for (
      let waited = 0;
      (this.#replication.replica(shard)?.position.applied ?? 0) < position.offset;
      waited += POLL_MS
    ) {
      if (waited >= SESSION_WAIT_MS || signal.aborted) {
        throw new NodeError(
          'NOT_CAUGHT_UP',
          `shard ${shard} has not applied offset ${position.offset} yet; try again`,
          { retryAfterMs: SESSION_WAIT_MS },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** A token is met only by a log whose history contains it (replication 7.2). */
  #contains(shard: number, position: Position): boolean {
    const { history, tail } = this.#log.state(shard);
    const at = history.findLastIndex((reign) => reign.start <= position.offset);
    return at >= 0 && history[at].epoch.num === position.epoch && position.offset <= tail;
  }
}
