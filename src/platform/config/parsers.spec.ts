import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  SettingProblem,
  address,
  advertised,
  boolean,
  duration,
  integer,
  list,
  oneOf,
  size,
  sizeText,
  text,
} from './parsers.js';

describe('parsers', () => {
  it.each([
    ['true', true],
    ['ON', true],
    ['1', true],
    ['false', false],
    ['Off', false],
    ['0', false],
  ])('read the boolean %s', (given, value) => {
    expect(boolean(given)).toBe(value);
  });

  it.each(['', 'yes', '2', ' true'])('refuse the boolean %p', (given) => {
    expect(() => boolean(given)).toThrow(SettingProblem);
  });

  it.each([
    ['0', 0],
    ['0s', 0],
    ['500ms', 500],
    ['2s', 2_000],
    ['1.5s', 1_500],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['1 h', 3_600_000],
  ])('read the duration %s', (given, ms) => {
    expect(duration('0s', '24h')(given)).toBe(ms);
  });

  it.each(['', '2', '-1s', '25h', '1e3s', '2 sec', 's', 'NaNs', '1s1s', 'Infinity'])(
    'refuse the duration %p',
    (given) => {
      expect(() => duration('0s', '24h')(given)).toThrow('must be a duration from 0s to 24h');
    },
  );

  it.each([
    ['1048576', 2 ** 20],
    ['512MiB', 512 * 2 ** 20],
    ['10GiB', 10 * 2 ** 30],
    ['10 GiB', 10 * 2 ** 30],
    ['2MB', 2_000_000],
    ['1.5MiB', 1.5 * 2 ** 20],
    ['25%', 2 ** 30],
    ['100%', 2 ** 32],
  ])('read the size %s', (given, bytes) => {
    expect(size(2 ** 20)(given, 2 ** 32)).toBe(bytes);
  });

  it.each(['', '1', '1048575', '-1', '0%', '101%', '1e9', '12 XiB', 'MiB', '9999999999999999TiB'])(
    'refuse the size %p',
    (given) => {
      expect(() => size(2 ** 20)(given, 2 ** 32)).toThrow('must be a size of at least 1MiB');
    },
  );

  it('refuse a percentage of what is not known', () => {
    expect(() => size(1)('25%')).toThrow(SettingProblem);
  });

  it('read whole numbers between their bounds only', () => {
    fc.assert(
      fc.property(fc.integer({ min: -100, max: 400 }), (number) => {
        const read = () => integer(1, 256)(String(number));
        if (number >= 1 && number <= 256) expect(read()).toBe(number);
        else expect(read).toThrow('must be a whole number from 1 to 256');
      }),
    );
    for (const given of ['', '1.5', '0x10', '1e2', ' 1', '12abc', '99999999999999999999'])
      expect(() => integer(1, 256)(given)).toThrow(SettingProblem);
  });

  it('read sizes they wrote', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (bytes) =>
        expect(size(0)(sizeText(bytes).replace(' bytes', ''))).toBe(bytes),
      ),
    );
  });

  it('read addresses', () => {
    expect(address('node-1:9090')).toEqual({ host: 'node-1', port: 9090 });
    expect(address('[::1]:9090')).toEqual({ host: '::1', port: 9090 });
    expect(advertised('node-1')).toBe('node-1');
    expect(advertised('[::1]:9')).toBe('[::1]:9');
    for (const given of ['', 'node-1', ':9090', 'node-1:0', 'node-1:65536', 'a b:1', '::1:9090', 'http://a:1'])
      expect(() => address(given)).toThrow(SettingProblem);
    for (const given of ['', 'a:', 'a:0', 'a:65536', 'a b', 'http://a'])
      expect(() => advertised(given)).toThrow(SettingProblem);
  });

  it('trim the parts of a list', () => {
    expect(list(text)(' a , b,')).toEqual(['a', 'b']);
    expect(list(text)('')).toEqual([]);
    for (const nothing of [',', ' ', ' , ']) expect(() => list(text)(nothing)).toThrow('must not be empty');
  });

  it('name the words they know', () => {
    expect(oneOf('auto', 'one')('AUTO')).toBe('auto');
    expect(() => oneOf('auto', 'one')('two')).toThrow('must be one of auto, one');
  });
});
