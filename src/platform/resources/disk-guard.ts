import { statfsSync } from 'node:fs';
import type { Clock } from '../../kernel/clock.js';

/** Space on the disk that holds a path. */
export interface DiskSpace {
  /** Bytes this process may still write. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Reads the space now; throws when it cannot. */
export type DiskProbe = () => DiskSpace;

/** The file system's own figures; a statfs takes microseconds. */
export function statfsProbe(path: string): DiskProbe {
  return () => {
    const { bavail, blocks, bsize } = statfsSync(path);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  };
}

/** What is admitted: an upsert stops at the reserve; a delete is small and the way out of a full disk. */
export type AdmissionKind = 'upsert' | 'delete';

export interface DiskGuardOptions {
  readonly probe: DiskProbe;
  readonly clock: Clock;
  /** Size of LevelDB's memory table and of its table files, as the log opens it: the reserve grows with them. */
  readonly writeBufferBytes: number;
  readonly fileBytesMax: number;
}

/** `full`: upserts are refused; `little`: they soon may be; `ample` also when nothing is known. */
export type DiskRoom = 'full' | 'little' | 'ample';

/** This close to the reserve a larger upsert is refused already. */
const FULL_BYTES = 2 * 2 ** 20;
/** So many reserves are room enough to take over what another disk has no room for. */
const AMPLE = 1.25;

/** A reading is used this long. */
const READING_MS_MAX = 1_000;
const MIB = 2 ** 20;

/**
 * Keeps upserts from filling the disk: LevelDB does not survive a full one, and to give space back it must first write
 * (replication 2.6: a write error ends the node). Below the reserve `admits` is false, until space returns.
 *
 * The reserve is what LevelDB may write before it frees anything. Level 0 stops writers at 12 tables of one memory table
 * each; with up to three more in logs and in flight that is 16 memory tables. A compaction of deeper levels takes inputs
 * of at most 25 table files and writes them anew before it deletes them. 16 MiB are for the manifest and what else is on
 * the way. With memory tables of 16 MiB and files of 8 MiB: 472 MiB. Yet no compaction writes more than is there: half
 * of the disk plus 4 MiB is always enough, whatever is stored. So of a 64 MiB disk 28 MiB can be used, of 4 GiB 3.5.
 *
 * Between readings every admitted byte counts twice, since it is in the log and in a table before the log is deleted.
 * After a second, or when a sixteenth of the reserve was admitted, the disk is asked again. One that cannot be asked
 * counts as full.
 */
export class DiskGuard {
  readonly #probe: DiskProbe;
  readonly #clock: Clock;
  readonly #reserveBytesMax: number;
  #space: DiskSpace = { freeBytes: 0, totalBytes: 0 };
  #readAtMs = -Infinity;
  #admittedBytes = 0;

  constructor({ probe, clock, writeBufferBytes, fileBytesMax }: DiskGuardOptions) {
    this.#probe = probe;
    this.#clock = clock;
    this.#reserveBytesMax = 16 * writeBufferBytes + 25 * fileBytesMax + 16 * MIB;
  }

  /** Whether `bytes` more may be written; counts them when they may. */
  admits(bytes: number, kind: AdmissionKind = 'upsert'): boolean {
    this.#refresh();
    const reserve = kind === 'upsert' ? this.reserveBytes : this.reserveBytes / 4;
    if (this.#free() - 2 * bytes < reserve) return false;
    this.#admittedBytes += 2 * bytes;
    return true;
  }

  /** Bytes that nobody asked about are being written: what a primary elsewhere admitted. */
  takes(bytes: number): void {
    this.#admittedBytes += 2 * bytes;
  }

  /** What there is room for here; see `admits`. */
  get roomFor(): 'upserts' | 'deletes' | 'nothing' {
    const { freeBytes, totalBytes, reserveBytes } = this;
    if (this.room({ freeBytes, totalBytes }) !== 'full') return 'upserts';
    return freeBytes >= reserveBytes / 4 ? 'deletes' : 'nothing';
  }

  /** Bytes free now, as far as is known; 0 when the disk cannot be asked. */
  get freeBytes(): number {
    this.#refresh();
    return Math.max(0, this.#free());
  }

  get totalBytes(): number {
    this.#refresh();
    return this.#space.totalBytes;
  }

  /** Bytes that upserts leave free. */
  get reserveBytes(): number {
    return this.#reserveOf(this.#space.totalBytes);
  }

  /** How another node, whose log is opened as this one's, stands with such a disk: whether it refuses upserts, or will soon. */
  room({ freeBytes, totalBytes }: DiskSpace): DiskRoom {
    const reserve = this.#reserveOf(totalBytes);
    if (totalBytes === 0) return 'ample';
    return freeBytes <= reserve + FULL_BYTES ? 'full' : freeBytes < AMPLE * reserve ? 'little' : 'ample';
  }

  #reserveOf(totalBytes: number): number {
    return Math.min(this.#reserveBytesMax, totalBytes / 2 + 4 * MIB);
  }

  #free(): number {
    return this.#space.freeBytes - this.#admittedBytes;
  }

  #refresh(): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#readAtMs < READING_MS_MAX && this.#admittedBytes <= this.reserveBytes / 16) return;
    this.#readAtMs = now;
    this.#admittedBytes = 0;
    try {
      this.#space = this.#probe();
    } catch {
      // Not knowing is treated as full: a refused upsert can be sent again, a failed log cannot.
      this.#space = { freeBytes: 0, totalBytes: this.#space.totalBytes };
    }
  }
}
