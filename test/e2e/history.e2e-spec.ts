import { describe, expect, it } from '@jest/globals';
import { History } from './support/history.js';

const found = (id: string, version: string, value: string) => new Map([[id, { version, value }]]);
const nothing = new Map<string, never>();

describe('the history checker', () => {
  it('accepts the last acknowledged write, and a later life that supersedes it', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('a', 'second').acknowledge('02');
    history.endEra();
    expect(history.check(found('a', '02', 'second'))).toEqual([]);
    history.begin('a', 'third').acknowledge('03');
    history.endEra();
    expect(history.check(found('a', '03', 'third'))).toEqual([]);
  });

  it('finds a lost write', () => {
    const absent = new History();
    absent.begin('a', 'first').acknowledge('01');
    absent.endEra();
    expect(absent.check(nothing)).toEqual([expect.stringMatching(/^a: lost/)]);

    const older = new History();
    older.begin('a', 'first').acknowledge('01');
    older.begin('a', 'second').acknowledge('02');
    older.endEra();
    expect(older.check(found('a', '01', 'first'))).toEqual([expect.stringMatching(/^a: lost/)]);
  });

  it('finds a resurrected deletion', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('a', undefined).acknowledge('02');
    history.endEra();
    expect(history.check(found('a', '01', 'first'))).toEqual([expect.stringMatching(/^a: resurrected/)]);
  });

  it('finds an invented value, an invented id, a changed version and a refused write', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('b', 'refused').refuse();
    history.endEra();
    expect(history.check(found('a', '02', 'never written'))).toEqual([expect.stringMatching(/^a: invented/)]);
    expect(history.check(found('a', '02', 'first'))).toEqual([expect.stringMatching(/^a: .* has version 02/)]);
    const state = new Map([...found('a', '01', 'first'), ...found('b', '01', 'refused'), ...found('c', '01', 'x')]);
    expect(history.check(state)).toEqual([
      expect.stringMatching(/^c: invented/),
      expect.stringMatching(/^b: refused was refused/),
    ]);
  });

  it('lets an unknown outcome go either way, but not back again', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('a', 'maybe');
    history.endEra();
    expect(history.unknown).toBe(1);
    expect(history.check(found('a', '01', 'first'))).toEqual([]);
    expect(history.check(found('a', '02', 'maybe'))).toEqual([expect.stringMatching(/is back$/)]);

    const happened = new History();
    happened.begin('a', 'first').acknowledge('01');
    happened.begin('a', 'maybe');
    happened.endEra();
    expect(happened.check(found('a', '02', 'maybe'))).toEqual([]);
    expect(happened.check(found('a', '01', 'first'))).toEqual([expect.stringMatching(/^a: lost/)]);
  });

  it('lets an unknown deletion delete, and keeps it deleted', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('a', undefined);
    history.endEra();
    expect(history.check(nothing)).toEqual([]);
    expect(history.check(nothing)).toEqual([]);
    expect(history.check(found('a', '01', 'first'))).toEqual([expect.stringMatching(/^a: resurrected/)]);
  });

  it('does not let an unknown deletion of an earlier life take a later write', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    history.begin('a', undefined);
    history.endEra();
    history.begin('a', 'second').acknowledge('02');
    history.endEra();
    expect(history.check(nothing)).toEqual([expect.stringMatching(/^a: lost/)]);
  });

  it('finds versions that do not rise', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('02');
    history.begin('a', 'second').acknowledge('01');
    history.endEra();
    expect(history.check(found('a', '02', 'first'))).toContainEqual(expect.stringMatching(/given after 02/));
  });

  it('takes what follows a snapshot as possible, and what precedes it as certain', () => {
    const history = new History();
    history.begin('a', 'first').acknowledge('01');
    const noted = history.snapshot();
    history.begin('a', 'second').acknowledge('02');
    const withSecond = history.snapshot();
    noted.adoptAsUnknown(history);
    noted.endEra();
    expect(noted.snapshot().check(found('a', '02', 'second'))).toEqual([]);
    expect(noted.check(found('a', '01', 'first'))).toEqual([]);
    withSecond.endEra();
    expect(withSecond.check(found('a', '01', 'first'))).toEqual([expect.stringMatching(/^a: lost/)]);
  });
});
