import { utf8 } from '../../src/kernel/bytes.js';
import type { Epoch } from '../../src/kernel/epoch.js';
import { CHAIN_ZERO } from '../../src/modules/log/core/entry.js';
import type { Entry } from '../../src/modules/log/core/entry.js';
import { encodeEntry } from '../../src/modules/log/core/entry-codec.js';
import type { AppendEntry } from '../../src/modules/log/log-store.js';
import { nodeHasher } from '../../src/platform/crypto/node-hasher.js';

export function epochOf(num: number): Epoch {
  return { num, uuid: new Uint8Array(16).fill(0xa0) };
}

/** Writes entries of one shard the way a primary does: dense offsets, linked chains. */
export class EntryWriter {
  private offset = 0;
  private chain: Uint8Array = CHAIN_ZERO;

  constructor(
    readonly shard: number,
    private epoch: Epoch = epochOf(1),
  ) {}

  /** The next reign begins with the next entry. */
  reign(epoch: Epoch): this {
    this.epoch = epoch;
    return this;
  }

  /** Goes on after what a store holds. */
  continueFrom(state: { tail: number; chain: Uint8Array; epoch: Epoch }): this {
    this.offset = state.tail;
    this.chain = state.chain;
    this.epoch = state.epoch;
    return this;
  }

  next(entry: Partial<Pick<Entry, 'op' | 'id' | 'payload' | 'origin'>> = {}): AppendEntry {
    const offset = ++this.offset;
    const { bytes, chain } = encodeEntry(
      {
        op: 'UPSERT',
        shard: this.shard,
        epoch: this.epoch,
        offset,
        version: { hlc: { ms: 1_700_000_000_000 + offset, counter: 0 }, opId: new Uint8Array(16).fill(offset) },
        collectionId: 1,
        id: `doc-${offset}`,
        payload: utf8(`payload ${offset} `.repeat(8)),
        ...entry,
      },
      this.chain,
      nodeHasher,
    );
    this.chain = chain;
    return { offset, epoch: this.epoch, bytes };
  }

  take(count: number, entry?: Parameters<EntryWriter['next']>[0]): AppendEntry[] {
    return Array.from({ length: count }, () => this.next(entry));
  }
}
