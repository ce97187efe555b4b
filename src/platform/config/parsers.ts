/** A value that cannot be used; the message goes on after "must be" or stands alone. */
export class SettingProblem extends Error {
  override readonly name = 'SettingProblem';
}

/** Turns the text of a setting into its value, or throws SettingProblem. `whole` is what a percentage is of. */
export type Parser<T> = (text: string, whole?: number) => T;

/** Any text but the empty one. */
export const text: Parser<string> = (value) => {
  if (value === '') throw new SettingProblem('must not be empty');
  return value;
};

/** Text of a pattern, described in words. */
export function pattern(expected: RegExp, words: string): Parser<string> {
  return (value) => {
    if (!expected.test(value)) throw new SettingProblem(`must be ${words}`);
    return value;
  };
}

export const boolean: Parser<boolean> = (value) => {
  const known = BOOLEANS.get(value.toLowerCase());
  if (known === undefined) throw new SettingProblem('must be true, false, on, off, 1 or 0');
  return known;
};

/** Words for yes and no. */
export const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['off', false],
  ['0', false],
]);

export function oneOf<const T extends string>(...words: readonly T[]): Parser<T> {
  return (value) => {
    const found = words.find((word) => word === value.toLowerCase());
    if (found === undefined) throw new SettingProblem(`must be one of ${words.join(', ')}`);
    return found;
  };
}

/** A whole number between two bounds, both included. */
export function integer(min: number, max: number): Parser<number> {
  return (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : NaN;
    if (!(number >= min && number <= max)) throw new SettingProblem(`must be a whole number from ${min} to ${max}`);
    return number;
  };
}

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Milliseconds of a duration like `500ms`, `2s`, `1.5m`, `24h` or plain `0`, between two bounds in the same notation. */
export function duration(min: string, max: string): Parser<number> {
  const [minMs, maxMs] = [milliseconds(min), milliseconds(max)];
  return (value) => {
    const ms = milliseconds(value);
    if (!(ms >= minMs && ms <= maxMs))
      throw new SettingProblem(`must be a duration from ${min} to ${max}, such as 500ms, 2s, 10m or 24h`);
    return ms;
  };
}

function milliseconds(value: string): number {
  if (value === '0') return 0;
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d)$/.exec(value) ?? [];
  return Math.round(Number(number) * (DURATION_UNITS.get(unit ?? '') ?? NaN));
}

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
]);

/** Bytes of a size like `512MiB`, `10 GiB`, `1048576` or, of the whole it is a part of, `25%`; at least `min` bytes. */
export function size(min: number): Parser<number> {
  return (value, whole) => {
    const bytes = bytesOf(value, whole);
    if (!(bytes >= min && bytes <= Number.MAX_SAFE_INTEGER)) {
      throw new SettingProblem(
        `must be a size of at least ${sizeText(min)}, such as 512MiB or 10GiB${whole === undefined ? '' : ', or a part such as 25%'}`,
      );
    }
    return bytes;
  };
}

function bytesOf(value: string, whole: number | undefined): number {
  const [, number, unit] = /^(\d{1,16}(?:\.\d{1,6})?) ?(%|[KMGT]i?B|B|)$/.exec(value) ?? [];
  if (unit !== '%') return Math.floor(Number(number) * (SIZE_UNITS.get(unit ?? '?') ?? NaN));
  const percent = Number(number);
  return percent > 0 && percent <= 100 && whole !== undefined ? Math.floor((whole * percent) / 100) : NaN;
}

/** A size in the largest binary unit that divides it. */
export function sizeText(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    const factor = SIZE_UNITS.get(unit) ?? 1;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes} bytes`;
}

/** Parts between commas, trimmed; empty parts (a comma at the end) are left out, unless the text has no other. */
export function list<T>(part: Parser<T>): Parser<readonly T[]> {
  return (value) => {
    const items = value.split(',').map((item) => item.trim());
    const given = items.filter((item) => item !== '');
    return (given.length === 0 && value !== '' ? items : given).map((item) => part(item));
  };
}

const HOST = String.raw`(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])`;

/** `host:port`, an IPv6 address in brackets. */
export const address: Parser<{ readonly host: string; readonly port: number }> = (value) => {
  const [, host, port] = new RegExp(`^(${HOST}):(\\d{1,5})$`).exec(value) ?? [];
  if (host === undefined || !(Number(port) >= 1 && Number(port) <= 65_535))
    throw new SettingProblem(`must be host:port (of each, "${value}" is not)`);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
};

/** `host` or `host:port`. */
export const advertised: Parser<string> = (value) => {
  const [, , port] = new RegExp(`^(${HOST})(?::(\\d{1,5}))?$`).exec(value) ?? [undefined, undefined, '0'];
  if (port !== undefined && !(Number(port) >= 1 && Number(port) <= 65_535))
    throw new SettingProblem('must be host or host:port');
  return value;
};
