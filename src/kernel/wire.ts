import { fromUtf8, utf8, utf8Into } from './bytes.js';

/**
 * Values as bytes, for what nodes ask each other about shards: a codec is made of smaller ones, field after field without
 * names, little-endian, so that columns of numbers are one copy. Reading checks everything it reads: nothing is
 * allocated that the bytes do not hold.
 */
export interface Codec<T> {
  write(to: WireWriter, value: T): void;
  /** @throws WireError */
  read(from: WireReader): T;
}

/** A member that may be left out. */
export interface OptionalCodec<T> {
  readonly optional: Codec<T>;
}

/** The bytes are not what the codec reads. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

const FIRST_BYTES = 1_024;
/** A writer that is used again keeps so much memory. */
const KEPT_BYTES = 256 * 1_024;
/** Texts up to this long are written unit by unit: below, a call of the encoder costs more. */
const TRIED_MAX = 64;

export class WireWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  uint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  float(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
  }

  bytes(value: Uint8Array): void {
    this.uint(value.length);
    this.raw(value);
  }

  text(value: string): void {
    const { length } = value;
    this.uint(length);
    this.#reserve(3 * length);
    const start = this.#at;
    if (length > TRIED_MAX) this.#at += utf8Into(value, this.#bytes.subarray(start));
    else
      for (let unit = 0; this.#at - start < length && (unit = value.charCodeAt(this.#at - start)) < 0x80;)
        this.#bytes[this.#at++] = unit;
    if (this.#at - start === length) return;
    // Not ASCII: it has more bytes than units.
    this.#at = start - uintBytes(length);
    this.bytes(utf8(value));
  }

  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** What was written; memory of its own. The writer is empty again. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#at);
    this.clear();
    return taken;
  }

  /** Forgets what was written, and memory that few messages need. */
  clear(): void {
    this.#at = 0;
    if (this.#bytes.length <= KEPT_BYTES) return;
    this.#bytes = new Uint8Array(FIRST_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
  }

  #reserve(room: number): void {
    if (this.#at + room <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + room));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

export class WireReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      if (this.left === 0) throw new WireError('the bytes end inside a number');
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw new WireError('a number is too large');
      if (byte < 0x80) return value;
    }
  }

  float(): number {
    this.#need(8);
    this.#at += 8;
    return this.#view.getFloat64(this.#at - 8, true);
  }

  /** A view, not a copy. */
  bytes(): Uint8Array {
    return this.raw(this.uint());
  }

  raw(length: number): Uint8Array {
    this.#need(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #need(length: number): void {
    if (length > this.left) throw new WireError('the bytes end too early');
  }
}

/** Encoding is one turn: nothing else writes meanwhile. */
const shared = new WireWriter();

export function encodeWire<T>(codec: Codec<T>, value: T): Uint8Array {
  try {
    codec.write(shared, value);
    return shared.take();
  } catch (error) {
    shared.clear();
    throw error;
  }
}

/** @throws WireError */
export function decodeWire<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new WireReader(bytes);
  const value = codec.read(reader);
  if (reader.left > 0) throw new WireError('there are bytes after the end');
  return value;
}

/** A safe integer from 0. */
export const uint: Codec<number> = {
  write: (to, value) => to.uint(value),
  read: (from) => from.uint(),
};

export const float: Codec<number> = {
  write: (to, value) => to.float(value),
  read: (from) => from.float(),
};

export const flag: Codec<boolean> = {
  write: (to, value) => to.uint(value ? 1 : 0),
  read: (from) => oneBit(from.uint()),
};

export const text: Codec<string> = {
  write: (to, value) => to.text(value),
  read: (from) => {
    const bytes = from.bytes();
    try {
      return fromUtf8(bytes);
    } catch (error) {
      throw new WireError('a text is not well-formed', { cause: error });
    }
  },
};

/** A copy: what is read may outlive the frame. */
export const bytes: Codec<Uint8Array> = {
  write: (to, value) => to.bytes(value),
  read: (from) => from.bytes().slice(),
};

/** A JSON value. */
export const json: Codec<unknown> = {
  write: (to, value) => text.write(to, JSON.stringify(value)),
  read: (from) => {
    const value = text.read(from);
    try {
      return JSON.parse(value) as unknown;
    } catch (error) {
      throw new WireError('a text is not JSON', { cause: error });
    }
  },
};

