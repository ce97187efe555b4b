import type { NodeUuid } from '../../../kernel/peer.js';

interface Seed {
  readonly address: string;
  nodeUuid: NodeUuid | undefined;
  nextMs: number;
  inFlight: boolean;
}

/**
 * The configured seeds, asked who they are for as long as they are not members we know to be up (replication 8.3): this is
 * how the sides of a partition, or two clusters made by mistake, find each other.
 */
export class SeedContacts {
  readonly #seeds: readonly Seed[];

  constructor(addresses: readonly string[]) {
    this.#seeds = [...new Set(addresses)].map((address) => ({
      address,
      nodeUuid: undefined,
      nextMs: 0,
      inFlight: false,
    }));
  }

  /** Addresses to ask now. `known` says whether a seed, by uuid once it told it, is up as far as we know. */
  due(
    nowMs: number,
    everyMs: number,
    known: (address: string, nodeUuid: NodeUuid | undefined) => boolean,
  ): readonly string[] {
    const due = this.#seeds.filter(
      (seed) => !seed.inFlight && nowMs >= seed.nextMs && !known(seed.address, seed.nodeUuid),
    );
    for (const seed of due) {
      seed.inFlight = true;
      seed.nextMs = nowMs + everyMs;
    }
    return due.map((seed) => seed.address);
  }

  /** It answered, or (undefined) did not. */
  done(address: string, nodeUuid: NodeUuid | undefined): void {
    const seed = this.#seeds.find((candidate) => candidate.address === address);
    if (seed === undefined) return;
    seed.inFlight = false;
    seed.nodeUuid = nodeUuid ?? seed.nodeUuid;
  }
}
