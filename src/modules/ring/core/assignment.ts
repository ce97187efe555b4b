import { assert } from '../../../kernel/assert.js';

/** Rows that each need some of the columns, no column twice; columns grow dearer with every row they take. */
export interface AssignmentProblem {
  readonly rows: number;
  readonly columns: number;
  /** Columns the row needs; at most as many as it may have. */
  needs(row: number): number;
  /** Of giving the row this column: a safe integer from 0, or undefined when it may not have it. */
  cost(row: number, column: number): number | undefined;
  /** Of one more row on a column that has `used`: from 0, never less for more. */
  load(column: number, used: number): number;
  /** A part of the answer to begin with. Its pairs and their load must cost nothing. */
  readonly start: readonly (readonly [row: number, column: number])[];
}

/**
 * The cheapest assignment: per row its columns, ascending. Exact, by shortest augmenting paths: row after row, need
 * after need, so that what is given so far is always the cheapest for the needs so far. `start` saves the work for
 * what does not change; equal problems have equal answers.
 */
export function assign(problem: AssignmentProblem): readonly (readonly number[])[] {
  const state = new Assignment(problem);
  for (const [row, column] of problem.start) state.give(row, column);
  for (let row = 0; row < problem.rows; row++) {
    for (let given = state.count(row); given < problem.needs(row); given++) state.augment(row);
  }
  return Array.from({ length: problem.rows }, (_, row) => state.columnsOf(row));
}

class Assignment {
  readonly #problem: AssignmentProblem;
  /** [row × columns + column]: 1 when given. */
  readonly #given: Uint8Array;
  readonly #rowsOf: readonly Set<number>[];
  /** As #given; below 0 where the row may not have the column. */
  readonly #costs: Float64Array;

  constructor(problem: AssignmentProblem) {
    this.#problem = problem;
    this.#given = new Uint8Array(problem.rows * problem.columns);
    this.#rowsOf = Array.from({ length: problem.columns }, () => new Set());
    this.#costs = Float64Array.from(
      this.#given,
      (_, at) => problem.cost(Math.floor(at / problem.columns), at % problem.columns) ?? -1,
    );
  }

  give(row: number, column: number): void {
    const at = row * this.#problem.columns + column;
    assert(this.#given[at] === 0, 'a row has a column once');
    this.#given[at] = 1;
    this.#rowsOf[column].add(row);
  }

  count(row: number): number {
    return this.columnsOf(row).length;
  }

  columnsOf(row: number): readonly number[] {
    return Array.from({ length: this.#problem.columns }, (_, column) => column).filter((column) =>
      this.#has(row, column),
    );
  }

  /** Gives the row one more column along the cheapest path, on which other rows may change theirs. */
  augment(start: number): void {
    const { rows, columns } = this.#problem;
    const toColumn = new Array<number>(columns).fill(Infinity);
    const toRow = new Array<number>(rows).fill(Infinity);
    /** The row a column was reached from, and the column a row gives up. */
    const from = new Array<number>(columns).fill(-1);
    const givesUp = new Array<number>(rows).fill(-1);
    toRow[start] = 0;
    // Breadth first until nothing gets cheaper: costs of giving up are negative, but no cycle is (what is given is optimal).
    for (let reached: ReadonlySet<number> = new Set([start]); reached.size > 0;) {
      const cheaper = new Set<number>();
      for (const row of reached) {
        for (let column = 0; column < columns; column++) {
          const cost = this.#costOf(row, column);
          if (cost < 0 || toRow[row] + cost >= toColumn[column] || this.#has(row, column)) continue;
          toColumn[column] = toRow[row] + cost;
          from[column] = row;
          cheaper.add(column);
        }
      }
      const next = new Set<number>();
      for (const column of cheaper) {
        for (const row of this.#rowsOf[column]) {
          const left = toColumn[column] - this.#costOf(row, column);
          if (left >= toRow[row]) continue;
          toRow[row] = left;
          givesUp[row] = column;
          next.add(row);
        }
      }
      reached = next;
    }
    let best = -1;
    let bestCost = Infinity;
    for (let column = 0; column < columns; column++) {
      const cost = toColumn[column] + this.#problem.load(column, this.#rowsOf[column].size);
      if (cost < bestCost) [best, bestCost] = [column, cost];
    }
    assert(best >= 0, 'a row has as many columns as it needs');
    for (let column = best; ;) {
      const row = from[column];
      this.give(row, column);
      if (row === start) return;
      column = givesUp[row];
      this.#given[row * columns + column] = 0;
      this.#rowsOf[column].delete(row);
    }
  }

  #costOf(row: number, column: number): number {
    return this.#costs[row * this.#problem.columns + column];
  }

  #has(row: number, column: number): boolean {
    return this.#given[row * this.#problem.columns + column] === 1;
  }
}
