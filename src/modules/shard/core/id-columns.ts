import type { TieOrder } from './top-k.js';

/** Records of labels and the texts of their ids as they lie in memory (LabelRecords); views, valid until the next change. */
export interface RecordColumns {
  readonly words: Uint32Array;
  readonly texts: Uint8Array;
}

/** All that orders labels by their ids, for code that does not go label by label. */
export interface IdColumns {
  /** See IdKeys. */
  readonly keys: Float64Array;
  readonly records: RecordColumns;
}

/** The order of labels with equal scores. */
export interface LabelTies {
  readonly compare: TieOrder;
  /** What `compare` reads, when it is the order of ids. */
  readonly ids?: IdColumns;
}
