import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { PassThrough } from 'node:stream';
import { createGzip } from 'node:zlib';

/** Lines into a file, compressed or not; `close` resolves when they are on disk. */
export class LineWriter {
  readonly #path: string;
  readonly #source = new PassThrough({ highWaterMark: 256 * 1024 });
  readonly #done: Promise<void>;

  /** @param flags `wx` refuses a file that is there, `w` replaces it */
  constructor(path: string, gzip: boolean, flags: 'w' | 'wx') {
    this.#path = path;
    const file = createWriteStream(path, { flags });
    this.#done = gzip ? pipeline(this.#source, createGzip({ level: 6 }), file) : pipeline(this.#source, file);
    this.#done.catch((error: unknown) =>
      this.#source.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async write(line: string): Promise<void> {
    if (this.#source.destroyed) await this.#done; // Rejects with what went wrong.
    if (!this.#source.write(`${line}\n`)) await Promise.race([once(this.#source, 'drain'), this.#done]);
  }

  async close(): Promise<void> {
    this.#source.end();
    await this.#done;
    const file = await open(this.#path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Gives up; the file stays as far as it was written. */
  async abandon(): Promise<void> {
    this.#source.destroy(new Error('abandoned'));
    await this.#done.catch(() => undefined); // It rejects because of the line above.
  }
}
