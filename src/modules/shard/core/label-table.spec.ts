import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { versionOf } from '../../../../test/contract/shard-log.js';
import { LabelTable, NO_LABEL } from './label-table.js';

const all = (): boolean => true;

describe('LabelTable', () => {
  it('knows a label by id and an id by label', () => {
    const table = LabelTable.empty();
    const label = table.add('a', versionOf(5, 7), 12);
    expect([table.labelOf('a'), table.idOf(label), table.offsetOf(label)]).toEqual([label, 'a', 12]);
    expect(table.versionOf(label)).toEqual(versionOf(5, 7));
    expect([table.labelOf('b'), table.idOf(99), table.size]).toEqual([NO_LABEL, '', 1]);
  });

  it('orders versions by clock, then by operation', () => {
    const table = LabelTable.empty();
    const label = table.add('a', { hlc: { ms: 5, counter: 3 }, opId: new Uint8Array(16).fill(9) }, 1);
    const order = (ms: number, counter: number, op: number): number =>
      Math.sign(table.compareVersion({ hlc: { ms, counter }, opId: new Uint8Array(16).fill(op) }, label));
    expect([order(4, 9, 9), order(5, 2, 9), order(5, 3, 8)]).toEqual([-1, -1, -1]);
    expect(order(5, 3, 9)).toBe(0);
    expect([order(6, 0, 0), order(5, 4, 0), order(5, 3, 10)]).toEqual([1, 1, 1]);
  });

  it('gives a number again only after it was released', () => {
    const table = LabelTable.empty();
    const first = table.add('a', versionOf(1), 1);
    table.remove(first);
    const second = table.add('a', versionOf(2), 2);
    expect(second).not.toBe(first);
    table.release(first);
    expect(table.add('b', versionOf(3), 3)).toBe(first);
  });

  it('refuses a second live label of an id, and the release of a live one', () => {
    const table = LabelTable.empty();
    const label = table.add('a', versionOf(1), 1);
    expect(() => table.add('a', versionOf(2), 2)).toThrow('at most one live label');
    expect(() => table.release(label)).toThrow('is live');
    table.remove(label);
    expect(() => table.remove(label)).toThrow('not live');
  });

  it('scrolls as a sort of the live ids would, whatever came and went between the pages', () => {
    const id = fc.string({ minLength: 1, maxLength: 3, unit: fc.constantFrom('a', 'b', 'é', '😀', 'z') });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), id }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), id }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('scroll' as const), id }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (steps, limit) => {
        const table = LabelTable.empty();
        const live = new Set<string>();
        for (const { do: what, id: subject } of steps) {
          if (what === 'add' && !live.has(subject)) {
            table.add(subject, versionOf(1), 1);
            live.add(subject);
          } else if (what === 'remove' && live.delete(subject)) {
            const label = table.labelOf(subject);
            table.remove(label);
            table.release(label);
          } else if (what === 'scroll') {
            const expected = [...live].filter((other) => other > subject).sort();
            const { labels, more } = table.scroll(subject, limit, all);
            expect(labels.map((label) => table.idOf(label))).toEqual(expected.slice(0, limit));
            expect(more).toBe(expected.length > limit);
          }
        }
        const { labels } = table.scroll(undefined, 1_000, all);
        expect(labels.map((label) => table.idOf(label))).toEqual([...live].sort());
      }),
    );
  });

  it('keeps the order over many changes at once', () => {
    const table = LabelTable.empty();
    const ids = Array.from({ length: 3_000 }, (_, i) => `id-${(i * 7919) % 3_000}`);
    ids.slice(0, 1_000).forEach((id) => table.add(id, versionOf(1), 1));
    table.scroll(undefined, 1, all);
    ids.slice(1_000).forEach((id) => table.add(id, versionOf(1), 1));
    const { labels } = table.scroll(undefined, 5_000, all);
    expect(labels.map((label) => table.idOf(label))).toEqual([...ids].sort());
  });

  it('passes over what is not accepted without ending the page', () => {
    const table = LabelTable.empty();
    for (let i = 0; i < 10; i++) table.add(`id-${i}`, versionOf(1), 1);
    const { labels, more } = table.scroll('id-1', 3, (label) => label % 2 === 0);
    expect(labels).toEqual([2, 4, 6]);
    expect(more).toBe(true);
  });

  it('comes back from its columns, free numbers included', () => {
    const table = LabelTable.empty();
    for (const id of ['a', 'b', 'c', 'd']) table.add(id, versionOf(id.charCodeAt(0)), 3);
    table.remove(1);
    table.remove(2);
    const copy = LabelTable.from(table.bytes(), (label) => label === 2);
    expect([copy.size, copy.high, copy.labelOf('d'), copy.labelOf('b')]).toEqual([2, 4, 3, NO_LABEL]);
    expect(copy.versionOf(3)).toEqual(versionOf(100));
    expect(copy.add('e', versionOf(1), 9)).toBe(2);
    expect(copy.add('f', versionOf(1), 9)).toBe(4);
  });
});
