import { closeSync, fstatSync, openSync, readSync, writev } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Hasher } from '../../../kernel/hasher.js';
import { CheckpointDamagedError, type CheckpointFile } from '../core/index-host.js';

const written = promisify(writev);

const CHUNK_BYTES = 1 << 20;
/** Writers that share the thread give it away once they have had it for so long. */
const TAKEN_MS = 2;

/**
 * Lets others have the thread now and then: not at each chance, since under load it is not had again for tens of
 * milliseconds.
 */
export class ThreadShare {
  #takenAtMs = performance.now();
  #given: Promise<void> | undefined;

  /** Undefined while the thread may be kept; else resolves in another turn of it, the same for all who share. */
  due(): Promise<void> | undefined {
    if (this.#given === undefined && performance.now() - this.#takenAtMs < TAKEN_MS) return undefined;
    return (this.#given ??= setImmediate().then(() => {
      this.#given = undefined;
      this.#takenAtMs = performance.now();
    }));
  }
}

/**
 * Writes a new file from its parts and says what to expect of it; it is not synced. Others have the thread at parts of
 * nothing, and for each MiB while that is written.
 */
export async function writeFile(
  directory: string,
  name: string,
  parts: Iterable<Uint8Array>,
  hasher: Hasher,
  thread: ThreadShare,
): Promise<CheckpointFile> {
  const handle = openSync(join(directory, name), 'wx');
  try {
    let bytes = 0;
    let crc32 = 0;
    let waiting: Uint8Array[] = [];
    let waitingBytes = 0;
    const flush = async (): Promise<void> => {
      const wanted = waitingBytes;
      const { bytesWritten } = await written(handle, waiting);
      if (bytesWritten !== wanted) throw new Error(`${name}: only ${bytesWritten} of ${wanted} bytes were written`);
      waiting = [];
      waitingBytes = 0;
    };
    for (const part of parts) {
      // zlib starts over from 0 when it is given nothing.
      if (part.length === 0) {
        const due = thread.due();
        if (due !== undefined) await due;
        continue;
      }
      crc32 = hasher.crc32(part, crc32);
      bytes += part.length;
      waiting.push(part);
      waitingBytes += part.length;
      if (waitingBytes >= CHUNK_BYTES) await flush();
    }
    if (waitingBytes > 0) await flush();
    return { name, bytes, crc32 };
  } finally {
    closeSync(handle);
  }
}

/** Syncs a file that is written. */
export async function syncFile(directory: string, name: string): Promise<void> {
  const handle = await open(join(directory, name), 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs a file that somebody else wrote, reads it back and says what to expect of it. */
export async function sealFile(directory: string, name: string, hasher: Hasher): Promise<CheckpointFile> {
  const handle = await open(join(directory, name), 'r+');
  try {
    await handle.sync();
    const chunk = new Uint8Array(CHUNK_BYTES);
    let bytes = 0;
    let crc32 = 0;
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, bytes);
      if (bytesRead === 0) break;
      crc32 = hasher.crc32(chunk.subarray(0, bytesRead), crc32);
      bytes += bytesRead;
    }
    const { size } = await handle.stat();
    if (size !== bytes) throw new Error(`${name}: ${bytes} of ${size} bytes could be read back`);
    return { name, bytes, crc32 };
  } finally {
    await handle.close();
  }
}

/**
 * Reads a file of a checkpoint into buffers the caller gives one after the other, and checks its length and sum at the
 * end: nothing read may be trusted before this returns.
 * @param nextBuffer where the next bytes go; asked until the file is read. The last one may stay partly filled.
 * @throws CheckpointDamagedError
 */
export function readFileInto(
  directory: string,
  file: CheckpointFile,
  nextBuffer: (bytesLeft: number) => Uint8Array,
  hasher: Hasher,
): void {
  const path = join(directory, file.name);
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw new CheckpointDamagedError(`${path} cannot be opened`, { cause: error });
  }
  try {
    const { size } = fstatSync(handle);
    if (size !== file.bytes) throw new CheckpointDamagedError(`${path} has ${size} bytes instead of ${file.bytes}`);
    let at = 0;
    let crc32 = 0;
    while (at < size) {
      const buffer = nextBuffer(size - at);
      const wanted = Math.min(buffer.length, size - at);
      for (let filled = 0; filled < wanted;) {
        const read = readSync(handle, buffer, filled, wanted - filled, at + filled);
        if (read === 0) throw new CheckpointDamagedError(`${path} ends early`);
        filled += read;
      }
      crc32 = hasher.crc32(buffer.subarray(0, wanted), crc32);
      at += wanted;
    }
    if (crc32 !== file.crc32) throw new CheckpointDamagedError(`${path} is damaged: its sum differs`);
  } catch (error) {
    if (error instanceof CheckpointDamagedError) throw error;
    throw new CheckpointDamagedError(`${path} cannot be read`, { cause: error });
  } finally {
    closeSync(handle);
  }
}

/** The whole file, checked. @throws CheckpointDamagedError */
export function readFile(directory: string, file: CheckpointFile, hasher: Hasher): Uint8Array {
  const bytes = new Uint8Array(file.bytes);
  readFileInto(directory, file, () => bytes, hasher);
  return bytes;
}

/** Checks a file without keeping it. @throws CheckpointDamagedError */
export function checkFile(directory: string, file: CheckpointFile, hasher: Hasher): void {
  const chunk = new Uint8Array(CHUNK_BYTES);
  readFileInto(directory, file, () => chunk, hasher);
}

/** `ENOENT` and its like; undefined for an error that does not come from the system. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
