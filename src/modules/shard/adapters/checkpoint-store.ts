import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageFailedError } from '../../log/log-store.js';
import { systemErrorCode } from './checkpoint-files.js';
import type { CheckpointCollection, CheckpointFile, CheckpointManifest, CheckpointRef } from '../core/index-host.js';

/** Checkpoints of a shard that are kept: the newest, and one to fall back to. */
export const CHECKPOINTS_KEPT = 2;
const MANIFEST = 'manifest.json';
/** Digits of an offset in a directory's name, so that names sort as offsets do. */
const OFFSET_DIGITS = 16;
const MANIFEST_BYTES_MAX = 16 * 1024 * 1024;

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
  try {
    return manifestOf(JSON.parse(text));
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
