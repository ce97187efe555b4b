import type { SearchAnswer, SearchRequest, SpectorClient } from '../../client/index.js';

/** A search worth showing. */
export interface DemoSearch {
  readonly name: string;
  /** What it does, for people. */
  readonly sentence: string;
  /** Words to find, if any. */
  readonly text?: string;
  /** Document whose vector is searched for, if any. */
  readonly like?: string;
}

/** One of each kind, over the WordNet corpus of examples/wordnet. */
export const DEMO_SEARCHES: readonly DemoSearch[] = [
  {
    name: 'keyword',
    sentence: 'Keyword search for "active volcano": documents with these words, ranked by BM25',
    text: 'active volcano',
  },
  {
    name: 'vector',
    sentence: 'Vector search: documents like n03115320 (cornet, horn, trumpet), whatever their words',
    like: 'n03115320',
  },
  {
    name: 'hybrid',
    sentence: 'Hybrid search for "sailing vessel", with the vector of n03717538 (mainmast): both rankings fused',
    text: 'sailing vessel',
    like: 'n03717538',
  },
];

const RESULTS = 5;

export async function runDemoSearch(
  client: SpectorClient,
  { text, like }: DemoSearch,
  signal: AbortSignal,
): Promise<SearchAnswer> {
  const vector = like === undefined ? undefined : (await client.get(like, { withVector: true, signal })).vector;
  const request: SearchRequest = {
    ...(text === undefined ? {} : { text }),
    ...(vector === undefined ? {} : { vector }),
    topK: RESULTS,
    withContent: true,
  };
  return client.search(request, { signal });
}
