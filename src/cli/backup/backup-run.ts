import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Collection, Document, SpectorClient } from '../../client/index.js';
import { makeDirectory } from '../../platform/resources/make-directory.js';
import { openFile } from '../ingest/input.js';
import { rawLines } from '../ingest/lines.js';
import { LineWriter } from '../line-writer.js';
import { UsageError } from '../usage-error.js';
import { ContentDigest } from './content-digest.js';
import { LogTail, touchedKey } from './log-tail.js';
import {
  type BackupCollection,
  type BackupManifest,
  type BackupPosition,
  fileSha256,
  writeManifest,
} from './manifest.js';

/** Rounds of reading changed documents again; each is as short as the writes during the one before were few. */
const ROUNDS_MAX = 100;
/** Ids of one request. */
const IDS_MAX = 500;

export interface BackupOptions {
  readonly client: SpectorClient;
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Documents read so far, of about so many. */
  readonly progress: (done: number, total: number) => void;
}

/**
 * Copies all documents of a running node into a directory, as of one position of each shard's log: every write up to it
 * and none after, though writes go on. Collections and shards must stay as they are meanwhile.
 */
export async function runBackup(options: BackupOptions): Promise<BackupManifest> {
  await makeEmpty(options.directory);
  const written: string[] = [];
  try {
    return await copy(options, written);
  } catch (error) {
    for (const file of written) await rm(join(options.directory, file), { force: true });
    throw error;
  }
}

async function copy(options: BackupOptions, written: string[]): Promise<BackupManifest> {
  const { client, directory, signal } = options;
  const before = await client.status({ signal });
  const collections = await client.collections.list({ signal });
  const tails: LogTail[] = [];
  for (let shard = 0; shard < before.shardCount; shard++) tails.push(await LogTail.begin(client, shard, signal));
  const tailOf = new Map(
    tails.flatMap((tail) => tail.stale().map(({ collection, id }) => [touchedKey(collection, id), tail])),
  );

  let done = 0;
  for (const [i, { name }] of collections.entries()) {
    written.push(scrolledName(i), documentsName(i));
    const writer = new LineWriter(join(directory, scrolledName(i)), true, 'wx');
    try {
      const all = { limit: 500, withTitle: true, withContent: true, withMetadata: true, withVector: true } as const;
      for await (const document of client.scroll(all, { collection: name, consistency: 'primary', signal })) {
        tailOf.get(touchedKey(name, document.id))?.see(name, document.id, document.version);
        await writer.write(JSON.stringify(document));
        options.progress(++done, Math.max(before.documents, done));
      }
      await writer.close();
    } catch (error) {
      await writer.abandon();
      throw error;
    }
  }
  for (const tail of tails) await tail.endScroll();

  const again = new Map<string, Document | undefined>();
  const positions: BackupPosition[] = [];
  for (const tail of tails)
    positions.push(await settle(client, tail, new Set(collections.map(({ name }) => name)), again, signal));

  const total = new ContentDigest();
  const copies: BackupCollection[] = [];
  for (const [i, collection] of collections.entries())
    copies.push(await finish(directory, i, collection, again, total));
  await unchanged(client, before.shardCount, collections, signal);
  const manifest: BackupManifest = {
    format: 1,
    createdAt: new Date().toISOString(),
    clusterId: before.clusterId,
    version: before.version,
    shardCount: before.shardCount,
    positions,
    collections: copies,
    documents: copies.reduce((sum, { documents }) => sum + documents, 0),
    digest: total.hex,
  };
  await writeManifest(directory, manifest);
  return manifest;
}

