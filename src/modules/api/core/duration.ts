const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds of a duration such as `500ms`, `10s`, `10m`, `24h`; undefined when the text is none. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d{1,12})(ms|s|m|h)$/.exec(text);
  if (match === null) return undefined;
  const [, amount, unit] = match;
  return Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS];
}

/** The shortest exact text of a duration, e.g. `10m`. */
export function durationText(ms: number): string {
  const unit = (['h', 'm', 's'] as const).find((name) => ms > 0 && ms % UNITS_MS[name] === 0);
  return unit === undefined ? (ms === 0 ? '0s' : `${ms}ms`) : `${ms / UNITS_MS[unit]}${unit}`;
}
