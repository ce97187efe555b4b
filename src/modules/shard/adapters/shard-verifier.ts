import { toHex } from '../../../kernel/bytes.js';
import type { LogStore } from '../../log/log-store.js';
import { entryPayload } from '../../log/core/entry-codec.js';
import { decodeDocument } from '../core/document-codec.js';
import { encodeFrames } from '../core/frames.js';
import type { Filter } from '../core/filter.js';
import type { ScrollPage, ShardStatistics } from '../core/index-host.js';
import { SearchAnswerWriter } from '../core/search-answer-writer.js';
import type { Candidates, ShardSearchAnswer } from '../core/search-answer.js';
import { encodeSearch } from '../core/search-wire.js';
import type { CollectionSpec, ShardSearch } from '../core/search.js';
import { keywordText, tokenize } from '../core/tokenizer.js';
import type { VerifyReport } from '../shard-ports.js';
import { LocalIndexHost, type LocalIndexHostPorts } from './local-index-host.js';
import { replay } from './shard-opening.js';

const DIFFERENCES_MAX = 100;
const PAGE_IDS = 1_000;
/** Documents of each collection whose own vector and words are searched for, at even distances. */
const PROBES = 50;
const PROBE_RESULTS = 10;
const PROBE_TERMS = 5;

/** The parts of the live index that are compared. */
export interface VerifiedIndex {
  digest(shard: number, recompute: boolean): Promise<{ readonly offset: number; readonly digest: Uint8Array }>;
  scroll(
    shard: number,
    collectionId: number,
    filter: Filter | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<ScrollPage>;
  search(shards: readonly number[], search: Uint8Array): Promise<readonly ShardSearchAnswer[]>;
  statistics(): Promise<readonly ShardStatistics[]>;
}

/**
 * Builds the index of a shard from its log alone, up to the offset the live one has applied, and compares: both digests
 * of both, every id with its offset, what is counted, and exact answers to searches for a sample of the documents.
 */
export async function verifyShard(
  live: VerifiedIndex,
  shard: number,
  collections: readonly CollectionSpec[],
  ports: LocalIndexHostPorts & { readonly log: Pick<LogStore, 'scan' | 'state' | 'readSync'> },
): Promise<VerifyReport> {
  const differences: string[] = [];
  const differ = (what: string): void => {
    if (differences.length < DIFFERENCES_MAX) differences.push(what);
  };
  const { offset, digest } = await live.digest(shard, false);
  const rebuilt = new LocalIndexHost(ports);
  let documents = 0;
  let searches = 0;
  try {
    rebuilt.defineCollections(collections);
    rebuilt.openShard(shard, undefined);
    await replay(ports.log, shard, 1, offset, (entries) => {
      rebuilt.apply(shard, encodeFrames(entries), Infinity);
      return Promise.resolve();
    });
    const expected = toHex(rebuilt.digest(shard, true));
    if (toHex(digest) !== expected) differ(`the running digest is ${toHex(digest)} instead of ${expected}`);
    const recomputed = toHex((await live.digest(shard, true)).digest);
    if (recomputed !== expected) differ(`the digest of the labels is ${recomputed} instead of ${expected}`);
    await compareStatistics(live, rebuilt, shard, differ);
    for (const { id } of collections) {
      const entries = await compareIds(live, rebuilt, shard, id, differ);
      documents += entries.length;
      const step = Math.max(1, Math.floor(entries.length / PROBES));
      for (let at = 0; at < entries.length; at += step) {
        searches += await compareSearches(live, rebuilt, shard, id, ports.log.readSync(shard, entries[at]), differ);
      }
    }
  } finally {
    rebuilt.close();
  }
  return { shard, offset, documents, searches, differences };
}

type Differ = (what: string) => void;

async function compareStatistics(
  live: VerifiedIndex,
  rebuilt: LocalIndexHost,
  shard: number,
  differ: Differ,
): Promise<void> {
  const found = (await live.statistics()).find((statistics) => statistics.shard === shard);
  for (const { id, documents, vectors, texts } of rebuilt.statistics().shards[0].collections) {
    const other = found?.collections.find((collection) => collection.id === id);
    for (const [what, a, b] of [
      ['documents', other?.documents, documents],
      ['vectors', other?.vectors, vectors],
      ['texts', other?.texts, texts],
    ]) {
      if ((a ?? 0) !== b) differ(`collection ${id} has ${a ?? 0} ${what} instead of ${b}`);
    }
  }
}

/** Every id with its offset. @returns the offsets of the rebuilt index */
async function compareIds(
  live: VerifiedIndex,
  rebuilt: LocalIndexHost,
  shard: number,
  collectionId: number,
  differ: Differ,
): Promise<number[]> {
  const offsets: number[] = [];
  let after: string | undefined;
  for (;;) {
    const expected = rebuilt.scroll(shard, collectionId, undefined, after, PAGE_IDS);
    const found = await live.scroll(shard, collectionId, undefined, after, PAGE_IDS);
    for (let i = 0; i < Math.max(expected.ids.length, found.ids.length); i++) {
      if (expected.ids[i] !== found.ids[i]) {
        differ(
          `collection ${collectionId} has ${found.ids[i] ?? 'nothing'} where ${expected.ids[i] ?? 'nothing'} belongs`,
        );
        return offsets;
      }
      if (expected.offsets[i] !== found.offsets[i]) {
        differ(`${expected.ids[i]} points at offset ${found.offsets[i]} instead of ${expected.offsets[i]}`);
      }
    }
    offsets.push(...expected.offsets);
    if (!expected.more) return offsets;
    after = expected.ids[expected.ids.length - 1];
  }
}

/** Exact searches for one document's own vector and words. @returns how many */
async function compareSearches(
  live: VerifiedIndex,
  rebuilt: LocalIndexHost,
  shard: number,
  collectionId: number,
  entry: Uint8Array,
  differ: Differ,
): Promise<number> {
  const fields = decodeDocument(entryPayload(entry));
  const terms = [...new Set(tokenize(keywordText(fields) ?? ''))].sort().slice(0, PROBE_TERMS);
  if (fields.vector === undefined && terms.length === 0) return 0;
  const search: ShardSearch = {
    collectionId,
    shards: [shard],
    exact: true,
    ...(fields.vector === undefined ? {} : { vector: { values: fields.vector, k: PROBE_RESULTS, ef: PROBE_RESULTS } }),
    ...(terms.length === 0
      ? {}
      : {
          keyword: {
            terms,
            k: PROBE_RESULTS,
            statistics: rebuilt.keywordStatistics(shard, collectionId, terms),
          },
        }),
  };
  const [found] = await live.search([shard], encodeSearch(search));
  const answer = new SearchAnswerWriter();
  rebuilt.search(search, answer);
  const [expected] = answer.answers();
  if (summaryOf(found) !== summaryOf(expected)) {
    differ(`a search in collection ${collectionId} answers ${summaryOf(found)} instead of ${summaryOf(expected)}`);
  }
  return 1;
}

function summaryOf(answer: ShardSearchAnswer): string {
  const listed = (leg: Candidates | undefined) =>
    leg === undefined ? null : Array.from({ length: leg.count }, (_, row) => [leg.id(row), leg.score(row)]);
  const { documents, failed } = answer;
  return JSON.stringify([documents, failed ?? null, listed(answer.vector()), listed(answer.keyword())]);
}
