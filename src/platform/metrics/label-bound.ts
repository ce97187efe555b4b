/** What stands for label values beyond the bound. */
export const OTHER = 'other';

/** Keeps the values of one label few: the first `max` are kept, all further ones become `other`. */
export class LabelBound {
  readonly #max: number;
  readonly #seen = new Set<string>();

  constructor(max: number) {
    this.#max = max;
  }

  of(value: string): string {
    if (this.#seen.has(value)) return value;
    if (this.#seen.size >= this.#max) return OTHER;
    this.#seen.add(value);
    return value;
  }
}
