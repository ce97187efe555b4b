import type { JsonObject } from '../../../kernel/json.js';

/** The fields of a document beside its id; at least one is present. */
export interface DocumentFields {
  readonly title?: string;
  readonly content?: string;
  readonly metadata?: JsonObject;
  /** float32, finite; of its collection's dimension. */
  readonly vector?: Float32Array;
}
