import type { HnswParameters, Similarity } from '../../../kernel/collection.js';
import { unreachable } from '../../../kernel/assert.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { ClusterMap, ClusterSettings, Collection, NodeRegistration, ShardPlacement } from './map.js';
import { forceMap, type ForceMapChange } from './forced-map.js';
import { changed, refused, type MapResult } from './map-result.js';
import { applyNodeOperation, type NodeOperation } from './node-operations.js';
import { applyOperationChange, type OperationChange } from './operation-changes.js';
import { applySetOperation, type SetOperation } from './set-operations.js';

export const DEFAULT_COLLECTION = 'default';

/** A change to the map, as its log holds it (replication 2.3: "the map's own ops"). */
export type MapOperation =
  | NodeOperation
  | SetOperation
  | OperationChange
  | ForceMapChange
  | {
      readonly kind: 'bootstrap';
      readonly clusterId: string;
      readonly shardCount: number;
      readonly settings: ClusterSettings;
      readonly node: NodeRegistration;
      readonly defaults: {
        readonly similarity: Similarity;
        readonly hnsw: HnswParameters;
        readonly dimensions?: number;
      };
    }
  | {
      readonly kind: 'putCollection';
      readonly name: string;
      readonly dimensions?: number;
      readonly similarity: Similarity;
      readonly hnsw: HnswParameters;
    }
  /** The first vector proposes the dimension; the loser of a race finds another one there. */
  | { readonly kind: 'setDimensions'; readonly collectionId: number; readonly dimensions: number }
  | { readonly kind: 'dropCollection'; readonly name: string }
  | { readonly kind: 'putAlias'; readonly name: string; readonly collection: string }
  | { readonly kind: 'dropAlias'; readonly name: string }
  | { readonly kind: 'settings'; readonly settings: Partial<ClusterSettings> };

/**
 * The map after one operation, or why not. Pure and deterministic: every node that applies the same log has the same
 * map. The primary of the map's shard evaluates an operation before it is logged; a refused one never is.
 */
export function applyMapOperation(map: ClusterMap | undefined, operation: MapOperation): MapResult {
  if (operation.kind === 'bootstrap') {
    if (map !== undefined) return refused('OPERATION_CONFLICT', 'the cluster exists already');
    return { kind: 'changed', map: bootstrap(operation) };
  }
  if (map === undefined) return refused('STARTING', 'there is no cluster yet');
  switch (operation.kind) {
    case 'register':
    case 'unregister':
      return applyNodeOperation(map, operation);
    case 'addLearner':
    case 'removeLearner':
    case 'promoteLearner':
    case 'removeMember':
    case 'preferPrimary':
    case 'addVoter':
    case 'removeVoter':
      return applySetOperation(map, operation);
    case 'startOperation':
    case 'updateOperation':
    case 'finishOperation':
    case 'abortOperation':
      return applyOperationChange(map, operation);
    case 'forceMap':
      return forceMap(operation);
    case 'putCollection':
      return putCollection(map, operation);
    case 'setDimensions':
      return setDimensions(map, operation.collectionId, operation.dimensions);
    case 'dropCollection':
      return dropCollection(map, operation.name);
    case 'putAlias':
      return putAlias(map, operation.name, operation.collection);
    case 'dropAlias':
      if (!map.aliases.some((alias) => alias.name === operation.name))
        return refused('ALIAS_NOT_FOUND', `there is no alias "${operation.name}"`);
      return changed(map, { aliases: map.aliases.filter((alias) => alias.name !== operation.name) });
    case 'settings':
      return changed(map, { settings: { ...map.settings, ...operation.settings } });
    default:
      return unreachable(operation);
  }
}

/** The collection a name or (where aliases are allowed) an alias stands for. */
export function findCollection(map: ClusterMap, name: string, aliases: boolean): Collection | undefined {
  const found = map.collections.find((collection) => collection.name === name);
  if (found !== undefined || !aliases) return found;
  const alias = map.aliases.find((candidate) => candidate.name === name);
  return alias === undefined ? undefined : map.collections.find((collection) => collection.name === alias.collection);
}

