import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  CURSOR_TEXT_MAX,
  decodeCursor,
  encodeCursor,
  LOG_BEGIN,
  placeOnPage,
  type ChangePlace,
} from './change-cursor.js';
import { encodePositions } from './positions.js';

const offset = fc.oneof(fc.nat(100), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
const place = fc
  .record({ epoch: fc.nat(), reign: fc.nat(0xffff_ffff), offset, passingTo: offset })
  .map((at) => ({ ...at, passingTo: at.passingTo > at.offset ? at.passingTo : 0 }));
const places = fc
  .dictionary(fc.nat(255).map(String), place, { maxKeys: 256 })
  .map((all) => new Map<number, ChangePlace>(Object.entries(all).map(([shard, at]) => [Number(shard), at])));
const at = (offset: number, passingTo = 0): ChangePlace => ({ epoch: 3, reign: 7, offset, passingTo });
const whole = { start: 0, compacted: false };

describe('a cursor of the change stream', () => {
  it('survives a round trip', () => {
    fc.assert(
      fc.property(places, fc.nat(0xffff_ffff), (all, tag) => {
        const text = encodeCursor(all, tag);
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(decodeCursor(text, tag)).toEqual({ places: all, foreign: false });
        expect(decodeCursor(text, (tag + 1) % 2 ** 32)?.foreign).toBe(true);
      }),
    );
  });

  it('has room for every shard at the greatest of places', () => {
    const greatest = {
      epoch: Number.MAX_SAFE_INTEGER,
      reign: 0xffff_ffff,
      offset: Number.MAX_SAFE_INTEGER - 1,
      passingTo: Number.MAX_SAFE_INTEGER,
    };
    const all = new Map(Array.from({ length: 256 }, (_, shard) => [shard, greatest]));
    const text = encodeCursor(all, 0xffff_ffff);
    expect(text.length).toBeLessThanOrEqual(CURSOR_TEXT_MAX);
    expect(decodeCursor(text, 0xffff_ffff)?.places).toEqual(all);
  });

  it('is what it always was outside of compacted parts, and an old one means the same', () => {
    const old = encodePositions(new Map([[4, { epoch: 3, reign: 7, offset: 9 }]]), 1);
    expect(encodeCursor(new Map([[4, at(9)]]), 1)).toBe(old);
    expect(encodeCursor(new Map([[4, at(9, 9)]]), 1)).toBe(old);
    expect(decodeCursor(old, 1)).toEqual({ places: new Map([[4, at(9)]]), foreign: false });
  });

  it('is not just any text', () => {
    const cut = encodeCursor(new Map([[0, at(1, 5)]]), 1).slice(0, -2);
    for (const text of ['', '!', 'AAAA', 'Aw', cut, 'x'.repeat(20_000)]) expect(decodeCursor(text, 1)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => void decodeCursor(text, 1)));
  });
});

describe('a page of a log', () => {
  const compacted = { start: 20, compacted: true };

  it('that is whole is for everyone, and ends no pass', () => {
    for (const place of [LOG_BEGIN, at(5), at(5, 9)])
      for (const reading of [false, true]) expect(placeOnPage(place, whole, reading)).toEqual(place);
  });

  it('with gaps begins a pass for who begins with nothing, or reads at this moment', () => {
    expect(placeOnPage(LOG_BEGIN, compacted, false)).toEqual({ ...LOG_BEGIN, passingTo: 20 });
    expect(placeOnPage(at(5), compacted, true)).toEqual(at(5, 20));
  });

  it('with gaps goes on for who is passing, however far the log was compacted since', () => {
    expect(placeOnPage(at(5, 20), compacted, false)).toEqual(at(5, 20));
    expect(placeOnPage(at(5, 9), compacted, false)).toEqual(at(5, 20));
    // A copy that compacted less than the one before.
    expect(placeOnPage(at(5, 30), compacted, false)).toEqual(at(5, 30));
  });

  it('with gaps is not for who comes back and was promised every write', () => {
    expect(placeOnPage(at(5), compacted, false)).toBeUndefined();
    expect(placeOnPage(at(9, 9), compacted, false)).toBeUndefined();
  });

  it('of another branch goes on at the fork where nothing is missing on either side of it', () => {
    const fork = { ...LOG_BEGIN, offset: 4 };
    for (const reading of [false, true]) {
      expect(placeOnPage(at(5), { ...whole, fork: 4 }, reading)).toEqual(fork);
      expect(placeOnPage(at(5), { ...compacted, fork: 4 }, reading)).toBeUndefined();
      expect(placeOnPage(at(5, 9), { ...whole, fork: 4 }, reading)).toBeUndefined();
      expect(placeOnPage(at(5, 9), { ...whole, fork: 0 }, reading)).toEqual(LOG_BEGIN);
      expect(placeOnPage(at(9, 9), { ...whole, fork: 4 }, reading)).toEqual(fork);
    }
  });
});
