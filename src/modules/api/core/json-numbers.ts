import { LIMITS } from '../../../kernel/limits.js';
import { isJsonSpace } from './json-space.js';

const MINUS = 0x2d;
const PLUS = 0x2b;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COMMA = 0x2c;
const CLOSE_BRACKET = 0x5d;

/** Powers of ten that a double holds exactly. */
const TENS = Float64Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));
const EXACT_TENS = TENS.length - 1;
/** Digits that are taken into the mantissa; later ones only move the point. */
const DIGITS_MAX = 19;
/** Bytes of one number; nobody writes longer ones in earnest. */
const NUMBER_BYTES_MAX = 64;
/**
 * More than the relative error of a number read from 19 digits: at most 6 roundings of 2⁻⁵³ each. The number to read is
 * within it, so that when both ends round to one float32, the number does.
 */
const ERROR = 2e-15;

const scratch = new Float32Array(LIMITS.dimensionsMax);

/** A JSON array of numbers as float32, and the index behind it. */
export interface NumberArray {
  readonly vector: Float32Array;
  readonly end: number;
}

/**
 * Reads the JSON array of numbers that opens at `at` straight from its bytes: the same float32 values that JSON.parse and
 * a Float32Array make, without a string, an array and a double for each on the way.
 * @returns undefined for anything but a valid, non-empty array of at most LIMITS.dimensionsMax numbers, finite as
 * float32: who wants to say what is wrong with it parses it
 */
export function readNumberArray(bytes: Uint8Array, at: number, to: number): NumberArray | undefined {
  let count = 0;
  let i = at + 1;
  for (;;) {
    while (i < to && isJsonSpace(bytes[i])) i++;
    if (count === scratch.length) return undefined;
    const start = i;
    const negative = bytes[i] === MINUS;
    if (negative) i++;
    let digits = 0;
    let mantissa = 0;
    let power = 0;
    let byte = bytes[i];
    if (byte === ZERO) byte = bytes[++i];
    else {
      if (byte < ZERO || byte > NINE || i >= to) return undefined;
      for (; byte >= ZERO && byte <= NINE; byte = bytes[++i]) {
        if (digits++ < DIGITS_MAX) mantissa = mantissa * 10 + (byte - ZERO);
        else power++;
      }
    }
    if (byte === DOT) {
      const fraction = ++i;
      for (byte = bytes[i]; byte >= ZERO && byte <= NINE; byte = bytes[++i]) {
        if (digits >= DIGITS_MAX) continue;
        mantissa = mantissa * 10 + (byte - ZERO);
        power--;
        // Zeros in front are no digits of the mantissa.
        if (mantissa > 0) digits++;
      }
      if (i === fraction) return undefined;
    }
    if (byte === 0x65 || byte === 0x45) {
      byte = bytes[++i];
      const down = byte === MINUS;
      if (down || byte === PLUS) byte = bytes[++i];
      const first = i;
      let exponent = 0;
      for (; byte >= ZERO && byte <= NINE; byte = bytes[++i])
        if (exponent < 10_000) exponent = exponent * 10 + byte - ZERO;
      if (i === first) return undefined;
      power += down ? -exponent : exponent;
    }
    // A number that runs into the end of the text is cut off, or followed by what is not looked at.
    if (i >= to || i - start > NUMBER_BYTES_MAX) return undefined;
    let value: number;
    // When both are exact the quotient is the nearest double (Clinger 1990).
    if (mantissa <= Number.MAX_SAFE_INTEGER && power <= 0 && power >= -EXACT_TENS) value = mantissa / TENS[-power];
    else value = rounded(mantissa, power) ?? Math.abs(Number(latin1(bytes, start, i)));
    scratch[count] = negative ? -value : value;
    if (!Number.isFinite(scratch[count])) return undefined;
    count++;
    while (i < to && isJsonSpace(bytes[i])) i++;
    if (bytes[i] === COMMA && i < to) i++;
    else if (bytes[i] === CLOSE_BRACKET && i < to) return { vector: scratch.slice(0, count), end: i + 1 };
    else return undefined;
  }
}

/** mantissa × 10^power as float32; undefined when double arithmetic cannot tell for sure. */
function rounded(mantissa: number, power: number): number | undefined {
  if (mantissa === 0) return 0;
  if (power > 0 || power < -2 * EXACT_TENS) return undefined;
  if (power >= -EXACT_TENS) return certain(mantissa / TENS[-power]);
  return certain(mantissa / TENS[EXACT_TENS] / TENS[-power - EXACT_TENS]);
}

function certain(value: number): number | undefined {
  const low = Math.fround(value * (1 - ERROR));
  return low === Math.fround(value * (1 + ERROR)) ? low : undefined;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]);
  return text;
}
