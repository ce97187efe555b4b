import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Batch, batches, type Position } from './batches.js';
import { LINE_BYTES_MAX } from './lines.js';

const START: Position = { line: 0, offset: 0 };

async function* cutAt(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const at = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < at.length; i++) yield bytes.subarray(at[i - 1], at[i]);
}

async function all(chunks: AsyncIterable<Buffer>, start: Position, linesMax: number): Promise<Batch[]> {
  const list: Batch[] = [];
  for await (const batch of batches(chunks, start, linesMax)) list.push(batch);
  return list;
}

describe('batches', () => {
  it('cuts the same batches wherever the bytes are cut, and the same rest from every boundary', async () => {
    const line = fc.oneof(
      fc.constant(''),
      fc.constant('  '),
      fc.constant('{"id":"a","title":"é"}'),
      fc.constant('{bad'),
      fc.nat(99).map((n) => `{"id":"${n}"}\r`),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 30 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.nat(1_000)),
        async (lines, ended, size, cuts) => {
          const bytes = Buffer.from(lines.join('\n') + (ended ? '\n' : ''));
          const whole = await all(cutAt(bytes, []), START, size);
          expect(
            await all(
              cutAt(
                bytes,
                cuts.map((cut) => Math.min(cut, bytes.length)),
              ),
              START,
              size,
            ),
          ).toEqual(whole);
          for (const [i, { end }] of whole.entries()) {
            expect(await all(cutAt(bytes.subarray(end.offset), []), end, size)).toEqual(whole.slice(i + 1));
          }
          const sent = whole.flatMap((batch) =>
            batch.body
              .toString()
              .split('\n')
              .filter((one) => one !== ''),
          );
          expect(sent).toEqual(lines.filter((one) => one.trim() !== ''));
          const numbers = whole.flatMap((batch) => batch.lines);
          expect(numbers).toEqual(lines.flatMap((one, i) => (one.trim() === '' ? [] : [i + 1])));
          for (const batch of whole) expect(batch.lines.length).toBeLessThanOrEqual(size);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('knows the ids its lines are about', async () => {
    const [batch] = await all(
      cutAt(Buffer.from('{"id":"a"}\n{"op":"delete","id":"b"}\nnot json\n[1]\n{"id":7}\n'), []),
      START,
      10,
    );
    expect([...batch.ids]).toEqual(['a', 'b']);
    expect(batch.lines).toEqual([1, 2, 3, 4, 5]);
  });

  it('leaves a byte order mark out of the first line, and counts it', async () => {
    const [batch] = await all(cutAt(Buffer.from('\ufeff{"id":"a"}\n'), []), START, 10);
    expect(batch.body.toString()).toBe('{"id":"a"}\n');
    expect(batch.end).toEqual({ line: 1, offset: 14 });
  });

  it('names lines too long to send, and goes on after them', async () => {
    const long = Buffer.alloc(LINE_BYTES_MAX + 1, 'x');
    const bytes = Buffer.concat([Buffer.from('{"id":"a"}\n'), long, Buffer.from('\n{"id":"b"}\n')]);
    const [batch] = await all(cutAt(bytes, [100, 70_000]), START, 10);
    expect(batch.oversized).toEqual([2]);
    expect(batch.body.toString()).toBe('{"id":"a"}\n{"id":"b"}\n');
    expect(batch.end).toEqual({ line: 3, offset: bytes.length });
  });
});
