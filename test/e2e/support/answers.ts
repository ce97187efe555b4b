import type { Rest } from './rest.js';
import { expectStatus } from './problem.js';
import { Random } from './random.js';

/** What a search answers, without what differs from run to run. */
export interface SteadyAnswer {
  readonly query: object;
  readonly results: readonly { readonly id: string; readonly score: number; readonly version: string }[];
}

const QUERIES: readonly object[] = [
  { text: 'river mountain forest' },
  { text: 'copper' },
  { vector: new Random(1).vector(4) },
  { vector: new Random(2).vector(4), params: { exact: true } },
  { text: 'garden silver', vector: new Random(3).vector(4) },
  {
    text: 'engine',
    vector: new Random(4).vector(4),
    params: { exact: true },
    fusion: { method: 'relative', alpha: 0.5 },
  },
  { text: 'river', filter: { must: [{ key: 'parity', match: { value: 1 } }] } },
  { vector: new Random(5).vector(4), filter: { must: [{ key: 'parity', match: { value: 0 } }] } },
];

/** The answers to some searches of every kind. */
export async function answersOf(rest: Rest): Promise<SteadyAnswer[]> {
  const answers: SteadyAnswer[] = [];
  for (const query of QUERIES) {
    const answer = await rest.post('/api/v1/search', { topK: 100, consistency: 'primary', ...query });
    const { results, partial } = expectStatus<SteadyAnswer & { partial: boolean }>(answer, 200);
    if (partial) throw new Error(`a partial answer to ${JSON.stringify(query)}: ${answer.text}`);
    answers.push({ query, results: results.map(({ id, score, version }) => ({ id, score, version })) });
  }
  return answers;
}

/** The same without versions, for nodes whose documents were written at other times. */
export function withoutVersions(answers: readonly SteadyAnswer[]): unknown {
  return answers.map(({ query, results }) => ({ query, results: results.map(({ id, score }) => ({ id, score })) }));
}
