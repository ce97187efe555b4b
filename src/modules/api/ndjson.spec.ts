import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import { BULK_SCHEMAS } from './controllers/bulk.controller.js';
import { linesOf, ndjsonItems } from './ndjson.js';

async function* stream(chunks: Iterable<string | Buffer>): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk as string);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const lines = async (...chunks: (string | Buffer)[]) => (await all(linesOf(stream(chunks)))).map(String);

describe('linesOf', () => {
  it('finds the same lines however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 8 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.array(fc.nat(40), { maxLength: 12 }),
        async (texts, end, ended, cuts) => {
          const bytes = Buffer.from(texts.join(end) + (ended ? end : ''));
          const chunks: Buffer[] = [];
          let from = 0;
          for (const cut of cuts) {
            chunks.push(bytes.subarray(from, from + cut));
            from += cut;
          }
          chunks.push(bytes.subarray(from));
          const expected = bytes
            .toString()
            .split('\n')
            .filter((line) => !/^[ \t\r\n]*$/.test(line));
          expect(await lines(...chunks)).toEqual(expected);
        },
      ),
    );
  });

  it('leaves out a line that is too long, wherever it is cut', async () => {
    const long = Buffer.alloc(LIMITS.lineBytesMax + 1, 'x');
    expect(await lines('a\n', long, '\nb')).toEqual(['a', 'too-long', 'b']);
    expect(await lines('a\n', long.subarray(0, 5), long, long, 'y\nb\n')).toEqual(['a', 'too-long', 'b']);
    expect(await lines(long)).toEqual(['too-long']);
    expect((await lines(long.subarray(1)))[0]).toHaveLength(LIMITS.lineBytesMax);
  });
});

describe('ndjsonItems', () => {
  const items = (...chunks: (string | Buffer)[]) => all(ndjsonItems(stream(chunks), BULK_SCHEMAS));

  it('ends with an item of what the stream failed with, behind the lines that were whole', async () => {
    async function* failing(error: Error): AsyncGenerator<Buffer> {
      yield* stream(['{"id":"a","title":"x"}\n{"id":"b"']);
      throw error;
    }
    const ended = new NodeError('INVALID_REQUEST', 'it ended');
    expect(await all(ndjsonItems(failing(ended), BULK_SCHEMAS))).toEqual([
      { kind: 'upsert', id: 'a', fields: { title: 'x' }, bytes: 22 },
      { kind: 'invalid', code: 'INVALID_REQUEST', detail: 'it ended' },
    ]);
    await expect(all(ndjsonItems(failing(new TypeError('a bug')), BULK_SCHEMAS))).rejects.toThrow('a bug');
  });

  it('reads documents and operations', async () => {
    expect(
      await items(
        '{"id":"a","vector":[1]}\n{"op":"upsert","id":"b","title":"t"}\n{"op":"patch","id":"c","title":null,"metadata":{"x":null}}\n{"op":"delete","id":"d"}',
      ),
    ).toEqual([
      { kind: 'upsert', id: 'a', fields: { vector: Float32Array.of(1) }, bytes: 23 },
      { kind: 'upsert', id: 'b', fields: { title: 't' }, bytes: 36 },
      { kind: 'patch', id: 'c', patch: { title: null, metadata: { x: null } }, bytes: 58 },
      { kind: 'delete', id: 'd', bytes: 24 },
    ]);
  });

  it.each([
    ['{', undefined, 'INVALID_REQUEST'],
    ['null', undefined, 'INVALID_REQUEST'],
    ['[]', undefined, 'INVALID_REQUEST'],
    ['{"id":"a"}', 'a', 'INVALID_REQUEST'],
    ['{"id":"a","title":"x","collection":"c"}', 'a', 'INVALID_REQUEST'],
    ['{"id":5,"title":"x"}', undefined, 'INVALID_REQUEST'],
    ['{"op":"delete","id":"a","title":"x"}', 'a', 'INVALID_REQUEST'],
    ['{"op":"patch","id":"a"}', 'a', 'INVALID_REQUEST'],
    ['{"op":"put","id":"a"}', 'a', 'INVALID_REQUEST'],
    [`{"id":"a","metadata":${'[1,'.repeat(70)}${']'.repeat(70)}}`, undefined, 'LIMIT_EXCEEDED'],
    [`{"id":"a","content":"${'x'.repeat(LIMITS.documentBytesMax + 1)}"}`, 'a', 'PAYLOAD_TOO_LARGE'],
    [Buffer.from([0x22, 0xff, 0x22]), undefined, 'INVALID_REQUEST'],
  ])('makes an invalid item of a bad line (%#)', async (line, id, code) => {
    const found = await items('{"id":"before","title":"x"}\n', line, '\n{"id":"after","title":"x"}');
    expect(found).toMatchObject([{ id: 'before' }, { kind: 'invalid', code }, { id: 'after' }]);
    expect((found[1] as { id?: string }).id).toBe(id);
  });

  it('gives the event loop turns, and reads no further than it is asked', async () => {
    const text = `${JSON.stringify({ id: 'a', content: 'x'.repeat(1_000) })}\n`.repeat(64);
    let pulled = 0;
    const chunks = (function* () {
      for (; pulled < 200; pulled++) yield text;
    })();
    const found = ndjsonItems(stream(chunks), BULK_SCHEMAS);
    for (let i = 0; i < 10; i++) await found.next();
    expect(pulled).toBe(0);
    let turns = 0;
    let counting = true;
    void (async () => {
      for (; counting; turns++) await nextTurn();
    })();
    for await (const item of found) expect(item.kind).toBe('upsert');
    counting = false;
    expect(pulled).toBe(200);
    expect(turns).toBeGreaterThan(3);
  });

  it('hands on what was read before the stream failed, and then the failure', async () => {
    const broken = (async function* () {
      yield* stream(['{"id":"a","title":"x"}\n{"id":"b","ti']);
      throw new Error('cut');
    })();
    const found = ndjsonItems(broken, BULK_SCHEMAS);
    expect((await found.next()).value).toMatchObject({ id: 'a' });
    await expect(found.next()).rejects.toThrow('cut');
  });
});
