/** Columns of equal length, best first; views, valid until the scorer ranks again. */
export interface KeywordRanking {
  readonly labels: Uint32Array;
  readonly scores: Float64Array;
  /** Term frequencies, row-major: candidate × term. */
  readonly frequencies: Uint32Array;
  /** Terms in each candidate's text. */
  readonly lengths: Uint32Array;
  /** No document that is not among them scores more; −∞ when every one that matches is, ∞ when none was wanted. */
  readonly leftOut: number;
}
