import { describe, expect, it } from '@jest/globals';
import { Columns } from './columns.js';

describe('Columns', () => {
  it('are zeros, of the length asked for, and never share an element', () => {
    const columns = new Columns();
    const taken: (Float64Array | Uint32Array)[] = [];
    for (let i = 0; i < 2_000; i++) {
      const length = (i * 37) % 90;
      for (const column of [columns.float64(length), columns.uint32(length)]) {
        expect(column).toHaveLength(length);
        expect(column.every((value) => value === 0)).toBe(true);
        column.fill(i + 1);
        taken.push(column);
      }
    }
    taken.forEach((column, i) => expect(column.every((value) => value === Math.floor(i / 2) + 1)).toBe(true));
  });

  it('may be as long as anybody wants', () => {
    const columns = new Columns();
    expect(columns.float64(1_000_000)).toHaveLength(1_000_000);
    expect(columns.uint32(1_000_000)).toHaveLength(1_000_000);
    expect(columns.uint32(0)).toHaveLength(0);
  });
});
