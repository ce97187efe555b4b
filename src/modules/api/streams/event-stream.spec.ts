import type { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { EventStream, matchesEvent, WAITING_BYTES_MAX } from './event-stream.js';

describe('EventStream', () => {
  it.each([
    [[], 'search.slow', true],
    [['cluster'], 'cluster.node_left', true],
    [['cluster'], 'clusters.x', false],
    [['document.bulk_progress'], 'document.bulk_progress', true],
    [['document.bulk_progress'], 'document.other', false],
  ])('with filter %j takes %s: %s', (filter, type, expected) => {
    expect(matchesEvent(filter, type)).toBe(expected);
  });

  it('drops events of a listener that does not read, and tells it how many', async () => {
    const response = new PassThrough({ highWaterMark: 1_024 });
    const stream = new EventStream(response as unknown as ServerResponse, []);
    const data = { text: 'x'.repeat(10_000) };
    for (let i = 0; i < 100; i++) stream.send({ type: 'cluster.x', data });
    expect(response.writableLength + response.readableLength).toBeLessThan(WAITING_BYTES_MAX + 3 * 10_100);
    let text = '';
    for await (const chunk of response) {
      text += String(chunk);
      if (text.includes('missed')) break;
    }
    const told = (text.match(/event: cluster\.x/g) ?? []).length;
    expect(text).toContain(`event: missed\ndata: {"missed":${100 - told}}`);
    expect(told).toBeGreaterThan(10);
  });
});
