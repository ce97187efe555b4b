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
