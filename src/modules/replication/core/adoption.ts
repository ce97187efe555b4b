import type { Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Out } from './effects.js';
import { forkOf } from './fork.js';
import type { LogEnd } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';

const PULL_BYTES = 1024 * 1024;

/** A granter's log that goes further, on its way into that of a candidate (5.5): cut to the fork, then the rest is pulled. */
export class Adoption {
  readonly from: NodeUuid;
  readonly #log: ReplicaLog;
  readonly #epoch: Epoch;
  readonly #end: LogEnd;
  #phase: 'cutting' | 'pulling' = 'pulling';

  constructor(log: ReplicaLog, epoch: Epoch, from: NodeUuid, end: LogEnd) {
    this.from = from;
    this.#log = log;
    this.#epoch = epoch;
    this.#end = end;
  }

  get phase(): 'cutting' | 'pulling' {
    return this.#phase;
  }

  /** Cuts this log to the fork. False: one of the logs is compacted beyond it, and only a snapshot would do. */
  begin(out: Out): boolean {
    const fork = forkOf(this.#log.end(), this.#end);
    if (fork < this.#log.start || fork < this.#end.start) return false;
    if (fork < this.#log.tail) {
      this.#phase = 'cutting';
      this.#log.alter('cutting');
      out.push({ kind: 'truncate', to: fork });
    }
    return true;
  }

  /** Pulls what is next, when what came before is durable. True: all of it is here. */
  proceed(out: Out): boolean {
    const { shard, durable, tail } = this.#log;
    if (durable !== tail) return false;
    if (tail >= this.#end.lastOffset) return true;
    this.#phase = 'pulling';
    out.push({
      kind: 'pull',
      to: this.from,
      request: { shard, epoch: this.#epoch, from: tail + 1, bytesMax: PULL_BYTES },
    });
    return false;
  }
}
