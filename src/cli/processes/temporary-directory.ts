import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary directory that goes when it is disposed of, or when the process ends without that. */
export class TemporaryDirectory {
  readonly #removeNow = (): void => rmSync(this.path, { recursive: true, force: true, maxRetries: 3 });

  private constructor(readonly path: string) {
    process.once('exit', this.#removeNow);
  }

  static async make(prefix: string): Promise<TemporaryDirectory> {
    return new TemporaryDirectory(await mkdtemp(join(tmpdir(), prefix)));
  }

  async remove(): Promise<void> {
    process.removeListener('exit', this.#removeNow);
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 });
  }
}