/** Finite components. */
export const vector: Codec<Float32Array> = {
  write: (to, value) => to.bytes(memoryOf(value)),
  read: (from) => {
    const values = new Float32Array(column(from, 4));
    for (let i = 0; i < values.length; i++)
      if (!Number.isFinite(values[i])) throw new WireError('a vector is not finite');
    return values;
  },
};

export function list<T>(item: Codec<T>): Codec<readonly T[]> {
  return {
    write: (to, values) => {
      to.uint(values.length);
      for (const value of values) item.write(to, value);
    },
    read: (from) => {
      const length = from.uint();
      // Every item takes a byte at least.
      if (length > from.left) throw new WireError('a list is longer than its bytes');
      const values: T[] = [];
      for (let i = 0; i < length; i++) values.push(item.read(from));
      return values;
    },
  };
}

/** A value or undefined. */
export function maybe<T>(some: Codec<T>): Codec<T | undefined> {
  return {
    write: (to, value) => {
      to.uint(value === undefined ? 0 : 1);
      if (value !== undefined) some.write(to, value);
    },
    read: (from) => (oneBit(from.uint()) ? some.read(from) : undefined),
  };
}

/** A member that may be left out. */
export function optional<T>(some: Codec<T>): OptionalCodec<T> {
  return { optional: some };
}

type Members<T> = {
  readonly [K in keyof T]-?: undefined extends T[K]
    ? OptionalCodec<Exclude<T[K], undefined>> | Codec<T[K]>
    : Codec<T[K]>;
};

/** An object's members in the order they are given in. */
export function record<T extends object>(members: Members<T>): Codec<T> {
  const entries = Object.entries<Codec<unknown> | OptionalCodec<unknown>>(
    members as Readonly<Record<string, Codec<unknown> | OptionalCodec<unknown>>>,
  );
  const parts = entries.map(([name, member]) =>
    'optional' in member ? { name, codec: maybe(member.optional), omit: true } : { name, codec: member, omit: false },
  );
  return {
    write: (to, value) => {
      for (const { name, codec } of parts) codec.write(to, (value as Readonly<Record<string, unknown>>)[name]);
    },
    read: (from) => {
      const value: Record<string, unknown> = {};
      for (const { name, codec, omit } of parts) {
        const member = codec.read(from);
        if (!omit || member !== undefined) value[name] = member;
      }
      return value as T;
    },
  };
}

/** One of some words. */
export function oneOf<T extends string>(options: readonly T[]): Codec<T> {
  return {
    write: (to, value) => to.uint(options.indexOf(value)),
    read: (from) => {
      const option = options.at(from.uint());
      if (option === undefined) throw new WireError('a word is not known');
      return option;
    },
  };
}

/** One of several shapes that tell themselves apart by `kind`. */
export function kinds<T extends { readonly kind: string }>(shapes: {
  readonly [K in T['kind']]: Codec<Omit<Extract<T, { readonly kind: K }>, 'kind'>>;
}): Codec<T> {
  const name = oneOf<T['kind']>(Object.keys(shapes));
  return {
    write: (to, value) => {
      name.write(to, value.kind);
      (shapes[value.kind as T['kind']] as Codec<unknown>).write(to, value);
    },
    read: (from) => {
      const kind = name.read(from);
      return { kind, ...(shapes[kind].read(from) as object) } as unknown as T;
    },
  };
}

/** For shapes that contain themselves; `depth` bounds how often. */
export function nested<T>(depth: number, make: (inner: Codec<T>) => Codec<T>): Codec<T> {
  let codec: Codec<T> = {
    write: () => {
      throw new WireError('nested too deeply');
    },
    read: () => {
      throw new WireError('nested too deeply');
    },
  };
  for (let i = 0; i < depth; i++) codec = make(codec);
  return codec;
}

/** Bytes that `uint` takes. */
function uintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

function oneBit(value: number): boolean {
  if (value > 1) throw new WireError('neither yes nor no');
  return value === 1;
}

function memoryOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Memory of its own, aligned. */
function column(from: WireReader, size: number): ArrayBuffer {
  const memory = from.bytes();
  if (memory.length % size !== 0) throw new WireError('a column ends inside a number');
  return memory.slice().buffer;
}
