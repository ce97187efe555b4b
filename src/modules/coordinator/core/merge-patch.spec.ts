import { describe, expect, it } from '@jest/globals';
import { mergePatch } from './merge-patch.js';

const vector = Float32Array.of(1, 2);

describe('mergePatch', () => {
  it('leaves absent members, removes null ones, replaces the rest', () => {
    const fields = { title: 't', content: 'c', vector };
    expect(mergePatch(fields, { title: 'new' })).toEqual({ title: 'new', content: 'c', vector });
    expect(mergePatch(fields, { content: null, vector: null })).toEqual({ title: 't' });
    expect(mergePatch(fields, { vector: Float32Array.of(3) })).toEqual({
      title: 't',
      content: 'c',
      vector: Float32Array.of(3),
    });
  });

  it('merges metadata as RFC 7386 has it', () => {
    const metadata = { a: 'b', c: { d: 'e', f: 'g' }, list: [1, 2] };
    expect(mergePatch({ metadata }, { metadata: { a: 'z', c: { f: null }, list: [3] } })).toEqual({
      metadata: { a: 'z', c: { d: 'e' }, list: [3] },
    });
    expect(mergePatch({ metadata: { a: 'text' } }, { metadata: { a: { b: { c: null, d: 1 } } } })).toEqual({
      metadata: { a: { b: { d: 1 } } },
    });
    expect(mergePatch({}, { metadata: { a: { b: null } } })).toEqual({ metadata: { a: {} } });
    expect(mergePatch({ title: 't', metadata }, { metadata: null })).toEqual({ title: 't' });
  });

  it('treats a member named __proto__ as data', () => {
    const patch = JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, never>;
    const merged = mergePatch({ metadata: {} }, { metadata: patch }).metadata ?? {};
    expect(Object.hasOwn(merged, '__proto__')).toBe(true);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
