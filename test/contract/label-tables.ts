import { expect } from '@jest/globals';
import fc from 'fast-check';
import { LabelTable } from '../../src/modules/shard/core/label-table.js';

/** Ids of which many begin alike, and whose order in UTF-8 is not that of their texts. */
export const idText = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', 'é', '語', '\uffee', '\u{1f600}'), minLength: 1, maxLength: 12 }),
  fc
    .string({ unit: fc.constantFrom('a', '\ue000', '\u{1f600}'), minLength: 1, maxLength: 3 })
    .map((end) => `same-${end}`),
);

/** Labels 0, 1, … for ids. */
export function tableOf(ids: readonly string[]): LabelTable {
  const table = LabelTable.empty();
  ids.forEach((one, i) => {
    const version = { hlc: { ms: 1e12 + i, counter: i }, opId: new Uint8Array(16).fill(i) };
    expect(table.add(one, version, 2 ** 40 + i)).toBe(i);
  });
  return table;
}
