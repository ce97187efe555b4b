import type { Heartbeat } from '../membership-peers.js';
import type { NodeLoad } from './node-record.js';
import { PeerHealth } from './peer-health.js';
import { Transitions } from './flapping.js';

/** What a node said of itself in its last heartbeat, outside the view. */
export interface Told {
  readonly load: NodeLoad;
  readonly positions: Uint8Array;
  readonly mapEpoch: number;
  /** Monotonic time at which we heard it. */
  readonly atMs: number;
}

/** Another node as this one deals with it: whether or not the view has it yet. */
export class Peer {
  health: PeerHealth;
  readonly transitions = new Transitions();
  /** When the next heartbeat to it is due. */
  nextBeatMs: number;
  beatsInFlight = 0;
  exchangesInFlight = 0;
  told: Told | undefined;
  /** How far its wall clock is ahead of ours. */
  clockOffsetMs: number | undefined;
  /** Since when it says that its map does not know us; undefined: it does not say so. */
  disownedSinceMs: number | undefined;
  /** When the view first held it UNAVAILABLE. */
  unavailableSinceMs: number | undefined;
  /** Where it was met last: there it is looked for while it is not up, and while no record says. */
  metAt: string | undefined;
  /** Raised alarms, so that each is told once. */
  readonly alarms = { skewed: false, flapping: false, slow: false, refused: false };

  constructor(nowMs: number) {
    this.health = new PeerHealth(nowMs);
    this.nextBeatMs = nowMs;
  }

  tells(beat: Heartbeat, nowMs: number): void {
    this.told = { load: beat.load, positions: beat.positions, mapEpoch: beat.mapEpoch, atMs: nowMs };
  }
}
