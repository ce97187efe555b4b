import { TOP } from './truth.mjs';

/**
 * @typedef {object} Recall
 * @property {number} recall mean share of the true best 10 among the best 10 answered
 * @property {number} wrong answers out of order, with an id twice or unknown, or longer than asked
 * @property {number} checked answers looked at
 */

/**
 * Compares answers with the truth. Fewer than 10 true documents make the share one of those.
 * @param {readonly { request: number, body: any }[]} kept
 * @param {(request: number) => ArrayLike<number>} truth document numbers, best first
 * @param {readonly string[]} ids
 * @param {Map<string, number>} documentOf
 * @returns {Recall}
 */
export function recallOf(kept, truth, ids, documentOf) {
  let sum = 0;
  let wrong = 0;
  for (const { request, body } of kept) {
    const right = new Set(
      Array.from(truth(request))
        .slice(0, TOP)
        .map((document) => ids[document]),
    );
    const found = body.results.map((/** @type {{ id: string }} */ hit) => hit.id);
    const sorted = body.results.every(
      (/** @type {{ score: number }} */ hit, /** @type {number} */ i) =>
        i === 0 || hit.score <= body.results[i - 1].score,
    );
    if (
      !sorted ||
      found.length > TOP ||
      new Set(found).size !== found.length ||
      !found.every((/** @type {string} */ id) => documentOf.has(id))
    )
      wrong++;
    sum += right.size === 0 ? 1 : found.filter((/** @type {string} */ id) => right.has(id)).length / right.size;
  }
  return { recall: kept.length === 0 ? Number.NaN : sum / kept.length, wrong, checked: kept.length };
}

/** @param {readonly string[]} ids @returns {Map<string, number>} */
export function numbersOf(ids) {
  return new Map(ids.map((id, document) => [id, document]));
}
