import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ndjsonObjects, textLines } from './ndjson.js';

function streamOf(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

describe('textLines', () => {
  it('gives the same lines wherever the stream is cut', async () => {
    const text = 'a\r\nzwölf 🂡\n\nlast';
    const bytes = new TextEncoder().encode(text);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: bytes.length - 1 })), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        expect(await all(textLines(streamOf(chunks)))).toEqual(['a', 'zwölf 🂡', '', 'last']);
      }),
    );
  });

  it('cancels the stream when left early', async () => {
    let cancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode('x\n'));
      },
      cancel() {
        cancelled = true;
      },
    });
    for await (const line of textLines(stream)) if (line === 'x') break;
    expect(cancelled).toBe(true);
  });
});

describe('ndjsonObjects', () => {
  it('skips empty lines and refuses what is no object', async () => {
    const encode = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
    expect(await all(ndjsonObjects(streamOf(encode('{"a":1}\n\n{"b":2}'))))).toEqual([{ a: 1 }, { b: 2 }]);
    await expect(all(ndjsonObjects(streamOf(encode('{"a":'))))).rejects.toMatchObject({ code: 'BAD_ANSWER' });
    await expect(all(ndjsonObjects(streamOf(encode('7\n'))))).rejects.toMatchObject({ code: 'BAD_ANSWER' });
  });
});
