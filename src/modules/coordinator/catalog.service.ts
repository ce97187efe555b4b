import { NodeError } from '../../kernel/errors.js';
import type { HnswParameters } from '../../kernel/collection.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import type { ClusterMap, Collection } from '../ring/core/map.js';
import type { CatalogPort } from './coordinator.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import type { MapChanges } from './map-changes.js';
import { until } from './until.js';
import { WRITE_WAIT_MS, type WriteRouter } from './write-router.js';
import type { AliasView, ClusterSettingsView, CollectionSettings, CollectionView } from './core/requests.js';

/** Shards are asked for their counts for so long at most. */
const COUNT_MS = 2_000;
/** A collection that another request makes is in the map by then. */
const MADE_MS = 2_000;
const NEVER = new AbortController().signal;

/** Collections, aliases and settings: all of them changes of the map. */
export class CatalogService implements CatalogPort {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly fanOut: FanOut,
    private readonly router: WriteRouter,
    private readonly changes: MapChanges,
  ) {}

  async putCollection(
    name: string,
    settings: CollectionSettings,
  ): Promise<{ readonly created: boolean; readonly collection: CollectionView }> {
    // What another node changed a moment ago counts, although this one may not have heard of it.
    const existing = findCollection(await this.changes.newest(), name, false);
    if (existing !== undefined) return this.#existing(existing, settings);
    const similarity = settings.similarity ?? this.config.similarity;
    const hnsw: HnswParameters = { ...this.#defaultHnsw(), ...settings.hnsw };
    let map: ClusterMap;
    try {
      map = await this.changes.change({
        kind: 'putCollection',
        name,
        similarity,
        hnsw,
        ...(settings.dimensions === undefined ? {} : { dimensions: settings.dimensions }),
      });
    } catch (error) {
      if (!(error instanceof NodeError) || error.code !== 'COLLECTION_CONFLICT') throw error;
      const made = await this.#madeMeanwhile(name);
      if (made === undefined) throw error;
      return this.#existing(made, settings);
    }
    return { created: true, collection: await this.#view(must(map, name)) };
  }

  async getCollection(name: string): Promise<CollectionView> {
    const collection = await this.#find(name);
    if (collection === undefined) throw noCollection(name);
    return this.#view(collection);
  }

  async listCollections(withinMs = COUNT_MS): Promise<readonly CollectionView[]> {
    const counted = await this.#documents(withinMs);
    return this.replication.map.current().collections.map((collection) => viewOf(collection, counted));
  }

  /** Drops it from the map, then from every shard. */
  async deleteCollection(name: string): Promise<void> {
    const collection = findCollection(await this.changes.newest(), name, false);
    if (collection === undefined) throw noCollection(name);
    await this.changes.change({ kind: 'dropCollection', name });
    const level = this.replication.level('auto');
    const { shardCount } = this.replication.map.current();
    const purge = {
      op: 'COLLECTION_PURGE',
      collectionId: collection.id,
      id: '',
      payload: new Uint8Array(0),
      level,
    } as const;
    // Gone for every client by now; a shard that cannot log it now is purged by its primary as soon as it can (upkeep).
    await Promise.all(
      Array.from({ length: shardCount }, (_, shard) => this.router.write({ ...purge, shard }, WRITE_WAIT_MS)),
    );
  }

  async putAlias(name: string, collection: string): Promise<{ readonly created: boolean; readonly alias: AliasView }> {
    const { aliases } = await this.changes.newest();
    const before = aliases.find((alias) => alias.name === name);
    if (before?.collection === collection) return { created: false, alias: before };
    await this.changes.change({ kind: 'putAlias', name, collection });
    return { created: before === undefined, alias: { name, collection } };
  }

  async getAlias(name: string): Promise<AliasView> {
    const alias = await this.changes.lookUp(({ aliases }) => aliases.find((candidate) => candidate.name === name));
    if (alias === undefined) throw new NodeError('ALIAS_NOT_FOUND', `there is no alias "${name}"`);
    return alias;
  }

  async deleteAlias(name: string): Promise<void> {
    await this.changes.change({ kind: 'dropAlias', name });
  }

  settings(): ClusterSettingsView {
    return this.replication.map.current().settings;
  }

  async changeSettings(change: Partial<ClusterSettingsView>): Promise<ClusterSettingsView> {
    return (await this.changes.change({ kind: 'settings', settings: change })).settings;
  }

  /** An existing collection and what a PUT says of it: equal is fine, a dimension not yet known is fixed, else a conflict. */
  async #agree(existing: Collection, settings: CollectionSettings): Promise<Collection> {
    const differs: string[] = [];
    if (settings.similarity !== undefined && settings.similarity !== existing.similarity)
      differs.push(`similarity is ${existing.similarity}`);
    if (
      settings.dimensions !== undefined &&
      existing.dimensions !== undefined &&
      settings.dimensions !== existing.dimensions
    ) {
      differs.push(`dimensions are ${existing.dimensions}`);
    }
    for (const name of ['m', 'efConstruction', 'efSearch'] as const) {
      const wanted = settings.hnsw?.[name];
      if (wanted !== undefined && wanted !== existing.hnsw[name])
        differs.push(`hnsw.${name} is ${existing.hnsw[name]}`);
    }
    if (differs.length > 0) {
      throw new NodeError(
        'COLLECTION_CONFLICT',
        `the collection "${existing.name}" exists with other settings: ${differs.join(', ')}`,
      );
    }
    if (settings.dimensions === undefined || existing.dimensions !== undefined) return existing;
    return must(
      await this.changes.change({
        kind: 'setDimensions',
        collectionId: existing.id,
        dimensions: settings.dimensions,
      }),
      existing.name,
    );
  }

  #find(name: string): Promise<Collection | undefined> {
    return this.changes.lookUp((map) => findCollection(map, name, false));
  }

  /** What somebody else puts under this name just now, which may be equal; undefined when that is an alias. */
  async #madeMeanwhile(name: string): Promise<Collection | undefined> {
    const found = (): Collection | undefined => findCollection(this.replication.map.current(), name, true);
    await until(() => found() !== undefined, performance.now() + MADE_MS);
    return found()?.name === name ? found() : undefined;
  }

  async #existing(
    existing: Collection,
    settings: CollectionSettings,
  ): Promise<{ readonly created: false; readonly collection: CollectionView }> {
    return { created: false, collection: await this.#view(await this.#agree(existing, settings)) };
  }

  async #view(collection: Collection): Promise<CollectionView> {
    return viewOf(collection, await this.#documents());
  }

  /** Live documents by collection, of the shards that can be reached. */
  async #documents(withinMs = COUNT_MS): Promise<Counted> {
    const { shardCount, epoch: mapEpoch } = this.replication.map.current();
    const all = Array.from({ length: shardCount }, (_, shard) => shard);
    const deadline = new Deadline({ signal: NEVER, timeoutMs: withinMs }, COUNT_MS);
    try {
      const options = { deadline, session: new Map<number, never>(), primary: false };
      const answer = await this.fanOut.ask('summary', all, (gates) => ({ mapEpoch, gates }), options);
      const documents = new Map<number, number>();
      for (const { value } of answer.values.values())
        for (const { id, live } of value.collections) documents.set(id, (documents.get(id) ?? 0) + live);
      return { documents, missing: [...answer.failed.keys()].sort((a, b) => a - b) };
    } finally {
      deadline.end();
    }
  }

  #defaultHnsw(): HnswParameters {
    return { m: this.config.hnswM, efConstruction: this.config.hnswEfConstruction, efSearch: this.config.hnswEfSearch };
  }
}

function must(map: ClusterMap, name: string): Collection {
  const collection = map.collections.find((candidate) => candidate.name === name);
  if (collection === undefined) throw noCollection(name);
  return collection;
}

function noCollection(name: string): NodeError {
  return new NodeError('COLLECTION_NOT_FOUND', `there is no collection "${name}"`);
}

/** Live documents by collection, and the shards that did not tell. */
interface Counted {
  readonly documents: ReadonlyMap<number, number>;
  readonly missing: readonly number[];
}

function viewOf(
  { id, name, dimensions, similarity, hnsw }: Collection,
  { documents, missing }: Counted,
): CollectionView {
  return {
    name,
    dimensions: dimensions ?? null,
    similarity,
    hnsw,
    documents: documents.get(id) ?? 0,
    ...(missing.length === 0 ? {} : { missingShards: missing }),
  };
}
