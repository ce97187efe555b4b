import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageFailedError } from '../../log/log-store.js';
import { systemErrorCode } from './checkpoint-files.js';
import type { Hasher } from '../../../kernel/hasher.js';
import {
  CheckpointDamagedError,
  type CheckpointCollection,
  type CheckpointFile,
  type CheckpointManifest,
  type CheckpointRef,
} from '../core/index-host.js';
import type { CheckpointPart, CheckpointSource } from '../shard-ports.js';

/** Checkpoints of a shard that are kept: the newest, and one to fall back to. */
export const CHECKPOINTS_KEPT = 2;
const MANIFEST = 'manifest.json';
/** Digits of an offset in a directory's name, so that names sort as offsets do. */
const OFFSET_DIGITS = 16;
const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;
/** Of a checkpoint's file that one question between nodes is answered with. */
export const CHECKPOINT_PART_BYTES = 1024 * 1024;

/**
 * The checkpoints on disk: `<directory>/<shard>/<offset>/`, each whole or not there. A checkpoint is written under
 * another name, every file synced, the manifest last, then renamed, then the parent is synced.
 */
export class CheckpointStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The checkpoints of a shard that have a readable manifest, newest first. Leftovers of unfinished ones are removed. */
  async list(shard: number): Promise<CheckpointRef[]> {
    const parent = this.#of(shard);
    const refs: CheckpointRef[] = [];
    for (const name of await namesIn(parent)) {
      const directory = join(parent, name);
      const manifest = name.length === OFFSET_DIGITS && /^\d+$/.test(name) ? await readManifest(directory) : undefined;
      if (manifest?.shard === shard && manifest.offset === Number(name)) refs.push({ directory, manifest });
      else await rm(directory, { recursive: true, force: true });
    }
    return refs.sort((a, b) => b.manifest.offset - a.manifest.offset);
  }

  /** Makes an empty directory to write a checkpoint into. */
  async begin(shard: number): Promise<string> {
    const directory = join(this.#of(shard), 'unfinished');
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    return directory;
  }

  /** Names a written checkpoint, so that it counts. */
  async commit(directory: string, manifest: CheckpointManifest): Promise<CheckpointRef> {
    const parent = this.#of(manifest.shard);
    const handle = await open(join(directory, MANIFEST), 'wx');
    try {
      await handle.writeFile(`${JSON.stringify(manifest, undefined, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await syncDirectory(directory);
    const named = join(parent, String(manifest.offset).padStart(OFFSET_DIGITS, '0'));
    await rm(named, { recursive: true, force: true });
    await rename(directory, named);
    await syncDirectory(parent);
    return { directory: named, manifest };
  }

  /**
   * Bytes of one of a checkpoint's files from `from` on: a part's worth, fewer at the end.
   * @param name '' is the manifest
   * @returns undefined when there is no such file, or no more
   */
  async part({ directory, manifest }: CheckpointRef, name: string, from: number): Promise<Uint8Array | undefined> {
    const known = manifest.collections.some(({ files }) => files.some((file) => file.name === name));
    if (name !== '' && !known) return undefined;
    try {
      const handle = await open(join(directory, name === '' ? MANIFEST : name), 'r');
      try {
        const bytes = new Uint8Array(CHECKPOINT_PART_BYTES);
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, from + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      } finally {
        await handle.close();
      }
    } catch (error) {
      // A newer checkpoint took its place.
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /**
   * Writes a checkpoint of the same shard of another node, without naming it: `commit` makes it count.
   * @param wanted whether its files are to be fetched
   * @returns undefined when it is not wanted
   * @throws CheckpointDamagedError when it is not what its manifest says; nothing is left of it then
   */
  async receive(
    shard: number,
    source: CheckpointSource,
    wanted: (manifest: CheckpointManifest) => boolean,
    hasher: Hasher,
  ): Promise<CheckpointRef | undefined> {
    const { offset, manifest } = await receivedManifest(shard, source);
    if (!wanted(manifest)) return undefined;
    const directory = join(this.#of(shard), 'received');
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    try {
      const files = manifest.collections.flatMap((collection) => collection.files);
      for (const file of files)
        await receiveFile(directory, file, (from) => source.part(offset, file.name, from), hasher);
    } catch (error) {
      await this.remove(directory);
      // Opening the shard removes what is not whole.
      if (systemErrorCode(error) === 'ENOENT')
        throw new CheckpointDamagedError('the shard was opened again meanwhile', { cause: error });
      throw error;
    }
    return { directory, manifest };
  }

  async remove(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true });
  }

  /** All of a shard. */
  async removeAll(shard: number): Promise<void> {
    await rm(this.#of(shard), { recursive: true, force: true });
  }

  #of(shard: number): string {
    return join(this.#directory, String(shard));
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw new StorageFailedError(
      `the checkpoints in ${directory} cannot be read: ${error instanceof Error ? error.message : String(error)}. Check their rights, or delete the directory: indexes are rebuilt from the log.`,
      { cause: error },
    );
  }
}

/** @throws CheckpointDamagedError */
async function receivedManifest(
  shard: number,
  source: CheckpointSource,
): Promise<{ readonly offset: number; readonly manifest: CheckpointManifest }> {
  const parts: Uint8Array[] = [];
  let offset = 0;
  let bytes = 0;
  for (let part = await source.part(0, '', 0); ; part = await source.part(offset, '', bytes)) {
    ({ offset } = part);
    parts.push(part.bytes);
    bytes += part.bytes.length;
    if (bytes > MANIFEST_BYTES_MAX) throw new CheckpointDamagedError('its manifest is too large');
    if (part.bytes.length < CHECKPOINT_PART_BYTES) break;
  }
  const manifest = manifestOf(jsonOf(Buffer.concat(parts).toString('utf8')));
  if (manifest?.shard !== shard || manifest.offset !== offset)
    throw new CheckpointDamagedError(`its manifest is not of shard ${shard} at offset ${offset}`);
  return { offset, manifest };
}

/** Writes a file from its parts, and syncs it. @throws CheckpointDamagedError when it is another one than was expected */
async function receiveFile(
  directory: string,
  { name, bytes, crc32 }: CheckpointFile,
  part: (from: number) => Promise<CheckpointPart>,
  hasher: Hasher,
): Promise<void> {
  const handle = await open(join(directory, name), 'wx');
  try {
    let sum = 0;
    let written = 0;
    while (written < bytes) {
      const { bytes: next } = await part(written);
      if (next.length === 0 || written + next.length > bytes) break;
      await handle.writeFile(next);
      sum = hasher.crc32(next, sum);
      written += next.length;
    }
    if (written !== bytes || sum !== crc32) throw new CheckpointDamagedError(`${name} came damaged`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Undefined when there is none, or none this version can read: the checkpoint is not used then. */
async function readManifest(directory: string): Promise<CheckpointManifest | undefined> {
  let text: string;
  try {
    const bytes = await readFile(join(directory, MANIFEST));
    if (bytes.length > MANIFEST_BYTES_MAX) return undefined;
    text = bytes.toString('utf8');
  } catch (error) {
    if (systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
  return manifestOf(jsonOf(text));
}

/** Undefined when it is none. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

type Json = Readonly<Record<string, unknown>>;

function manifestOf(json: unknown): CheckpointManifest | undefined {
  if (!isObject(json) || json['format'] !== 2) return undefined;
  const { shard, offset, chain, digest, collections, passedOver } = json;
  if (!isCount(shard) || !isCount(offset) || typeof chain !== 'string' || typeof digest !== 'string') return undefined;
  if (!isListOf(collections, isCollection) || !isListOf(passedOver, isCount)) return undefined;
  return { format: 2, shard, offset, chain, digest, collections, passedOver };
}

function isCollection(json: unknown): json is CheckpointCollection {
  if (!isObject(json)) return false;
  const { id, documents, offset, digest, files } = json;
  return isCount(id) && isCount(documents) && isCount(offset) && typeof digest === 'string' && isListOf(files, isFile);
}

/** Names stay inside the checkpoint's directory. */
function isFile(json: unknown): json is CheckpointFile {
  if (!isObject(json)) return false;
  const { name, bytes, crc32 } = json;
  return typeof name === 'string' && /^\d+\.[a-z]+$/.test(name) && isCount(bytes) && isCount(crc32);
}

function isObject(json: unknown): json is Json {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function isCount(json: unknown): json is number {
  return Number.isSafeInteger(json) && (json as number) >= 0;
}

function isListOf<T>(json: unknown, is: (item: unknown) => item is T): json is readonly T[] {
  return Array.isArray(json) && json.every(is);
}
