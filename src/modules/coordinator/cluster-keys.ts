import type { Clock } from '../../kernel/clock.js';
import type { JsonObject } from '../../kernel/json.js';
import type { Collection } from '../ring/core/map.js';
import { AttributeKeys } from './attribute-keys.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import type { Routes } from './routes.js';

/** A collection that has all the keys it may have is looked at again after so long. */
const FULL_MS = 1_000;
/** So are shards that did not answer. */
const PARTIAL_MS = 5_000;
const ASK_MS = 1_000;
const NEVER = new AbortController().signal;

interface Learnt {
  /** Not asked again before. */
  notBeforeMs: number;
  underWay: Promise<void> | undefined;
}

/**
 * The filterable keys of a collection over all shards, whichever node admitted them. They are asked for when a key is new
 * here: there are few, so that is rare.
 */
export class ClusterKeys {
  readonly #keys: AttributeKeys;
  readonly #learnt = new Map<number, Learnt>();

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
  ) {
    this.#keys = new AttributeKeys(clock);
  }

  /** Whether the document's keys were all met before, as nearly always: then nobody has to be asked. */
  admitKnown(collection: Collection, metadata: JsonObject): boolean {
    return this.#keys.knows(collection.id, metadata);
  }

  /** @throws NodeError LIMIT_EXCEEDED */
  async admit(collection: Collection, metadata: JsonObject): Promise<void> {
    if (!this.#keys.knows(collection.id, metadata)) await this.#learn(collection.id);
    this.#keys.admit(collection, metadata);
  }

  /** A document that was admitted was not stored. */
  release(collection: Collection, metadata: JsonObject): void {
    this.#keys.release(collection.id, metadata);
  }

  #learn(collectionId: number): Promise<void> {
    let learnt = this.#learnt.get(collectionId);
    if (learnt === undefined)
      this.#learnt.set(collectionId, (learnt = { notBeforeMs: -Infinity, underWay: undefined }));
    if (learnt.underWay === undefined && this.clock.monotonicMs() < learnt.notBeforeMs) return Promise.resolve();
    const { underWay = this.#ask(collectionId, learnt) } = learnt;
    learnt.underWay = underWay;
    return underWay;
  }

  async #ask(collectionId: number, learnt: Learnt): Promise<void> {
    const shards = this.routes.shards().map(({ shard }) => shard);
    const deadline = new Deadline({ signal: NEVER }, ASK_MS);
    try {
      const { mapEpoch } = this.routes;
      const options = { deadline, session: new Map<number, never>(), primary: false };
      const answer = await this.fanOut.ask('keys', shards, (gates) => ({ mapEpoch, gates, collectionId }), options);
      const all = answer.failed.size === 0;
      this.#keys.learn(
        collectionId,
        [...answer.values.values()].flatMap(({ value }) => value),
        all,
      );
      const waitMs = all ? (this.#keys.isFull(collectionId) ? FULL_MS : 0) : PARTIAL_MS;
      learnt.notBeforeMs = this.clock.monotonicMs() + waitMs;
    } finally {
      learnt.underWay = undefined;
      deadline.end();
    }
  }
}
