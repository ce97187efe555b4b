/** A JSON value as documents carry it in `metadata`. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** A vector as callers may give it; sent as JSON numbers. Values are stored as float32. */
export type VectorInput = readonly number[] | Float32Array;
