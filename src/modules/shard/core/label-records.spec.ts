import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../kernel/bytes.js';
import { idHash } from '../../../kernel/id-bytes.js';
import { compareIds } from '../../../kernel/ids.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { LabelRecords } from './label-records.js';

function put(records: LabelRecords, label: number, id: string, offset: number): void {
  const bytes = utf8(id);
  records.put(
    label,
    bytes,
    bytes.length,
    idHash(bytes, 0, bytes.length),
    { ms: 2 ** 47 + offset, counter: 65_535 },
    offset,
  );
}

function expectRecord(records: LabelRecords, label: number, id: string, offset: number): void {
  const bytes = utf8(id);
  expect(records.idOf(label)).toBe(id);
  expect(records.idLengthOf(label)).toBe(bytes.length);
  expect([records.offsetOf(label), records.msOf(label), records.counterOf(label)]).toEqual([
    offset,
    2 ** 47 + offset,
    65_535,
  ]);
  expect(records.hashOf(label)).toBe(idHash(bytes, 0, bytes.length));
  const written = new Uint8Array(bytes.length + 2);
  expect(records.writeId(label, written, 1)).toBe(bytes.length + 1);
  expect(written.subarray(1, -1)).toEqual(bytes);
  expect([records.idByteOf(label, 0), records.idByteOf(label, bytes.length)]).toEqual([bytes[0], 0]);
}

describe('LabelRecords', () => {
  it('keeps what is put, whatever ends between', () => {
    // Long ids, so that gaps are closed.
    const id = fc
      .tuple(fc.constantFrom('a', 'é', '語', '\u{1f600}'), fc.integer({ min: 1, max: 3_000 }))
      .map(([unit, length]) => unit.repeat(length));
    const step = fc.record({ label: fc.nat(20), id, offset: fc.nat(Number.MAX_SAFE_INTEGER - 2 ** 48) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const records = new LabelRecords();
        const model = new Map<number, { readonly id: string; readonly offset: number }>();
        for (const { label, ...what } of steps) {
          if (records.isLive(label)) {
            records.end(label);
            model.delete(label);
            expect(records.idOf(label)).toBe('');
          } else {
            put(records, label, what.id, what.offset);
            model.set(label, what);
          }
        }
        const { records: bytes, texts } = records.bytes();
        const live = [...model.values()].reduce((sum, { id: text }) => sum + utf8(text).length, 0);
        expect(texts.length).toBeLessThanOrEqual(Math.max(2 * live, live + (1 << 16)));
        const copy = LabelRecords.from(bytes.slice(), texts.slice());
        for (const [label, { id: text, offset }] of model) {
          expectRecord(records, label, text, offset);
          expectRecord(copy, label, text, offset);
        }
        const labels = [...model.keys()];
        for (const a of labels) {
          for (const b of labels)
            expect(Math.sign(records.compareIds(a, b))).toBe(
              compareIds(model.get(a)?.id ?? '', model.get(b)?.id ?? ''),
            );
        }
      }),
      { numRuns: 20 },
    );
  });

  it('refuses bytes that are none of its own', () => {
    const records = new LabelRecords();
    put(records, 0, 'abc', 1);
    const { records: bytes, texts } = records.bytes();
    expect(() => LabelRecords.from(bytes.subarray(1), texts)).toThrow(IndexDamagedError);
    expect(() => LabelRecords.from(bytes, texts.subarray(1))).toThrow('label 0');
  });
});
