import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { exactVectorIndexes } from '../../../test/contract/exact-vector-index.js';
import { entryCollectionId, entryId } from '../log/core/entry-codec.js';
import { documentKey } from '../log/core/keys.js';
import { decodeRow } from '../shard/core/rows.js';
import { MemoryCluster } from './testing/memory-cluster.js';

const SHARD = 0;
const options = { collection: 'default', consistency: 'auto' } as const;
const any = { collection: 'default', consistency: 'any' } as const;
const call = { signal: new AbortController().signal };

describe('DocumentReader', () => {
  let cluster: MemoryCluster;
  beforeAll(async () => {
    cluster = await MemoryCluster.start(1, 1, exactVectorIndexes, 4);
  });
  afterAll(() => cluster.stop());

  it('takes an entry that is missing in the compacted part, though its row points there, for damage', async () => {
    const [{ documents, log, replication }] = cluster.nodes;
    const put = (id: string, title: string) => documents.ingest({ id, fields: { title } }, undefined, options, call);
    for (const title of ['old', 'new']) for (const id of ['a', 'b']) await put(id, title);
    const rowOf = (collectionId: number, id: string) => {
      const row = log.row(documentKey(1, SHARD, collectionId, id));
      return row === undefined ? undefined : decodeRow(row);
    };
    const isLive = (offset: number, entry: Uint8Array): boolean =>
      rowOf(entryCollectionId(entry), entryId(entry))?.offset === offset;
    await log.compact(SHARD, log.state(SHARD).tail, isLive, call.signal, 0);
    expect((await documents.get('a', false, any, call)).title).toBe('new');
    const offset = rowOf(1, 'a')?.offset ?? 0;
    expect(log.dropEntry(SHARD, offset)).toBe(true);
    await expect(documents.get('a', false, any, call)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
    expect(replication.fault(SHARD)).toMatchObject({ damage: { shard: SHARD, offset, problem: 'missing' } });
  });
});
