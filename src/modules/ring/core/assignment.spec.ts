import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { assign, type AssignmentProblem } from './assignment.js';

/** The least cost by trying everything: each row takes every set of columns of the size it needs. */
function leastCost(problem: AssignmentProblem): number {
  const used = new Array<number>(problem.columns).fill(0);
  const search = (row: number, column: number, needs: number): number => {
    if (needs === 0) return row + 1 === problem.rows ? 0 : search(row + 1, 0, problem.needs(row + 1));
    if (column === problem.columns) return Infinity;
    let best = search(row, column + 1, needs);
    const cost = problem.cost(row, column);
    if (cost !== undefined) {
      const load = problem.load(column, used[column]);
      used[column]++;
      best = Math.min(best, cost + load + search(row, column + 1, needs - 1));
      used[column]--;
    }
    return best;
  };
  return search(0, 0, problem.needs(0));
}

function costOf(problem: AssignmentProblem, answer: readonly (readonly number[])[]): number {
  const used = new Array<number>(problem.columns).fill(0);
  let sum = 0;
  for (const [row, columns] of answer.entries()) {
    for (const column of columns) sum += problem.cost(row, column)! + problem.load(column, used[column]++);
  }
  return sum;
}

describe('assign', () => {
  it('finds the cheapest assignment', () => {
    const problems = fc.record({
      costs: fc.array(fc.array(fc.integer({ min: -3, max: 12 }), { minLength: 4, maxLength: 4 }), {
        minLength: 1,
        maxLength: 4,
      }),
      needs: fc.integer({ min: 1, max: 3 }),
      step: fc.integer({ min: 0, max: 9 }),
    });
    fc.assert(
      fc.property(problems, ({ costs, needs, step }) => {
        const allowed = (row: number) => costs[row].filter((cost) => cost >= 0).length;
        const problem: AssignmentProblem = {
          rows: costs.length,
          columns: 4,
          needs: (row) => Math.min(needs, allowed(row)),
          cost: (row, column) => (costs[row][column] < 0 ? undefined : costs[row][column]),
          load: (column, used) => used * step + column,
          start: [],
        };
        const answer = assign(problem);
        for (const [row, columns] of answer.entries()) expect(new Set(columns).size).toBe(problem.needs(row));
        expect(costOf(problem, answer)).toBe(leastCost(problem));
      }),
    );
  });
});
