import { describe, expect, it } from '@jest/globals';
import { shortened, table } from './table.js';
import { byteSize, duration, grouped } from './units.js';

describe('table', () => {
  it('aligns columns, cuts long cells and has no trailing space', () => {
    const text = table(
      [
        { head: '#', align: 'right' },
        { head: 'name', widthMax: 5 },
      ],
      [
        [1, 'ab'],
        [10, 'abcdefgh'],
      ],
    );
    expect(text).toBe(' #  name\n 1  ab\n10  abcd…');
  });

  it('lets no data drive the terminal', () => {
    expect(shortened('a\u001b[31m\n\tb\u009b', 20)).toBe('a [31m b');
    expect(shortened('😀😀😀', 2)).toBe('😀…');
  });
});

describe('units', () => {
  it('are readable', () => {
    expect([0, 999, 1_000, 1_234_567].map(grouped)).toEqual(['0', '999', '1 000', '1 234 567']);
    expect([12, 1_500, 65_000, 7_380_000].map(duration)).toEqual(['12 ms', '1.5 s', '1 min 5 s', '2 h 3 min']);
    expect([5, 2_048, 3.5 * 1024 ** 3].map(byteSize)).toEqual(['5 B', '2.0 KiB', '3.5 GiB']);
  });
});