/** Reads the touched documents of a shard again until all that was read is the state at one offset of its log. */
async function settle(
  client: SpectorClient,
  tail: LogTail,
  names: ReadonlySet<string>,
  again: Map<string, Document | undefined>,
  signal: AbortSignal,
): Promise<BackupPosition> {
  for (let round = 0; !tail.settled; round++) {
    if (round === ROUNDS_MAX)
      throw new Error(`shard ${tail.shard} did not come to rest in ${ROUNDS_MAX} rounds; try again under fewer writes`);
    const ids = new Map<string, string[]>();
    for (const { collection, id } of tail.stale()) {
      const others = ids.get(collection);
      if (others === undefined) ids.set(collection, [id]);
      else others.push(id);
    }
    for (const [collection, wanted] of ids) {
      if (!names.has(collection)) throw new Error(`the collection ${collection} was made meanwhile; try again`);
      for (let at = 0; at < wanted.length; at += IDS_MAX) {
        const answer = await client.getMany(wanted.slice(at, at + IDS_MAX), {
          collection,
          withVector: true,
          consistency: 'primary',
          signal,
        });
        for (const document of answer.documents) {
          again.set(touchedKey(collection, document.id), document);
          tail.see(collection, document.id, document.version);
        }
        for (const id of answer.missing) {
          again.set(touchedKey(collection, id), undefined);
          tail.see(collection, id, undefined);
        }
      }
    }
    if (!tail.settled) await tail.advance();
  }
  const { offset, chain } = tail.position;
  const digest = await client.digest(tail.shard, { signal });
  return { shard: tail.shard, offset, chain, live: digest.offset === offset ? digest.live : null };
}

/** Makes the final file of a collection out of what was scrolled and what was read again. */
async function finish(
  directory: string,
  i: number,
  collection: Collection,
  again: ReadonlyMap<string, Document | undefined>,
  total: ContentDigest,
): Promise<BackupCollection> {
  const { name, dimensions, similarity, hnsw } = collection;
  const prefix = touchedKey(name, '');
  const replaced = [...again.keys()].some((key) => key.startsWith(prefix));
  const digest = new ContentDigest();
  let documents = 0;
  const writer = replaced ? new LineWriter(join(directory, documentsName(i)), true, 'wx') : undefined;
  const keep = async (document: Document): Promise<void> => {
    documents++;
    digest.add(name, document);
    await writer?.write(JSON.stringify(document));
  };
  try {
    for await (const document of storedDocuments(join(directory, scrolledName(i))))
      if (!again.has(touchedKey(name, document.id))) await keep(document);
    for (const [key, document] of again) if (document !== undefined && key.startsWith(prefix)) await keep(document);
    await writer?.close();
  } catch (error) {
    await writer?.abandon();
    throw error;
  }
  if (replaced) await rm(join(directory, scrolledName(i)));
  else await rename(join(directory, scrolledName(i)), join(directory, documentsName(i)));
  total.merge(digest);
  const file = documentsName(i);
  // `collection` is as it was at the start: a dimension the first vector has fixed meanwhile is told by the documents.
  return {
    name,
    dimensions,
    similarity,
    hnsw,
    documents,
    digest: digest.hex,
    file,
    sha256: await fileSha256(join(directory, file)),
  };
}

/** The documents in a file of a backup. */
export async function* storedDocuments(path: string): AsyncGenerator<Document, void, undefined> {
  const input = await openFile(path, 0);
  try {
    for await (const { content } of rawLines(input.chunks)) {
      if (content === undefined) throw new Error(`${path} holds a line longer than any document`);
      yield JSON.parse(content.toString()) as Document;
    }
  } finally {
    input.close();
  }
}

async function unchanged(
  client: SpectorClient,
  shardCount: number,
  collections: readonly Collection[],
  signal: AbortSignal,
): Promise<void> {
  const names = (all: readonly Collection[]): string => JSON.stringify(all.map(({ name }) => name).sort());
  const after = await client.status({ signal });
  if (after.shardCount !== shardCount || names(await client.collections.list({ signal })) !== names(collections)) {
    throw new Error('shards or collections changed meanwhile; try again');
  }
}

async function makeEmpty(directory: string): Promise<void> {
  await makeDirectory(directory);
  if ((await readdir(directory)).length > 0) throw new UsageError(`${directory} is not empty; name a new directory`);
}

function scrolledName(i: number): string {
  return `scrolled-${i}.ndjson.gz`;
}

function documentsName(i: number): string {
  return `documents-${i}.ndjson.gz`;
}
