import { createHash } from 'node:crypto';

/** Everything that happened, in order: two runs of one seed must write the same. */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #lines: string[] = [];
  readonly #print: ((line: string) => void) | undefined;
  #count = 0;

  /** @param print called with every line as it is written (`--trace`) */
  constructor(print?: (line: string) => void) {
    this.#print = print;
  }

  write(atUs: number, who: string, what: string): void {
    const line = `${(atUs / 1_000).toFixed(3).padStart(11)} ${who.padEnd(4)} ${what}`;
    this.#count++;
    this.#hash.update(line);
    this.#hash.update('\n');
    this.#lines.push(line);
    this.#print?.(line);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Call once, at the end. */
  digest(): string {
    return `${this.#count}:${this.#hash.digest('hex').slice(0, 32)}`;
  }
}

/** The first line in which two runs of one seed differ, in words; undefined when none does. */
export function firstDifference(a: readonly string[], b: readonly string[]): string | undefined {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] !== b[i]) return `line ${i + 1}:\n  first run:  ${a[i] ?? '(ended)'}\n  second run: ${b[i] ?? '(ended)'}`;
  }
  return undefined;
}
