/** What a node's disk has room for: also upserts; only deletes, which are small and the way out of a full disk; nothing. */
export type DiskRoom = 'upserts' | 'deletes' | 'nothing';

/** Once there was no room a follower waits until there has been some for so long: a disk at its reserve is not asked for more at each byte. */
const ROOM_AGAIN_MS = 5_000;

/**
 * Whether a follower takes entries, as far as its disk is concerned (5.8). Down to its reserve it takes none, so that it
 * never meets a full disk; unless its primary's disk is full as well: then only deletes come, and somebody must take them,
 * or no quorum could ever free space again.
 */
export class DiskHold {
  #untilMs = -Infinity;

  /** Whether it is to take none now. */
  holds(room: DiskRoom, isPrimaryFull: boolean, nowMs: number): boolean {
    if (room === 'nothing' || (room === 'deletes' && !isPrimaryFull)) this.#untilMs = nowMs + ROOM_AGAIN_MS;
    // Beside a full primary there is nothing to wait for.
    else if (room === 'deletes') this.#untilMs = nowMs;
    return nowMs < this.#untilMs;
  }
}
