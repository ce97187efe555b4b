import type { OracleDocument } from './oracle.js';
import { Random, VOCABULARY, words } from './random.js';
import type { Rest } from './rest.js';
import { expectStatus } from './problem.js';
import { ndjson } from './lines.js';

/** A corpus with every mixture a node must cope with: documents without text, without vector, with metadata alone. */
export function corpus(seed: number, count: number, dimensions: number): OracleDocument[] {
  const random = new Random(seed);
  const centres = Array.from({ length: 8 }, () => random.vector(dimensions));
  return Array.from({ length: count }, (_, i) => {
    const kind = i % 10;
    const centre = random.pick(centres);
    const vector = centre.map((value) => Math.fround(value + 0.4 * random.normal()));
    const document = {
      id: `doc-${i}`,
      ...(kind === 8 ? {} : { title: words(random, 2), content: words(random, random.integer(4, 24)) }),
      ...(kind === 9 ? {} : { vector }),
      metadata: {
        number: i,
        group: i % 3 === 0 ? 'fizz' : 'other',
        word: random.pick(VOCABULARY),
        tags: [`t${i % 4}`, `u${i % 7}`],
        day: `2024-0${1 + (i % 9)}-15`,
        deep: { level: i % 5, even: i % 2 === 0 },
        ...(i % 6 === 0 ? { rare: null } : {}),
      },
    };
    return document;
  });
}

/** Stores documents through one NDJSON bulk and checks that all of them are. */
export async function store(rest: Rest, documents: readonly object[], query = ''): Promise<void> {
  const answer = await rest.bulk(ndjson(documents), query);
  expectStatus(answer, 201);
}

/** A document as the scroll gives it. */
export interface StoredDocument {
  readonly id: string;
  readonly version: string;
  readonly title?: string;
  readonly content?: string;
  readonly vector?: readonly number[];
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** Every document of a collection, whole, in the order of the scroll. */
export async function everything(rest: Rest, collection = 'default', pageSize = 1_000): Promise<StoredDocument[]> {
  const all: StoredDocument[] = [];
  let cursor: string | null = null;
  do {
    const answer = await rest.post(`/api/v1/documents/scroll?collection=${collection}`, {
      limit: pageSize,
      withContent: true,
      withVector: true,
      ...(cursor === null ? {} : { cursor }),
    });
    const page: { documents: StoredDocument[]; cursor: string | null } = expectStatus(answer, 200);
    all.push(...page.documents);
    cursor = page.cursor;
  } while (cursor !== null);
  return all;
}

/** Live documents by the count call. */
export async function count(rest: Rest, filter?: object, collection = 'default'): Promise<number> {
  const answer = await rest.post(
    `/api/v1/documents/count?collection=${collection}`,
    filter === undefined ? {} : { filter },
  );
  return expectStatus<{ count: number }>(answer, 200).count;
}
