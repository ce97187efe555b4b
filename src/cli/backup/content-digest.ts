import { createHash } from 'node:crypto';
import type { Document } from '../../client/index.js';

const MODULUS = 1n << 128n;

/**
 * What documents hold, as one number: the sum mod 2^128 of SHA-256(collection, id, fields), cut to 16 bytes. It depends
 * neither on order, nor on shards, nor on versions, so that a copy can be compared with its origin.
 */
export class ContentDigest {
  #sum = 0n;

  add(collection: string, document: Omit<Document, 'version'>): void {
    this.#sum = (this.#sum + documentTerm(collection, document)) % MODULUS;
  }

  /** Adds what another digest stands for. */
  merge(other: ContentDigest): void {
    this.#sum = (this.#sum + other.#sum) % MODULUS;
  }

  /** 32 lower-case hex digits. */
  get hex(): string {
    return this.#sum.toString(16).padStart(32, '0');
  }
}

/** One document's part. Vectors count as the float32 values they are stored as, objects without the order of their keys. */
function documentTerm(collection: string, { id, title, content, metadata, vector }: Omit<Document, 'version'>): bigint {
  const hash = createHash('sha256').update(
    JSON.stringify([collection, id, title ?? null, content ?? null, ordered(metadata ?? null), vector !== undefined]),
  );
  if (vector !== undefined) {
    const bytes = Buffer.alloc(vector.length * 4);
    vector.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
    hash.update(bytes);
  }
  return BigInt(`0x${hash.digest('hex').slice(0, 32)}`);
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  // Pairs, not an object: integer-like keys of an object have an order of their own.
  return {
    entries: Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, ordered(member)]),
  };
}
