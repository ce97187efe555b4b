import { assert } from '../../../kernel/assert.js';
import { toHex } from '../../../kernel/bytes.js';
import type { Clock } from '../../../kernel/clock.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { CollectionIndex } from '../core/collection-index.js';
import type { Filter } from '../core/filter.js';
import { FrameReader } from '../core/frames.js';
import {
  CheckpointDamagedError,
  ShardNotOpenError,
  type CheckpointCollection,
  type CheckpointRef,
  type ForgottenDocument,
  type IndexHost,
  type IndexStatistics,
  type ScrollPage,
  type WrittenCheckpoint,
} from '../core/index-host.js';
import type { SearchAnswerWriter } from '../core/search-answer-writer.js';
import type { CollectionSpec, KeywordStatistics, ShardSearch } from '../core/search.js';
import { searchShards } from '../core/search-shards.js';
import { ShardIndex } from '../core/shard-index.js';
import type { VectorIndexes } from '../core/vector-index.js';
import { linkCollection, loadCollection, writeCollection, type WrittenCollection } from './collection-checkpoint.js';

/** Bytes of labels, postings and attributes a document has in a checkpoint, about: only a guess for the space it needs. */
const DOCUMENT_BYTES = 512;

export interface LocalIndexHostPorts {
  readonly hasher: Hasher;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly indexes: VectorIndexes;
}

/** A shard and what is under way in it. */
interface OpenShard {
  readonly index: ShardIndex;
  /** Frames not applied whole yet. */
  frames: FrameReader | undefined;
  /** Whether those are entries of loose rows. */
  loose: boolean;
  /** While a checkpoint is written: what has to wait for its end. */
  deferred: (() => void)[] | undefined;
}

/** The IndexHost of this thread. */
export class LocalIndexHost implements IndexHost {
  readonly #ports: LocalIndexHostPorts;
  readonly #specs = new Map<number, CollectionSpec>();
  readonly #shards = new Map<number, OpenShard>();

  constructor(ports: LocalIndexHostPorts) {
    this.#ports = ports;
  }

  defineCollections(collections: readonly CollectionSpec[]): readonly number[] {
    const outdated = new Set<number>();
    for (const spec of collections) {
      this.#specs.set(spec.id, spec);
      for (const { index } of this.#shards.values()) {
        index.define(spec);
        if (index.passedOver.has(spec.id)) outdated.add(index.shard);
      }
    }
    return [...outdated];
  }

