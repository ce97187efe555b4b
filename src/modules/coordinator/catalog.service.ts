import { NodeError } from '../../kernel/errors.js';
import type { HnswParameters } from '../../kernel/collection.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { ClusterMap, Collection } from '../ring/core/map.js';
import type { CatalogPort } from './coordinator.js';
import type { AliasView, ClusterSettingsView, CollectionSettings, CollectionView } from './core/requests.js';

/** Collections, aliases and settings: all of them changes of the map. */
export class CatalogService implements CatalogPort {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
  ) {}

  async putCollection(
    name: string,
    settings: CollectionSettings,
  ): Promise<{ readonly created: boolean; readonly collection: CollectionView }> {
    const existing = this.#find(name);
    if (existing !== undefined)
      return { created: false, collection: this.#view(await this.#agree(existing, settings)) };
    const similarity = settings.similarity ?? this.config.similarity;
    const hnsw: HnswParameters = { ...this.#defaultHnsw(), ...settings.hnsw };
    const map = await this.replication.map.change({
      kind: 'putCollection',
      name,
      similarity,
      hnsw,
      ...(settings.dimensions === undefined ? {} : { dimensions: settings.dimensions }),
    });
    return { created: true, collection: this.#view(must(map, name)) };
  }

  getCollection(name: string): Promise<CollectionView> {
    const collection = this.#find(name);
    return collection === undefined ? Promise.reject(noCollection(name)) : Promise.resolve(this.#view(collection));
  }

  listCollections(): Promise<readonly CollectionView[]> {
    return Promise.resolve(this.replication.map.current().collections.map((collection) => this.#view(collection)));
  }

  /** Drops it from the map, then from every shard. */
  async deleteCollection(name: string): Promise<void> {
    const collection = this.#find(name);
    if (collection === undefined) throw noCollection(name);
    await this.replication.map.change({ kind: 'dropCollection', name });
    await Promise.all(
      this.replication.localShards().map((shard) => this.replication.purgeCollection(shard, collection.id)),
    );
  }

  async putAlias(name: string, collection: string): Promise<{ readonly created: boolean; readonly alias: AliasView }> {
    const before = this.replication.map.current().aliases.find((alias) => alias.name === name);
    if (before?.collection === collection) return { created: false, alias: before };
    await this.replication.map.change({ kind: 'putAlias', name, collection });
    return { created: before === undefined, alias: { name, collection } };
  }

  getAlias(name: string): Promise<AliasView> {
    const alias = this.replication.map.current().aliases.find((candidate) => candidate.name === name);
    return alias === undefined
      ? Promise.reject(new NodeError('ALIAS_NOT_FOUND', `there is no alias "${name}"`))
      : Promise.resolve(alias);
  }

  async deleteAlias(name: string): Promise<void> {
    await this.replication.map.change({ kind: 'dropAlias', name });
  }

  settings(): ClusterSettingsView {
    return this.replication.map.current().settings;
  }

  async changeSettings(change: Partial<ClusterSettingsView>): Promise<ClusterSettingsView> {
    return (await this.replication.map.change({ kind: 'settings', settings: change })).settings;
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
      await this.replication.map.change({
        kind: 'setDimensions',
        collectionId: existing.id,
        dimensions: settings.dimensions,
      }),
      existing.name,
    );
  }

  #find(name: string): Collection | undefined {
    return this.replication.map.current().collections.find((collection) => collection.name === name);
  }

  #view(collection: Collection): CollectionView {
    let documents = 0;
    for (const shard of this.replication.localShards())
      documents += this.replication.counters(shard).collections.get(collection.id)?.live ?? 0;
    return {
      name: collection.name,
      dimensions: collection.dimensions ?? null,
      similarity: collection.similarity,
      hnsw: collection.hnsw,
      documents,
    };
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
