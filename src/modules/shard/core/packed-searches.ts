import { list, uint, WireReader, WireWriter } from '../../../kernel/wire.js';
import type { IndexRequest } from './index-messages.js';

type SearchRequest = Extract<IndexRequest, { readonly kind: 'search' }>;

const shardList = list(uint);

/** Gathers searches for one message to an index thread: copying bytes costs a fraction of cloning objects. */
export class SearchPacker {
  readonly #writer = new WireWriter();
  #count = 0;

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  add(id: number, shards: readonly number[], search: Uint8Array): void {
    this.#count++;
    this.#writer.uint(id);
    shardList.write(this.#writer, shards);
    this.#writer.bytes(search);
  }

  /** What was added, in memory of its own. */
  take(): Uint8Array<ArrayBuffer> {
    this.#count = 0;
    return this.#writer.take();
  }
}

/** The searches in `packed`; views. */
export function* unpackSearches(packed: Uint8Array): Generator<SearchRequest> {
  const reader = new WireReader(packed);
  while (reader.left > 0) {
    const id = reader.uint();
    const shards = shardList.read(reader);
    yield { id, kind: 'search', shards, search: reader.bytes() };
  }
}
