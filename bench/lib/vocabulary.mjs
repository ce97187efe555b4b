const CONSONANTS = 'bcdfghjklmnpqrstvwxz';
const VOWELS = 'aeiou';
const SYLLABLES = CONSONANTS.length * VOWELS.length;

/** Ranks left out at the head: in English those are the stop words, which no engine indexes. */
const STOP_WORDS = 34;

/**
 * Words whose frequency falls as 1 / rank, as those of a language do (Zipf 1949), beginning below the stop words: the
 * most common word is in every tenth text of 20 words.
 */
export class Vocabulary {
  /** @type {readonly string[]} */
  words;
  #cumulative;

  /** @param {number} size */
  constructor(size) {
    this.words = Array.from({ length: size }, (_, rank) => word(rank));
    this.#cumulative = new Float64Array(size);
    let sum = 0;
    for (let rank = 0; rank < size; rank++) {
      sum += 1 / (rank + 1 + STOP_WORDS);
      this.#cumulative[rank] = sum;
    }
    for (let rank = 0; rank < size; rank++) this.#cumulative[rank] /= sum;
  }

  /** A word drawn by its frequency. @param {import('./random.mjs').Random} random */
  draw(random) {
    const at = random.unit();
    let low = 0;
    let high = this.words.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#cumulative[middle] > at) high = middle;
      else low = middle + 1;
    }
    return this.words[low];
  }
}

/** A word of two or more syllables, common ones shorter. @param {number} rank */
function word(rank) {
  let rest = rank;
  let text = '';
  while (text.length < 4 || rest > 0) {
    const syllable = rest % SYLLABLES;
    rest = Math.floor(rest / SYLLABLES);
    text += CONSONANTS[syllable % CONSONANTS.length] + VOWELS[Math.floor(syllable / CONSONANTS.length)];
  }
  return text;
}
