import { link } from 'node:fs/promises';
import { join } from 'node:path';
import { fromHex, toHex } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { AttributeIndex } from '../core/attribute-index.js';
import { decodeLabels, encodeLabels } from '../core/collection-codec.js';
import { CollectionIndex } from '../core/collection-index.js';
import { DIGEST_BYTES } from '../core/digest.js';
import { IndexDamagedError } from '../core/index-damaged-error.js';
import {
  CheckpointDamagedError,
  type CheckpointCollection,
  type CheckpointFile,
  type CheckpointRef,
} from '../core/index-host.js';
import { KeywordIndex } from '../core/keyword-index.js';
import type { LabelTable } from '../core/label-table.js';
import type { CollectionSpec } from '../core/search.js';
import type { VectorIndexes } from '../core/vector-index.js';
import { PAGE_VECTORS, VectorPages } from '../core/vector-pages.js';
import { VectorTable, type LoadedVectors } from '../core/vector-table.js';
import {
  checkFile,
  readFile,
  readFileInto,
  sealFile,
  syncFile,
  systemErrorCode,
  ThreadShare,
  writeFile,
} from './checkpoint-files.js';

/**
 * The files of one collection in a checkpoint, `<collectionId>.<part>`:
 *
 * | part | what |
 * |---|---|
 * | labels | the table of labels, the tombstones, who has a vector and who is in the graph |
 * | keywords, attributes | the two indexes, as they serialize themselves |
 * | vectors | float32 by label, as they are in memory; only with vectors |
 * | graph | the graph, as its technology writes it; only with vectors |
 */
type Part = 'labels' | 'keywords' | 'attributes' | 'vectors' | 'graph';

/** A collection in the files of a checkpoint. */
export interface WrittenCollection {
  /** Syncs its files, and says what to expect of them. */
  readonly seal: () => Promise<CheckpointCollection>;
}

/**
 * Writes a collection; nothing may be applied to it meanwhile. All files at once, and none is synced yet: under load each
 * step of a file costs a turn of the thread, and whoever writes documents waits for all of them.
 */
export async function writeCollection(
  collection: CollectionIndex,
  directory: string,
  hasher: Hasher,
): Promise<WrittenCollection> {
  const { spec, labels, tombstones, changedAt, documents } = collection;
  const name = (part: Part): string => `${spec.id}.${part}`;
  const thread = new ThreadShare();
  const write = (part: Part, parts: Iterable<Uint8Array>): Promise<CheckpointFile> =>
    writeFile(directory, name(part), parts, hasher, thread);
  const table = collection.vectors;
  const vectors = table === undefined ? undefined : table.parts(labels.high);
  const withGraph = table !== undefined && vectors !== undefined && vectors.graph.size > 0;
  const labelParts = encodeLabels({
    changedAt,
    labels,
    tombstones,
    vectors: withGraph
      ? { dimensions: table.shape.dimensions, present: table.present, inGraph: vectors.inGraph }
      : undefined,
  });
  const digest = toHex(collection.digest);
  const saved = withGraph ? vectors.graph.save(join(directory, name('graph'))) : undefined;
  const writing = [
    write('labels', labelParts),
    write('keywords', collection.keywords.serialize()),
    write('attributes', collection.attributes.serialize()),
    ...(withGraph ? [write('vectors', bytesOfPages(vectors.pages))] : []),
  ];
  await ended(saved === undefined ? writing : [...writing, saved]);
  const files = await Promise.all(writing);
  return {
    seal: async () => {
      // One by one: the threads that sync are those the log is written with.
      for (const file of files) await syncFile(directory, file.name);
      if (saved !== undefined) files.push(await sealFile(directory, name('graph'), hasher));
      return { id: spec.id, documents, offset: changedAt, digest, files };
    },
  };
}

/** Fails when one of them does, but not before none is under way: nothing reads the collection or writes files any more. */
async function ended(steps: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(steps);
  await Promise.all(steps);
}

