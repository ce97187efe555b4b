import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import { MemoryLogStore } from '../log/adapters/memory-log-store.js';
import { documentPrefix } from '../log/core/keys.js';
import { encodeDocument } from '../shard/core/document-codec.js';
import { liveDocuments, shardDigest } from '../shard/core/rows.js';
import { LooseStore } from './loose-store.js';
import { storedCounters } from './stored-copy.js';
import { CopyPair, FOLLOWER, PRIMARY } from './testing/copy-pair.js';
import { logDocuments, logPurge } from './testing/logged-documents.js';

const SHARD = 0;
/** Both logs go so far together; then the collection is dropped on the follower's branch. */
const FORK = 4;

const documents = ['a', 'b', 'c', 'd'].map((id) => ({ id, payload: encodeDocument({ content: id }) }));

describe('the end of a collection that is cut off with its branch (2.3, 6.4)', () => {
  let [there, here]: MemoryLogStore[] = [];

  beforeEach(async () => {
    [there, here] = [
      await MemoryLogStore.open({ hasher: nodeHasher }),
      await MemoryLogStore.open({ hasher: nodeHasher }),
    ];
    for (const store of [there, here]) await logDocuments(store, 1, 1_000, documents);
    await logDocuments(here, 2, 2_000, [documents[0]]);
    await logPurge(here, 2, 2_500);
    await logDocuments(there, 3, 3_000, [documents[3]]);
  });

  afterEach(async () => {
    for (const store of [there, here]) await store.close();
  });

  it('leaves no row that is not counted, and the collection to be dropped again', async () => {
    await new LooseStore(here, nodeHasher).cutBranch(SHARD, FORK);
    expect(await here.rows(documentPrefix(1, SHARD, 1), undefined, 10)).toEqual([]);
    const counters = storedCounters(here, SHARD);
    expect([...counters.collections]).toMatchObject([[1, { live: 0, bytes: 0, loose: 0 }]]);
    expect(here.state(SHARD).tail).toBe(FORK);
  });

  describe('of a follower whose primary does not know of it yet', () => {
    let pair: CopyPair;

    beforeEach(async () => {
      pair = new CopyPair(there);
      pair.primary = await pair.open(PRIMARY, there);
      await pair.until(() => pair.primary?.role === 'primary');
      pair.follower = await pair.open(FOLLOWER, here);
      await pair.until(() => pair.isCaughtUp && pair.primary?.merged.length === 1);
    });

    afterEach(() => {
      pair.primary?.close();
      pair.follower?.close();
    });

    async function write(op: 'UPSERT' | 'DELETE' | 'COLLECTION_PURGE', id: string, collectionId = 1): Promise<void> {
      const payload = op === 'UPSERT' ? documents[0].payload : new Uint8Array(0);
      expect(await pair.primary?.write({ op, collectionId, id, payload, level: 'one' })).toMatchObject({
        kind: 'written',
      });
      await pair.until(() => pair.isCaughtUp);
    }

    it('keeps nothing of its log from it; once that one drops the collection both are equal', async () => {
      for (const id of ['a', 'b', 'c']) await write('DELETE', id);
      await write('UPSERT', 'd');
      await write('UPSERT', 'e');
      expect(pair.follower && liveDocuments(pair.follower.counters())).toBe(2);
      expect(pair.primary && liveDocuments(pair.primary.counters())).toBe(2);
      await write('COLLECTION_PURGE', '');
      await write('UPSERT', 'f', 2);
      const [primary, follower] = [pair.primary?.counters(), pair.follower?.counters()];
      expect(primary && shardDigest(primary)).toEqual(follower && shardDigest(follower));
      for (const counters of [primary, follower]) expect([...(counters?.collections.keys() ?? [])]).toEqual([2]);
    });
  });
});