function bootstrap(operation: Extract<MapOperation, { kind: 'bootstrap' }>): ClusterMap {
  const { similarity, hnsw, dimensions } = operation.defaults;
  const { nodeId, nodeUuid, address, protocolMin, protocolMax } = operation.node;
  const alone: ShardPlacement = { members: [nodeUuid], learners: [], epoch: 1 };
  return {
    epoch: 1,
    clusterId: operation.clusterId,
    shardCount: operation.shardCount,
    settings: operation.settings,
    nodes: [{ nodeId, nodeUuid, address, protocolMin, protocolMax, duty: 'serving', since: 1 }],
    placement: Array.from({ length: operation.shardCount }, () => alone),
    meta: alone,
    operations: [],
    collections: [
      { id: 1, name: DEFAULT_COLLECTION, similarity, hnsw, ...(dimensions === undefined ? {} : { dimensions }) },
    ],
    aliases: [],
    nextCollectionId: 2,
  };
}

function putCollection(map: ClusterMap, operation: Extract<MapOperation, { kind: 'putCollection' }>): MapResult {
  const { name, dimensions, similarity, hnsw } = operation;
  if (map.collections.some((collection) => collection.name === name))
    return refused('COLLECTION_CONFLICT', `the collection "${name}" exists already`);
  if (map.aliases.some((alias) => alias.name === name))
    return refused('COLLECTION_CONFLICT', `"${name}" is an alias; choose another name`);
  if (map.collections.length >= LIMITS.collectionsMax) {
    return refused('LIMIT_EXCEEDED', `a cluster holds at most ${LIMITS.collectionsMax} collections; delete one first`);
  }
  const collection: Collection = {
    id: map.nextCollectionId,
    name,
    similarity,
    hnsw,
    ...(dimensions === undefined ? {} : { dimensions }),
  };
  return changed(map, { collections: [...map.collections, collection], nextCollectionId: map.nextCollectionId + 1 });
}

function setDimensions(map: ClusterMap, collectionId: number, dimensions: number): MapResult {
  const collection = map.collections.find((candidate) => candidate.id === collectionId);
  if (collection === undefined) return refused('COLLECTION_NOT_FOUND', 'the collection was dropped meanwhile');
  if (collection.dimensions !== undefined) {
    return collection.dimensions === dimensions
      ? changed(map, {})
      : refused(
          'DIMENSION_MISMATCH',
          `the collection "${collection.name}" has ${collection.dimensions} dimensions, not ${dimensions}`,
        );
  }
  return changed(map, {
    collections: map.collections.map((candidate) =>
      candidate.id === collectionId ? { ...candidate, dimensions } : candidate,
    ),
  });
}

function dropCollection(map: ClusterMap, name: string): MapResult {
  if (!map.collections.some((collection) => collection.name === name))
    return refused('COLLECTION_NOT_FOUND', `there is no collection "${name}"`);
  if (name === DEFAULT_COLLECTION)
    return refused('INVALID_REQUEST', 'the collection "default" always exists; delete its documents instead');
  const alias = map.aliases.find((candidate) => candidate.collection === name);
  if (alias !== undefined) {
    return refused(
      'OPERATION_CONFLICT',
      `the alias "${alias.name}" stands for "${name}"; switch or delete the alias first`,
    );
  }
  return changed(map, { collections: map.collections.filter((collection) => collection.name !== name) });
}

function putAlias(map: ClusterMap, name: string, collection: string): MapResult {
  if (map.collections.some((candidate) => candidate.name === name))
    return refused('COLLECTION_CONFLICT', `"${name}" is a collection; choose another name`);
  if (!map.collections.some((candidate) => candidate.name === collection))
    return refused('COLLECTION_NOT_FOUND', `there is no collection "${collection}"`);
  const others = map.aliases.filter((alias) => alias.name !== name);
  if (others.length >= LIMITS.aliasesMax)
    return refused('LIMIT_EXCEEDED', `a cluster holds at most ${LIMITS.aliasesMax} aliases; delete one first`);
  return changed(map, { aliases: [...others, { name, collection }].sort((a, b) => (a.name < b.name ? -1 : 1)) });
}
