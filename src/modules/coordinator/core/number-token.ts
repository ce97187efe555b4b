import { fromBase64Url, toBase64Url } from '../../../kernel/base64url.js';

/** Numbers as an opaque token: base64url of a format byte and each number in as many bytes as it needs. */
export class NumberToken {
  readonly #bytes: number[];

  constructor(format: number) {
    this.#bytes = [format];
  }

  push(...values: readonly number[]): void {
    for (const value of values) {
      let rest = value;
      while (rest >= 0x80) {
        this.#bytes.push((rest % 0x80) | 0x80);
        rest = Math.floor(rest / 0x80);
      }
      this.#bytes.push(rest);
    }
  }

  text(): string {
    return toBase64Url(this.#bytes);
  }
}

/** The format and the numbers of a token; undefined when it is none, or longer than `textMax`. */
export function readNumberToken(
  text: string,
  textMax: number,
): { readonly format: number; readonly numbers: readonly number[] } | undefined {
  if (text.length > textMax) return undefined;
  const bytes = fromBase64Url(text);
  if (bytes === undefined || bytes.length === 0) return undefined;
  const numbers: number[] = [];
  let value = 0;
  let scale = 1;
  for (let i = 1; i < bytes.length; i++) {
    value += (bytes[i] & 0x7f) * scale;
    if (!Number.isSafeInteger(value)) return undefined;
    if ((bytes[i] & 0x80) === 0) {
      numbers.push(value);
      value = 0;
      scale = 1;
    } else scale *= 0x80;
  }
  return scale === 1 ? { format: bytes[0], numbers } : undefined;
}
