import type { TieOrder } from './top-k.js';

/**
 * The k-th greatest of `values[0 … n)`, 1 ≤ k ≤ n, rearranging them (quickselect; Hoare 1961). NaN is not a value.
 */
export function kthGreatest(values: Float64Array, n: number, k: number): number {
  const wanted = k - 1;
  let low = 0;
  let high = n - 1;
  while (low < high) {
    const pivot = values[(low + high) >>> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i > j) break;
      const value = values[i];
      values[i++] = values[j];
      values[j--] = value;
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return values[wanted];
}

/**
 * The places 0 … n − 1 of the k best scores, best first: by score descending, then by `before` of two places. Ranks by
 * score alone first and asks `before` only about equal scores that make it or may: asking is the dear part.
 * @param scratch n numbers of room
 */
export function rankBest(
  scores: Float64Array,
  n: number,
  k: number,
  before: TieOrder,
  scratch: Float64Array,
): number[] {
  const best: number[] = [];
  if (n === 0 || k === 0) return best;
  const ties: number[] = [];
  let threshold = -Infinity;
  if (n > k) {
    scratch.set(scores.subarray(0, n));
    threshold = kthGreatest(scratch, n, k);
  }
  for (let place = 0; place < n; place++) {
    if (scores[place] > threshold || n <= k) best.push(place);
    else if (scores[place] === threshold) ties.push(place);
  }
  const free = Math.min(k, n) - best.length;
  if (free < ties.length) moveFirst(ties, free, before);
  for (let i = 0; i < free; i++) best.push(ties[i]);
  return best.sort((a, b) => scores[b] - scores[a] || before(a, b));
}

/** Rearranges `places` so that the first `count` in the order come before all others. */
function moveFirst(places: number[], count: number, before: TieOrder): void {
  let low = 0;
  let high = places.length - 1;
  while (low < high) {
    const pivot = places[(low + high) >>> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (before(places[i], pivot) < 0) i++;
      while (before(places[j], pivot) > 0) j--;
      if (i > j) break;
      const place = places[i];
      places[i++] = places[j];
      places[j--] = place;
    }
    if (count <= j) high = j;
    else if (count >= i) low = i;
    else break;
  }
}
