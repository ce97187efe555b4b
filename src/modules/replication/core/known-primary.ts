import { compareEpochs } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { ShardLeader } from './protocol.js';

/** Who is primary as far as a copy knows, itself included, and whether that one still says so (5.1). */
export class KnownPrimary {
  #named: ShardLeader | undefined;
  #denied = false;

  /** Undefined when none is known, or the known one says it is none. */
  get leader(): ShardLeader | undefined {
    return this.#denied ? undefined : this.#named;
  }

  /** Who was named last, also when it says that it is none. */
  get named(): ShardLeader | undefined {
    return this.#named;
  }

  isAbove(leader: ShardLeader): boolean {
    return this.#named === undefined || compareEpochs(leader.epoch, this.#named.epoch) > 0;
  }

  is(leader: ShardLeader): void {
    this.#named = leader;
    this.#denied = false;
  }

  /** The known primary reigns no more: it says so, or was this copy. */
  denies(): void {
    this.#denied = true;
  }

  /** A node says that it does not reign. */
  deniedBy(node: NodeUuid): void {
    if (this.#named?.node === node) this.#denied = true;
  }

  /** Somebody saw it alive. */
  lives(): void {
    this.#denied = false;
  }
}
