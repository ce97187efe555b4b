import type { SeededRandom } from './seeded-random.js';

/** What one direction between two hosts does to messages. */
export interface PathFaults {
  /** Nothing comes through, and nobody is told. */
  blocked: boolean;
  /** Share of questions that vanish; on a stream, a retransmission. */
  dropRate: number;
  /** Share of questions that arrive twice. */
  duplicateRate: number;
  /** Share of messages on which the connection breaks. */
  resetRate: number;
  /** Each message takes a time of its own between these: so questions overtake each other. */
  delayMinMs: number;
  delayMaxMs: number;
}

export const HEALTHY_PATH: PathFaults = {
  blocked: false,
  dropRate: 0,
  duplicateRate: 0,
  resetRate: 0,
  delayMinMs: 0.2,
  delayMaxMs: 2,
};

/** What befell one message on its way. */
export interface Passage {
  readonly delayMs: number;
  readonly dropped: boolean;
  readonly duplicated: boolean;
  readonly reset: boolean;
}

/** One direction between two hosts. */
export class Path {
  readonly faults: PathFaults = { ...HEALTHY_PATH };
  /** Counts the times it was blocked: a wait for the end of one blockade is not deceived by the next. */
  blockades = 0;

  constructor(
    readonly from: string,
    readonly to: string,
    private readonly random: SeededRandom,
  ) {}

  /** Draws always the same number of times, whatever the faults: turning one off changes nothing else. */
  passage(): Passage {
    const { dropRate, duplicateRate, resetRate, delayMinMs, delayMaxMs } = this.faults;
    return {
      delayMs: this.random.between(delayMinMs, delayMaxMs),
      dropped: this.random.chance(dropRate),
      duplicated: this.random.chance(duplicateRate),
      reset: this.random.chance(resetRate),
    };
  }
}
