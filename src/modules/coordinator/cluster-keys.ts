import type { JsonObject } from '../../kernel/json.js';
import type { Collection } from '../ring/core/map.js';
import type { AttributeKeys } from './attribute-keys.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import type { Routes } from './routes.js';

/** Keys of shards on other nodes are asked for again after so long, and only when a new one is met. */
const FRESH_MS = 5_000;
const ASK_MS = 1_000;
const NEVER = new AbortController().signal;

/** The filterable keys of a collection over all shards; those of other nodes are learnt when a new key is met. */
export class ClusterKeys {
  readonly #learntAtMs = new Map<number, number>();

  constructor(
    private readonly keys: AttributeKeys,
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
  ) {}

  /** Whether the document's keys were all met before, as nearly always: then nobody has to be asked. */
  admitKnown(collection: Collection, metadata: JsonObject): boolean {
    return this.keys.knows(collection.id, metadata);
  }

  /** @throws NodeError LIMIT_EXCEEDED */
  async admit(collection: Collection, metadata: JsonObject): Promise<void> {
    if (!this.keys.knows(collection.id, metadata)) await this.#learn(collection.id);
    this.keys.admit(collection, metadata);
  }

  async #learn(collectionId: number): Promise<void> {
    const elsewhere = this.routes
      .shards()
      .filter(({ copies }) => !copies.some(({ self }) => self))
      .map(({ shard }) => shard);
    const now = performance.now();
    if (elsewhere.length === 0 || now - (this.#learntAtMs.get(collectionId) ?? -FRESH_MS) < FRESH_MS) return;
    this.#learntAtMs.set(collectionId, now);
    const deadline = new Deadline({ signal: NEVER }, ASK_MS);
    try {
      const { mapEpoch } = this.routes;
      const answer = await this.fanOut.ask('keys', elsewhere, (gates) => ({ mapEpoch, gates, collectionId }), {
        deadline,
        session: new Map(),
        primary: false,
      });
      for (const { value } of answer.values.values()) this.keys.learn(collectionId, value);
    } finally {
      deadline.end();
    }
  }
}
