type GrowableArray = Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array;

const LENGTH_MIN = 16;

/**
 * `array` itself when it has at least `length` elements, else a copy of at least that length whose new elements are 0.
 * Grows by half, so that appending n elements copies O(n) in all.
 */
export function grown<A extends GrowableArray>(array: A, length: number): A {
  if (length <= array.length) return array;
  const next = new (array.constructor as new (length: number) => A)(
    Math.max(length, LENGTH_MIN, array.length + (array.length >>> 1)),
  );
  next.set(array);
  return next;
}
