import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { SpectorClient } from '../../client/index.js';
import { withoutVersion } from '../commands/export.js';
import { type FailedLine, runIngest } from '../ingest/ingest-run.js';
import { storedDocuments } from './backup-run.js';
import { ContentDigest } from './content-digest.js';
import { type BackupCollection, type BackupManifest, fileSha256 } from './manifest.js';

const BATCH_LINES = 500;
const CONCURRENCY = 2;

export interface RestoreOptions {
  readonly client: SpectorClient;
  readonly directory: string;
  readonly manifest: BackupManifest;
  readonly signal: AbortSignal;
  /** Documents stored, then documents compared, of so many. */
  readonly progress: (phase: 'store' | 'compare', done: number) => void;
}

export interface RestoreReport {
  readonly documents: number;
  readonly digest: string;
  /** What differs from the manifest; empty when the copy is true. */
  readonly differences: readonly string[];
}

/**
 * Stores a backup into an empty node of any shard count, then reads everything back and compares count and content
 * digest of every collection with the manifest. Versions are the new node's own.
 */
export async function runRestore(options: RestoreOptions): Promise<RestoreReport> {
  const { client, directory, manifest, signal } = options;
  for (const { file, sha256 } of manifest.collections) {
    if ((await fileSha256(join(directory, file))) !== sha256)
      throw new Error(`${join(directory, file)} is damaged: its SHA-256 is not that of the manifest`);
  }
  await requireEmpty(client, manifest, signal);
  const run = randomBytes(8).toString('hex');
  let stored = 0;
  for (const collection of manifest.collections) {
    if (collection.name !== 'default') {
      const { name, dimensions, similarity, hnsw } = collection;
      await client.collections.put(
        name,
        { ...(dimensions === null ? {} : { dimensions }), similarity, hnsw },
        { signal },
      );
    }
    const before = stored;
    await runIngest({
      client,
      chunks: lines(join(directory, collection.file)),
      collection: collection.name,
      batch: BATCH_LINES,
      concurrency: CONCURRENCY,
      run: `${run}:${collection.name}`,
      start: { line: 0, offset: 0 },
      signal,
      settled: async ({ success, failures }) => {
        if (failures.length > 0) throw new Error(refusal(collection, failures[0]));
        stored = before + success;
        options.progress('store', stored);
      },
    });
  }
  return compare(options);
}

async function compare({ client, manifest, signal, progress }: RestoreOptions): Promise<RestoreReport> {
  const total = new ContentDigest();
  const differences: string[] = [];
  let documents = 0;
  for (const expected of manifest.collections) {
    const digest = new ContentDigest();
    let count = 0;
    const all = { limit: 500, withTitle: true, withContent: true, withMetadata: true, withVector: true } as const;
    for await (const document of client.scroll(all, { collection: expected.name, consistency: 'primary', signal })) {
      digest.add(expected.name, document);
      count++;
      progress('compare', ++documents);
    }
    total.merge(digest);
    if (count !== expected.documents)
      differences.push(`collection ${expected.name} has ${count} documents instead of ${expected.documents}`);
    else if (digest.hex !== expected.digest)
      differences.push(
        `collection ${expected.name} has the content digest ${digest.hex} instead of ${expected.digest}`,
      );
  }
  return { documents, digest: total.hex, differences };
}

async function requireEmpty(client: SpectorClient, manifest: BackupManifest, signal: AbortSignal): Promise<void> {
  const { documents } = await client.status({ signal });
  if (documents > 0) throw new Error(`the node holds ${documents} documents; a backup is restored into an empty one`);
  const wanted = manifest.collections.find(({ name }) => name === 'default');
  if (wanted === undefined || wanted.documents === 0) return;
  const present = await client.collections.get('default', { signal });
  const fits =
    present.similarity === wanted.similarity && (present.dimensions ?? wanted.dimensions) === wanted.dimensions;
  if (fits) return;
  throw new Error(
    `the default collection of the node compares by ${present.similarity} in ${present.dimensions ?? 'any number of'} dimensions, that of the backup by ${wanted.similarity} in ${wanted.dimensions ?? 'any number'}; ` +
      `start the empty node with SPECTOR_SIMILARITY=${wanted.similarity} and without SPECTOR_DIMENSIONS`,
  );
}

async function* lines(path: string): AsyncGenerator<Buffer, void, undefined> {
  for await (const document of storedDocuments(path))
    yield Buffer.from(`${JSON.stringify(withoutVersion(document))}\n`);
}

function refusal(collection: BackupCollection, { line, id, code, detail }: FailedLine): string {
  return `the node refused document ${id ?? `on line ${line}`} of collection ${collection.name}: ${code}: ${detail}`;
}
