import { cursorAfter, type SnapshotCursor } from './core/snapshot.js';
import type { PrimaryMessage, SnapshotChunk } from './core/protocol.js';
import type { Link } from '../../kernel/link.js';
import type { SnapshotSource } from './snapshot-source.js';

/** Streams a snapshot to one follower, as fast as that stages it and no faster (replication 4.7). */
export class SnapshotSender {
  readonly #link: Link<PrimaryMessage>;
  readonly #source: SnapshotSource;
  readonly #sent: (entries: number, bytes: number) => void;
  readonly #staged: () => void;
  readonly #paced: (bytes: number) => Promise<void> | undefined;
  #cursor: SnapshotCursor;
  #credit = 0;
  #begun = false;
  #wake: (() => void) | undefined;
  #closed = false;

  /**
   * @param staged the follower has staged something of what was sent
   * @param paced resolves when more may be sent
   * @param after the last row the follower has already
   */
  constructor(
    link: Link<PrimaryMessage>,
    source: SnapshotSource,
    sent: (entries: number, bytes: number) => void,
    staged: () => void,
    paced: (bytes: number) => Promise<void> | undefined,
    after: Uint8Array | undefined,
  ) {
    this.#link = link;
    this.#source = source;
    this.#sent = sent;
    this.#staged = staged;
    this.#paced = paced;
    this.#cursor = { part: 'documents', after };
  }

  /** The follower is ready for more: at first, and when it has staged something. */
  credit(bytes: number): void {
    if (this.#closed) return;
    if (this.#begun && bytes > 0) this.#staged();
    this.#credit += bytes;
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** Resolves when the last chunk is sent, or the stream is gone. */
  async run(): Promise<void> {
    while (!this.#isClosed()) {
      if (this.#credit <= 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const chunk = await this.#source.next(this.#cursor);
      if (this.#isClosed()) return;
      const bytes = bytesOf(chunk);
      this.#credit -= bytes;
      this.#begun = true;
      this.#cursor = cursorAfter(chunk, this.#cursor, this.#source.shard);
      this.#sent(chunk.entries.length, bytes);
      if (!this.#link.send({ kind: 'chunk', chunk })) await this.#link.drained();
      if (chunk.last) return;
      await this.#paced(bytes);
    }
  }

  /** `close` may come while something is awaited. */
  #isClosed(): boolean {
    return this.#closed;
  }
}

/** What a chunk counts against the credit. */
export function bytesOf({ entries, operations }: SnapshotChunk): number {
  let bytes = 0;
  for (const entry of entries) bytes += entry.length;
  for (const { value } of operations) bytes += value.length;
  return bytes;
}
