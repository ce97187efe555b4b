import { utf8 } from '../../../kernel/bytes.js';
import { assert } from '../../../kernel/assert.js';
import type { Hasher } from '../../../kernel/hasher.js';
import { LIMITS } from '../../../kernel/limits.js';

/** Virtual nodes a shard places on the ring (replication 9.3). */
export const VIRTUAL_NODES = 150;

/**
 * The published ring (replication 9.3): a document belongs to the shard whose token is the first at or after its own
 * position, wrapping around. A position is the first 8 bytes of an MD5, as a signed big-endian integer.
 *
 * Invariant: `tokens` ascend strictly, and `owners[i]` owns the range that ends at `tokens[i]`.
 */
export class Ring {
  readonly tokens: BigInt64Array;
  readonly owners: Uint16Array;
  readonly #hasher: Hasher;

  private constructor(hasher: Hasher, tokens: BigInt64Array, owners: Uint16Array) {
    this.#hasher = hasher;
    this.tokens = tokens;
    this.owners = owners;
  }

  /** The ring of shards 0 … shardCount − 1, each with tokens `shard-{s}-vnode-{v}`. */
  static of(shardCount: number, hasher: Hasher): Ring {
    assert(
      Number.isInteger(shardCount) && shardCount >= 1 && shardCount <= LIMITS.shardsMax,
      'shard count out of range',
    );
    const points: { token: bigint; shard: number }[] = [];
    for (let shard = 0; shard < shardCount; shard++) {
      for (let v = 0; v < VIRTUAL_NODES; v++)
        points.push({ token: position(hasher, `shard-${shard}-vnode-${v}`), shard });
    }
    points.sort((a, b) => (a.token < b.token ? -1 : a.token > b.token ? 1 : a.shard - b.shard));
    const distinct = points.filter((point, i) => i === 0 || point.token !== points[i - 1].token);
    return new Ring(
      hasher,
      BigInt64Array.from(distinct, (point) => point.token),
      Uint16Array.from(distinct, (point) => point.shard),
    );
  }

  /** The shard that owns a document id. */
  shardOf(id: string): number {
    const at = position(this.#hasher, id);
    let low = 0;
    let high = this.tokens.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.tokens[middle] < at) low = middle + 1;
      else high = middle;
    }
    return this.owners[low === this.tokens.length ? 0 : low];
  }
}

function position(hasher: Hasher, text: string): bigint {
  const hash = hasher.md5(utf8(text));
  return new DataView(hash.buffer, hash.byteOffset, hash.byteLength).getBigInt64(0);
}
