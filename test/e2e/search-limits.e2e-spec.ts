import { afterAll, describe, expect, it } from '@jest/globals';
import { expectNoNodeLeft } from './cluster/running.js';
import { withNode } from './support/node.js';
import { expectProblem, expectStatus } from './support/problem.js';

afterAll(expectNoNodeLeft);

/** A text of 8 000 distinct terms, below 32 KiB. */
const MANY_TERMS = Array.from({ length: 8_000 }, (_, i) => i.toString(36).padStart(3, '0')).join(' ');

describe('a search text of thousands of terms', () => {
  it('is searched for a page, and refused for ten thousand results before memory is taken for them', async () => {
    await withNode({}, async (node) => {
      expectStatus(await node.rest.put('/api/v1/documents/a', { title: '00a 00b' }), 201);
      const page = expectStatus<{ totalHits: number }>(
        await node.rest.post('/api/v1/search', { text: MANY_TERMS }),
        200,
      );
      expect(page.totalHits).toBe(1);
      const refused = await node.rest.post('/api/v1/search', { text: MANY_TERMS, topK: 10_000 });
      expect(expectProblem(refused, 'LIMIT_EXCEEDED').detail).toContain('distinct terms');
    });
  });
});

describe('an answer larger than it may be', () => {
  it('is refused before it is put together; a scroll gives shorter pages', async () => {
    await withNode({}, async (node) => {
      const ids = Array.from({ length: 40 }, (_, i) => `large-${i}`);
      const content = `red ${'x'.repeat(900_000)}`;
      for (const id of ids) expectStatus(await node.rest.put(`/api/v1/documents/${id}`, { content }), 201);
      const search = { text: 'red', topK: 40 };
      expect(expectStatus<{ totalHits: number }>(await node.rest.post('/api/v1/search', search), 200).totalHits).toBe(
        40,
      );
      for (const [path, body] of [
        ['/api/v1/search', { ...search, withContent: true }],
        ['/api/v1/documents/get', { ids }],
      ] as const)
        expect(expectProblem(await node.rest.post(path, body), 'LIMIT_EXCEEDED').detail).toContain('ask for fewer');
      interface Page {
        readonly documents: readonly { readonly id: string }[];
        readonly cursor: string | null;
      }
      const first = await node.rest.post('/api/v1/documents/scroll', { limit: 1_000, withContent: true });
      const { documents, cursor } = expectStatus<Page>(first, 200);
      const rest = await node.rest.post('/api/v1/documents/scroll', { limit: 1_000, withContent: true, cursor });
      const last = expectStatus<Page>(rest, 200);
      expect(last.cursor).toBeNull();
      expect([...documents, ...last.documents].map(({ id }) => id).sort()).toEqual([...ids].sort());
    });
  }, 60_000);
});
