import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { HnswSettings, Similarity } from '../../client/index.js';

/** What a backup holds; written last, so that a directory without one is no backup. Format 1. */
export interface BackupManifest {
  readonly format: 1;
  readonly createdAt: string;
  readonly clusterId: string;
  readonly version: string;
  readonly shardCount: number;
  /** Where in each shard's log the snapshot stands: it holds every write up to there and none after. */
  readonly positions: readonly BackupPosition[];
  readonly collections: readonly BackupCollection[];
  readonly documents: number;
  /** Content digest over all collections; see ContentDigest. */
  readonly digest: string;
}

export interface BackupPosition {
  readonly shard: number;
  readonly offset: number;
  readonly chain: string;
  /** The shard's live digest at this offset; null when writes went on before it could be read. */
  readonly live: string | null;
}

export interface BackupCollection {
  readonly name: string;
  readonly dimensions: number | null;
  readonly similarity: Similarity;
  readonly hnsw: HnswSettings;
  readonly documents: number;
  readonly digest: string;
  /** Name in the backup's directory: gzip, NDJSON, a document with its version a line. */
  readonly file: string;
  /** Hex, of the file as it is. */
  readonly sha256: string;
}

export const MANIFEST_NAME = 'manifest.json';

export async function writeManifest(directory: string, manifest: BackupManifest): Promise<void> {
  const file = await open(join(directory, MANIFEST_NAME), 'wx');
  try {
    await file.writeFile(`${JSON.stringify(manifest, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The manifest of a backup; rejects with a sentence when there is none or it is not whole. */
export async function readManifest(directory: string): Promise<BackupManifest> {
  const path = join(directory, MANIFEST_NAME);
  let manifest: Partial<BackupManifest> | null;
  try {
    manifest = JSON.parse(await readFile(path, 'utf8')) as Partial<BackupManifest> | null;
  } catch (cause) {
    throw new Error(`${directory} holds no whole backup: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  if (
    manifest?.format !== 1 ||
    !Array.isArray(manifest.collections) ||
    !Number.isSafeInteger(manifest.documents) ||
    typeof manifest.digest !== 'string'
  ) {
    throw new Error(`${path} is not a manifest of format 1; was it made by a newer version?`);
  }
  return manifest as BackupManifest;
}

/** SHA-256 of a file, in hex. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
