import { assert } from '../../../kernel/assert.js';
import { fromHex } from '../../../kernel/bytes.js';
import { compareEpochs, EPOCH_LEAP_MAX, type Epoch } from '../../../kernel/epoch.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Out } from './effects.js';

/**
 * The epoch a copy promised to take nothing below (5.4), and the highest number it has heard of (1.2). The promise never
 * decreases; only what is synced of it may be said.
 */
export class EpochPromise {
  #epoch: Epoch;
  #synced: Epoch;
  #numSeen: number;

  /** @param stored what this disk promised */
  constructor(stored: Epoch, numSeen: number) {
    this.#epoch = stored;
    this.#synced = stored;
    this.#numSeen = numSeen;
  }

  get epoch(): Epoch {
    return this.#epoch;
  }

  /** False for a leap so far that it is an error or an attack, not a reign (1.2). */
  believes(num: number): boolean {
    return num - this.#numSeen <= EPOCH_LEAP_MAX;
  }

  /** Heard of an epoch; false when it is not believed. */
  saw(num: number): boolean {
    if (!this.believes(num)) return false;
    this.#numSeen = Math.max(this.#numSeen, num);
    return true;
  }

  /** An epoch of this node's own above all it has heard of; never the same one twice. */
  next(self: NodeUuid): Epoch {
    const uuid = fromHex(self);
    assert(uuid !== undefined, 'a node uuid is hexadecimal');
    this.#numSeen++;
    return { num: this.#numSeen, uuid };
  }

  /** What follows is so far above all it has heard of. */
  leap(by: number): void {
    this.#numSeen += by;
  }

  make(epoch: Epoch, out: Out): void {
    this.#epoch = epoch;
    out.push({ kind: 'promise', epoch });
  }

  synced(epoch: Epoch): void {
    if (compareEpochs(epoch, this.#synced) > 0) this.#synced = epoch;
  }

  /** Whether a promise this high is on the disk. */
  isSynced(epoch: Epoch): boolean {
    return compareEpochs(this.#synced, epoch) >= 0;
  }
}