  dropCollection(collectionId: number): void {
    this.#specs.delete(collectionId);
    for (const shard of this.#shards.values()) afterSaving(shard, () => shard.index.drop(collectionId));
  }

  openShard(shard: number, checkpoint: CheckpointRef | undefined): void {
    assert(!this.#shards.has(shard), `shard ${shard} is open already`);
    const { indexes, hasher } = this.#ports;
    const index =
      checkpoint === undefined ? new ShardIndex(shard, this.#specs, indexes, hasher) : this.#load(shard, checkpoint);
    this.#shards.set(shard, { index, frames: undefined, loose: false, deferred: undefined });
  }

  closeShard(shard: number): void {
    const open = this.#shards.get(shard);
    if (open === undefined) return;
    this.#shards.delete(shard);
    afterSaving(open, () => open.index.dispose());
  }

  apply(shard: number, frames: Uint8Array, sliceMs: number, loose = false): boolean {
    const open = this.#open(shard);
    assert(open.frames === undefined, `shard ${shard} has not applied the frames before`);
    open.frames = new FrameReader(frames);
    open.loose = loose;
    return this.continueApply(shard, sliceMs);
  }

  continueApply(shard: number, sliceMs: number): boolean {
    const open = this.#open(shard);
    const { frames, index, loose } = open;
    if (frames === undefined) return true;
    if (open.deferred !== undefined) return false;
    const expired = this.#timer(sliceMs);
    try {
      for (let entry = frames.next(); entry !== undefined; entry = frames.next()) {
        if (loose) index.applyLoose(entry);
        else index.apply(entry);
        if (expired()) return false;
      }
    } catch (error) {
      open.frames = undefined;
      throw error;
    }
    open.frames = undefined;
    return true;
  }

  abandon(shard: number): void {
    const open = this.#shards.get(shard);
    if (open !== undefined) open.frames = undefined;
  }

  applied(shard: number): number {
    return this.#open(shard).index.applied;
  }

  rewind(shard: number, offset: number): void {
    const { index, frames, deferred } = this.#open(shard);
    assert(
      frames === undefined && deferred === undefined,
      `shard ${shard} is rewound while something else is under way`,
    );
    index.rewind(offset);
  }

  forget(shard: number, documents: readonly ForgottenDocument[]): void {
    const { index, deferred } = this.#open(shard);
    assert(deferred === undefined, `a checkpoint of shard ${shard} is being written`);
    for (const { collectionId, id, version } of documents) index.forget(collectionId, id, version);
  }

  search(search: ShardSearch, into: SearchAnswerWriter): void {
    searchShards(search, (shard) => this.#shards.get(shard)?.index, into);
  }

  count(shard: number, collectionId: number, filter: Filter | undefined): number {
    return this.#collection(shard, collectionId)?.count(filter) ?? 0;
  }

  keywordStatistics(shard: number, collectionId: number, terms: readonly string[]): KeywordStatistics {
    const statistics = this.#collection(shard, collectionId)?.statistics(terms);
    return statistics ?? { documents: 0, totalLength: 0, documentFrequencies: terms.map(() => 0) };
  }

  attributeKeys(shard: number, collectionId: number): readonly string[] {
    return [...(this.#collection(shard, collectionId)?.attributes.keys() ?? [])];
  }

  scroll(
    shard: number,
    collectionId: number,
    filter: Filter | undefined,
    after: string | undefined,
    limit: number,
  ): ScrollPage {
    const collection = this.#collection(shard, collectionId);
    if (collection === undefined) return { ids: [], offsets: [], more: false };
    const { labels, more } = collection.scroll(filter, after, limit);
    return {
      ids: labels.map((label) => collection.labels.idOf(label)),
      offsets: labels.map((label) => collection.labels.offsetOf(label)),
      more,
    };
  }

  async checkpoint(shard: number, directory: string, previous: CheckpointRef | undefined): Promise<WrittenCheckpoint> {
    const open = this.#open(shard);
    assert(open.deferred === undefined, `a checkpoint of shard ${shard} is being written`);
    const deferred: (() => void)[] = [];
    open.deferred = deferred;
    try {
      const { index } = open;
      const digest = toHex(index.digest(false));
      const offset = index.applied;
      const passedOver = [...index.passedOver].sort((a, b) => a - b);
      const written: WrittenCollection[] = [];
      for (const [id, collection] of [...index.collections].sort(([a], [b]) => a - b)) {
        const same = previous?.manifest.collections.find(
          (other) => other.id === id && other.offset === collection.changedAt,
        );
        const linked =
          previous === undefined || same === undefined ? undefined : await linkCollection(previous, same, directory);
        written.push(linked ?? (await writeCollection(collection, directory, this.#ports.hasher)));
      }
      return {
        seal: async () => {
          const collections: CheckpointCollection[] = [];
          for (const { seal } of written) collections.push(await seal());
          return { format: 2, shard, offset, chain: '', digest, collections, passedOver };
        },
      };
    } finally {
      open.deferred = undefined;
      for (const act of deferred) act();
    }
  }

  checkpointBytes(shard: number): number {
    let bytes = 0;
    for (const { documents, vectors, spec } of this.#open(shard).index.collections.values()) {
      const labels = documents + (vectors?.deadLabels ?? 0);
      // A vector lies in its page and in the graph, beside the links of its lowest layer.
      const vectorBytes = vectors === undefined ? 0 : 8 * vectors.shape.dimensions + 8 * spec.hnsw.m + 32;
      bytes += labels * (DOCUMENT_BYTES + vectorBytes);
    }
    return bytes;
  }

  get needsWork(): boolean {
    for (const open of this.#shards.values()) {
      if (open.deferred === undefined && workOf(open) !== undefined) return true;
    }
    return false;
  }

  work(sliceMs: number): void {
    const expired = this.#timer(sliceMs);
    for (const open of this.#shards.values()) {
      if (open.deferred !== undefined) continue;
      for (let next = workOf(open); next !== undefined; next = workOf(open)) {
        next.vectors?.work(expired);
        if (expired()) return;
      }
    }
  }

  digest(shard: number, recompute: boolean): Uint8Array {
    return this.#open(shard).index.digest(recompute);
  }

  check(shard: number, sliceMs: number): boolean | undefined {
    return this.#open(shard).index.check(this.#timer(sliceMs));
  }

  statistics(): IndexStatistics {
    const shards = [...this.#shards.values()].map(({ index }) => ({
      shard: index.shard,
      applied: index.applied,
      ...(index.fault === undefined ? {} : { fault: index.fault }),
      collections: [...index.collections].map(([id, collection]) => ({
        id,
        documents: collection.documents,
        vectors: collection.vectors?.size ?? 0,
        texts: collection.keywords.documents,
        deadLabels: collection.vectors?.deadLabels ?? 0,
        tombstones: collection.tombstones.size,
      })),
    }));
    return { shards };
  }

  close(): void {
    for (const shard of [...this.#shards.keys()]) this.closeShard(shard);
  }

  #load(shard: number, { directory, manifest }: CheckpointRef): ShardIndex {
    const { indexes, hasher } = this.#ports;
    if (manifest.shard !== shard)
      throw new CheckpointDamagedError(`${directory} is of shard ${manifest.shard}, not ${shard}`);
    const late = manifest.passedOver.find((id) => this.#specs.has(id));
    if (late !== undefined)
      throw new CheckpointDamagedError(`${directory} was taken before collection ${late} was known`);
    const collections: CollectionIndex[] = [];
    try {
      for (const collection of manifest.collections) {
        const spec = this.#specs.get(collection.id);
        // Without a spec it was dropped since.
        if (spec !== undefined) collections.push(loadCollection(spec, collection, directory, indexes, hasher));
      }
      return new ShardIndex(shard, this.#specs, indexes, hasher, {
        applied: manifest.offset,
        collections,
        // One that is not known was dropped since, or is not known yet: it would have to be read again then.
        passedOver: [
          ...manifest.passedOver,
          ...manifest.collections.map(({ id }) => id).filter((id) => !this.#specs.has(id)),
        ],
      });
    } catch (error) {
      for (const collection of collections) collection.dispose();
      throw error;
    }
  }

  #open(shard: number): OpenShard {
    const open = this.#shards.get(shard);
    if (open === undefined) throw new ShardNotOpenError(shard);
    return open;
  }

  #collection(shard: number, collectionId: number): CollectionIndex | undefined {
    return this.#open(shard).index.collections.get(collectionId);
  }

  /** Says yes once `ms` have passed. */
  #timer(ms: number): () => boolean {
    const end = this.#ports.clock.monotonicMs() + ms;
    return () => this.#ports.clock.monotonicMs() >= end;
  }
}

function workOf({ index }: OpenShard): CollectionIndex | undefined {
  for (const collection of index.collections.values()) if (collection.vectors?.needsWork === true) return collection;
  return undefined;
}

function afterSaving(shard: OpenShard, act: () => void): void {
  if (shard.deferred === undefined) act();
  else shard.deferred.push(act);
}
