import { InvariantError } from '../../../src/kernel/assert.js';

/** A message as it comes out at the other end. */
export interface Carried<M> {
  /** Equal, and shares nothing with what was sent: what one node changes afterwards, the other never sees. */
  readonly message: M;
  /** About what it would take on a wire. */
  readonly bytes: number;
  /** Of the content, for the trace. */
  readonly hash: string;
}

/** Copies a message of plain values: objects, arrays, bytes, texts, numbers, booleans. Anything else cannot travel. */
export function carry<M>(message: M): Carried<M> {
  const copier = new Copier();
  const copy = copier.copy(message) as M;
  return { message: copy, bytes: copier.bytes, hash: (copier.hash >>> 0).toString(16).padStart(8, '0') };
}

class Copier {
  bytes = 0;
  hash = 0x811c9dc5;

  copy(value: unknown): unknown {
    switch (typeof value) {
      case 'string':
        this.bytes += value.length;
        for (let i = 0; i < value.length; i++) this.mix(value.charCodeAt(i));
        return value;
      case 'number':
        this.bytes += 8;
        this.mix(value | 0);
        this.mix((value / 2 ** 32) | 0);
        return value;
      case 'boolean':
        this.bytes += 1;
        this.mix(value ? 1 : 2);
        return value;
      case 'undefined':
        return value;
      case 'object':
        return value === null ? null : this.copyObject(value);
      default:
        throw new InvariantError(`a ${typeof value} cannot be sent to a peer`);
    }
  }

  private copyObject(value: object): unknown {
    if (value instanceof Uint8Array) {
      this.bytes += value.length;
      for (const byte of value) this.mix(byte);
      return new Uint8Array(value);
    }
    if (Array.isArray(value)) return value.map((item) => this.copy(item));
    if (Object.getPrototypeOf(value) !== Object.prototype)
      throw new InvariantError(`a ${value.constructor.name} cannot be sent to a peer: only plain values travel`);
    const copy: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      this.mix(name.length);
      copy[name] = this.copy(member);
    }
    return copy;
  }

  private mix(value: number): void {
    this.hash = Math.imul(this.hash ^ value, 0x01000193);
  }
}
