/** The 34 English words too common to search by (api.md, keyword text), in lower case. */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a an and are as at be but by for from if in into is it no not of on or such ' +
    'that the their then there these they this to was will with'
  ).split(' '),
);

/** No stop word is longer, in UTF-16 code units: anything longer needs no look-up. */
export const STOP_WORD_LENGTH_MAX = 5;
