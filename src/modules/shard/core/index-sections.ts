import { concatBytes, fromUtf8, utf8 } from '../../../kernel/bytes.js';
import { IndexDamagedError } from './index-damaged-error.js';

const HEADER_WORDS = 4;
const ALIGNMENT = 8;
/** Characters of one JSON section at most, one value aside: a millisecond or two of work. */
const JSON_UNITS_MAX = 1 << 18;

/**
 * A part of nothing. An index is encoded bit by bit, as fast as its parts are taken, and whoever takes them lets others
 * have the thread at this one: searches wait for a few milliseconds, however large the index is.
 */
export const BREATH: Uint8Array = new Uint8Array(0);

/** A section that is made while it is written. */
export interface MadeSection {
  /** Bytes of all parts. */
  readonly length: number;
  readonly parts: Iterable<Uint8Array>;
}

/**
 * The bytes of an index as a list of sections: u32 magic, version, section count, 0; a float64 length per section; then
 * the sections, each padded to 8 bytes. Numbers are in the machine's own byte order: on another one the magic does not
 * match, and the index is rebuilt from the log.
 */
export function* writeSections(
  magic: number,
  version: number,
  sections: readonly (Uint8Array | MadeSection)[],
): Generator<Uint8Array> {
  yield bytesOf(new Uint32Array([magic, version, sections.length, 0]));
  yield bytesOf(Float64Array.from(sections, (section) => section.length));
  for (const section of sections) {
    if (section instanceof Uint8Array) yield section;
    else yield* section.parts;
    const padding = (ALIGNMENT - (section.length % ALIGNMENT)) % ALIGNMENT;
    if (padding > 0) yield new Uint8Array(padding);
  }
}

/** The sections `writeSections` wrote, as views where alignment allows; throws IndexDamagedError. */
export function readSections(bytes: Uint8Array, magic: number, version: number): SectionReader {
  const header = uint32s(bytes.subarray(0, HEADER_WORDS * 4));
  if (bytes.length < HEADER_WORDS * 4 || header[0] !== magic) throw new IndexDamagedError('not an index of this kind');
  if (header[1] !== version) throw new IndexDamagedError(`format ${header[1]}, this program reads ${version}`);
  const count = header[2];
  let at = HEADER_WORDS * 4 + count * 8;
  if (at > bytes.length) throw new IndexDamagedError('it ends inside its table of sections');
  const lengths = float64s(bytes.subarray(HEADER_WORDS * 4, at));
  const sections: Uint8Array[] = [];
  for (const length of lengths) {
    if (!Number.isSafeInteger(length) || length < 0 || at + length > bytes.length) {
      throw new IndexDamagedError(`section ${sections.length} ends outside`);
    }
    sections.push(bytes.subarray(at, at + length));
    at += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
  }
  if (at !== bytes.length) throw new IndexDamagedError('it does not end with its last section');
  return new SectionReader(sections);
}

/** Takes sections one by one. Every method throws IndexDamagedError when there is none left or it is no such section. */
export class SectionReader {
  readonly #sections: readonly Uint8Array[];
  #next = 0;

  constructor(sections: readonly Uint8Array[]) {
    this.#sections = sections;
  }

  bytes(): Uint8Array {
    const section = this.#sections[this.#next++];
    if (section === undefined) throw new IndexDamagedError('a section is missing');
    return section;
  }

  /** @param length how many there must be, when known */
  uint32s(length?: number): Uint32Array {
    const section = this.bytes();
    if (section.length % 4 !== 0 || (length !== undefined && section.length !== length * 4)) {
      throw new IndexDamagedError(`section ${this.#next - 1} has ${section.length} bytes`);
    }
    return uint32s(section);
  }

  /** @param length how many there must be */
  float64s(length: number): Float64Array {
    const section = this.bytes();
    if (section.length !== length * 8)
      throw new IndexDamagedError(`section ${this.#next - 1} has ${section.length} bytes`);
    return float64s(section);
  }

  /** What `jsonSections` wrote. */
  json(): unknown[] {
    const [count] = this.uint32s(1);
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) {
      const part = parse(this.bytes());
      if (!Array.isArray(part)) throw new IndexDamagedError('a list of values is none');
      for (const value of part as unknown[]) values.push(value);
    }
    return values;
  }

  end(): void {
    if (this.#next !== this.#sections.length)
      throw new IndexDamagedError('there are more sections than there should be');
  }
}

/**
 * Values as JSON arrays, in as many sections as their size asks for, preceded by a section with their number: returned, with
 * breaths until then.
 */
export function* jsonSections(
  values: Iterable<string | number | boolean | null>,
): Generator<Uint8Array, readonly Uint8Array[]> {
  const sections: Uint8Array[] = [];
  let part: (string | number | boolean | null)[] = [];
  let units = 0;
  for (const value of values) {
    part.push(value);
    units += typeof value === 'string' ? value.length + 3 : 8;
    if (units < JSON_UNITS_MAX) continue;
    sections.push(utf8(JSON.stringify(part)));
    part = [];
    units = 0;
    yield BREATH;
  }
  if (part.length > 0) sections.push(utf8(JSON.stringify(part)));
  return [bytesOf(new Uint32Array([sections.length])), ...sections];
}

/** The bytes of a typed array; a view. */
export function bytesOf(array: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function uint32s(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : concatBytes([bytes]);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
}

function float64s(bytes: Uint8Array): Float64Array {
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : concatBytes([bytes]);
  return new Float64Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 3);
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new IndexDamagedError('a list of values is not JSON', { cause });
  }
}
