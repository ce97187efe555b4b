import { describe, expect, it } from '@jest/globals';
import type { ClusterMap } from './map.js';
import { applyMapOperation, findCollection, type MapOperation } from './map-operations.js';

const hnsw = { m: 16, efConstruction: 200, efSearch: 100 };
const node = { nodeId: 'node-1', nodeUuid: '11', address: 'localhost:9090', protocolMin: 1, protocolMax: 1 };
const bootstrap: MapOperation = {
  kind: 'bootstrap',
  clusterId: 'c',
  shardCount: 2,
  settings: { replicaCount: 1, writeConsistency: 'auto', partitionMode: 'available', rebalanceGraceMs: 1 },
  node,
  defaults: { similarity: 'cosine', hnsw },
};

function after(...operations: readonly MapOperation[]): ClusterMap {
  let map: ClusterMap | undefined;
  for (const operation of [bootstrap, ...operations]) {
    const result = applyMapOperation(map, operation);
    if (result.kind === 'refused') throw new Error(`${result.code}: ${result.detail}`);
    map = result.map;
  }
  if (map === undefined) throw new Error('no map');
  return map;
}

function refusal(map: ClusterMap, operation: MapOperation): string {
  const result = applyMapOperation(map, operation);
  return result.kind === 'refused' ? result.code : 'changed';
}

const put = (name: string): MapOperation => ({ kind: 'putCollection', name, similarity: 'dot', hnsw });

describe('applyMapOperation', () => {
  it('bootstraps once, with the default collection and every shard on the first node', () => {
    const map = after();
    expect(map.epoch).toBe(1);
    const alone = { members: ['11'], learners: [], epoch: 1 };
    expect(map.placement).toEqual([alone, alone]);
    expect(map.meta).toEqual(alone);
    expect(map.nodes).toEqual([{ ...node, duty: 'serving', since: 1 }]);
    expect(map.collections.map(({ name, id }) => ({ name, id }))).toEqual([{ name: 'default', id: 1 }]);
    expect(refusal(map, bootstrap)).toBe('OPERATION_CONFLICT');
    expect(applyMapOperation(undefined, put('a'))).toMatchObject({ kind: 'refused', code: 'STARTING' });
  });

  it('never reuses a collectionId', () => {
    const map = after(put('a'), { kind: 'dropCollection', name: 'a' }, put('a'));
    expect(findCollection(map, 'a', false)?.id).toBe(3);
    expect(map.epoch).toBe(4);
  });

  it('fixes the dimension once: the loser of a race is refused', () => {
    const map = after({ kind: 'setDimensions', collectionId: 1, dimensions: 3 });
    expect(map.collections[0].dimensions).toBe(3);
    expect(refusal(map, { kind: 'setDimensions', collectionId: 1, dimensions: 4 })).toBe('DIMENSION_MISMATCH');
    expect(refusal(map, { kind: 'setDimensions', collectionId: 1, dimensions: 3 })).toBe('changed');
    expect(refusal(map, { kind: 'setDimensions', collectionId: 9, dimensions: 3 })).toBe('COLLECTION_NOT_FOUND');
  });

  it('keeps names apart, switches aliases, and refuses to drop what an alias stands for', () => {
    const map = after(put('a'), put('b'), { kind: 'putAlias', name: 'live', collection: 'a' });
    expect(refusal(map, put('live'))).toBe('COLLECTION_CONFLICT');
    expect(refusal(map, put('a'))).toBe('COLLECTION_CONFLICT');
    expect(refusal(map, { kind: 'putAlias', name: 'b', collection: 'a' })).toBe('COLLECTION_CONFLICT');
    expect(refusal(map, { kind: 'putAlias', name: 'x', collection: 'none' })).toBe('COLLECTION_NOT_FOUND');
    expect(refusal(map, { kind: 'dropCollection', name: 'a' })).toBe('OPERATION_CONFLICT');
    expect(refusal(map, { kind: 'dropCollection', name: 'default' })).toBe('INVALID_REQUEST');
    const switched = after(
      put('a'),
      put('b'),
      { kind: 'putAlias', name: 'live', collection: 'a' },
      { kind: 'putAlias', name: 'live', collection: 'b' },
    );
    expect(findCollection(switched, 'live', true)?.name).toBe('b');
    expect(findCollection(switched, 'live', false)).toBeUndefined();
    expect(refusal(switched, { kind: 'dropAlias', name: 'none' })).toBe('ALIAS_NOT_FOUND');
  });

  it('holds at most 64 collections', () => {
    const map = after(...Array.from({ length: 63 }, (_, i) => put(`c${i}`)));
    expect(refusal(map, put('one-more'))).toBe('LIMIT_EXCEEDED');
  });
});
