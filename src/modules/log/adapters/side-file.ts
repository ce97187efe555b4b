import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { assert } from '../../../kernel/assert.js';
import { fromHex, fromUtf8, toHex, utf8 } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { Remembered, type SideMemory, type SideRecord } from './side-memory.js';

const SLOTS = 2;
/** Room for 257 shards of at most 200 bytes each. */
const SLOT_BYTES = 64 * 1024;
const HEADER_BYTES = 12;
const MAGIC = 0x53505354;
const WRITE_DELAY_MS = 50;

/**
 * A small file beside the database that remembers the highest synced tail of every shard (replication 2.6), so that a
 * database that went back (a restored copy, a disk that lied) is noticed on open. Two slots are written in turn, each with
 * its sequence number and crc32: a torn write leaves the other one. It is written after synced batches, at most every 50 ms,
 * and not synced itself: it may lag behind the log, which is safe, but never be ahead of it. Before the log goes back on
 * purpose it is written and synced, so that it is not ahead then either.
 *
 * A slot: magic u32, length u32, crc32 u32 of the JSON text that follows,
 * `{"sequence":1,"shards":[{"shard":0,"tail":1,"promise":[2,"<uuid in hex>"]}]}`.
 */
export class SideFile implements SideMemory {
  private readonly remembered = new Remembered();
  private sequence = 0;
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<void> = Promise.resolve();

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly hasher: Hasher,
    private readonly warn: (message: string) => void,
  ) {}

  /** Opens or makes the file. Unreadable slots are reported through `warn`, never fatal: the file is a second net. */
  static async open(path: string, hasher: Hasher, warn: (message: string) => void): Promise<SideFile> {
    const file = await open(path, 'a+').then(async (made) => {
      await made.close();
      return open(path, 'r+');
    });
    const side = new SideFile(path, file, hasher, warn);
    try {
      await side.load();
    } catch (error) {
      await file.close();
      throw error;
    }
    return side;
  }

  /** What it remembers, by shard. */
  records(): readonly SideRecord[] {
    return this.remembered.records();
  }

  /** Remembers that the log of `shard` is on disk up to `tail`; written soon. */
  note(shard: number, tail: number): void {
    if (this.remembered.raise(shard, tail, undefined)) this.writeSoon();
  }

  notePromise(shard: number, promise: Epoch): void {
    if (this.remembered.raise(shard, 0, promise)) this.writeSoon();
  }

  /** Both slots are written and synced: a later torn write must not leave the higher tail. */
  async lower(shard: number, tail: number): Promise<void> {
    if (!this.remembered.lower(shard, tail)) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    const written = this.writing.then(async () => {
      for (let slot = 0; slot < SLOTS; slot++) {
        await this.write();
        await this.file.datasync();
      }
    });
    this.writing = written.catch(() => undefined);
    await written;
  }

  /** Writes now what was noted. Never rejects: a file that cannot be written is a lost net, not a lost log. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.writing = this.writing
      .then(() => this.write())
      .catch((error: unknown) => {
        this.warn(`${this.path} cannot be written (${String(error)}): a log that went back would go unnoticed`);
      });
    return this.writing;
  }

  async close(): Promise<void> {
    await this.flush();
    await this.file.close();
  }

  /** Closes the file as it is. */
  async abandon(): Promise<void> {
    clearTimeout(this.timer);
    await this.writing;
    await this.file.close();
  }

  private writeSoon(): void {
    this.timer ??= setTimeout(() => void this.flush(), WRITE_DELAY_MS).unref();
  }

  private async write(): Promise<void> {
    this.sequence++;
    const shards = this.records().map(({ promise, ...record }) => ({
      ...record,
      ...(promise === undefined ? {} : { promise: [promise.num, toHex(promise.uuid)] }),
    }));
    const text = utf8(JSON.stringify({ sequence: this.sequence, shards }));
    assert(text.length <= SLOT_BYTES - HEADER_BYTES, 'the records of all shards fit into a slot of the side file');
    const slot = new Uint8Array(HEADER_BYTES + text.length);
    const view = new DataView(slot.buffer);
    view.setUint32(0, MAGIC);
    view.setUint32(4, text.length);
    view.setUint32(8, this.hasher.crc32(text));
    slot.set(text, HEADER_BYTES);
    await this.file.write(slot, 0, slot.length, (this.sequence % SLOTS) * SLOT_BYTES);
  }

  private async load(): Promise<void> {
    const bytes = new Uint8Array(SLOTS * SLOT_BYTES);
    const { bytesRead } = await this.file.read(bytes, 0, bytes.length, 0);
    if (bytesRead < bytes.length) {
      // Takes its room on the disk once, so that a full disk cannot meet it later.
      await this.file.write(bytes, bytesRead, bytes.length - bytesRead, bytesRead);
    }
    let readable = 0;
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
      const content = this.parse(bytes.subarray(at, at + SLOT_BYTES));
      if (content === undefined) continue;
      readable++;
      if (content.sequence <= this.sequence) continue;
      this.sequence = content.sequence;
      this.remembered.clear();
      for (const { shard, tail, promise } of content.shards) {
        const uuid = promise === undefined ? undefined : fromHex(promise[1]);
        this.remembered.raise(
          shard,
          tail,
          promise === undefined || uuid === undefined ? undefined : { num: promise[0], uuid },
        );
      }
    }
    if (readable === 0 && bytes.some((byte) => byte !== 0)) {
      this.warn(`${this.path} is damaged: a log that went back since the last start goes unnoticed`);
    }
  }

  private parse(slot: Uint8Array): SlotContent | undefined {
    const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
    const length = view.getUint32(4);
    if (view.getUint32(0) !== MAGIC || length > SLOT_BYTES - HEADER_BYTES) return undefined;
    const text = slot.subarray(HEADER_BYTES, HEADER_BYTES + length);
    if (view.getUint32(8) !== this.hasher.crc32(text)) return undefined;
    return JSON.parse(fromUtf8(text)) as SlotContent;
  }
}

interface SlotContent {
  readonly sequence: number;
  readonly shards: readonly {
    readonly shard: number;
    readonly tail: number;
    readonly promise?: readonly [number, string];
  }[];
}