/** Links the files of an unchanged collection into a new checkpoint; undefined when the file system does not let it. */
export async function linkCollection(
  previous: CheckpointRef,
  collection: CheckpointCollection,
  directory: string,
): Promise<WrittenCollection | undefined> {
  const linkOf = ({ name }: CheckpointFile): Promise<void> =>
    link(join(previous.directory, name), join(directory, name));
  const [first, ...others] = collection.files;
  try {
    await linkOf(first);
  } catch (error) {
    if (systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
  await ended(others.map(linkOf));
  return { seal: () => Promise.resolve(collection) };
}

/**
 * Loads a collection; every file's sum is checked before its content is used. Its digest is believed, to be checked later.
 * @throws CheckpointDamagedError
 */
export function loadCollection(
  spec: CollectionSpec,
  collection: CheckpointCollection,
  directory: string,
  indexes: VectorIndexes,
  hasher: Hasher,
): CollectionIndex {
  const file = (part: Part): CheckpointFile => {
    const found = collection.files.find(({ name }) => name === `${spec.id}.${part}`);
    if (found === undefined) throw new CheckpointDamagedError(`${directory} has no ${part} of collection ${spec.id}`);
    return found;
  };
  const digest = fromHex(collection.digest);
  if (digest?.length !== DIGEST_BYTES) throw new CheckpointDamagedError(`${directory} has no digest of ${spec.id}`);
  try {
    const { changedAt, labels, tombstones, vectors } = decodeLabels(readFile(directory, file('labels'), hasher));
    if (vectors !== undefined && spec.dimensions !== undefined && spec.dimensions !== vectors.dimensions) {
      throw new CheckpointDamagedError(
        `${directory} has vectors of ${vectors.dimensions} dimensions, the collection ${spec.dimensions}`,
      );
    }
    const loadVectors = (): ((table: LabelTable) => VectorTable) | undefined => {
      if (vectors === undefined) return undefined;
      const shape = { ...spec, dimensions: vectors.dimensions };
      const pages = loadPages(
        new VectorPages(shape.dimensions, shape.similarity, indexes.scores?.(shape, PAGE_VECTORS)),
        directory,
        file('vectors'),
        hasher,
      );
      checkFile(directory, file('graph'), hasher);
      const size = vectors.inGraph.count();
      const dead = size - vectors.present.count();
      const graph = indexes.load(shape, join(directory, file('graph').name), size, dead);
      const loaded: LoadedVectors = { pages, graph, present: vectors.present, inGraph: vectors.inGraph };
      return (table) => new VectorTable(shape, indexes, table, (label) => table.release(label), loaded);
    };
    return new CollectionIndex(spec, indexes, hasher, {
      changedAt,
      digest,
      labels,
      tombstones,
      keywords: KeywordIndex.deserialize(readFile(directory, file('keywords'), hasher), indexes.postingSums?.()),
      attributes: AttributeIndex.deserialize(readFile(directory, file('attributes'), hasher)),
      vectors: loadVectors(),
    });
  } catch (error) {
    if (error instanceof CheckpointDamagedError) throw error;
    const what = error instanceof IndexDamagedError ? 'is not what was written' : 'cannot be loaded';
    throw new CheckpointDamagedError(`collection ${spec.id} in ${directory} ${what}`, { cause: error });
  }
}

function loadPages(pages: VectorPages, directory: string, file: CheckpointFile, hasher: Hasher): VectorPages {
  const filled: Float32Array[] = [];
  readFileInto(
    directory,
    file,
    () => {
      const page = new Float32Array(PAGE_VECTORS * pages.dimensions);
      filled.push(page);
      return new Uint8Array(page.buffer);
    },
    hasher,
  );
  for (const page of filled) pages.load(page);
  return pages;
}

function* bytesOfPages(pages: Iterable<Float32Array>): Generator<Uint8Array> {
  for (const page of pages) yield new Uint8Array(page.buffer, page.byteOffset, page.byteLength);
}
