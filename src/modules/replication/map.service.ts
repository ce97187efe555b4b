import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { Listeners } from '../../kernel/listeners.js';
import { shardKey } from '../log/core/keys.js';
import type { Timers } from '../../kernel/timers.js';
import type { LogStore } from '../log/log-store.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import { Ring } from '../ring/core/ring.js';
import { decodeAgreedMap, encodeMapOperation } from './core/map-codec.js';
import { MAP_ROW } from './core/replica.js';
import type { WriteOutcome, WriteRequest } from './core/write.js';

/** Who takes a change to the map's shard: the primary here, or says that it is elsewhere. */
export interface MapWriter {
  write(shard: number, request: WriteRequest): Promise<WriteOutcome>;
}

/** Sends an operation to the primary of the map's shard on another node; the epoch of the map that has it. @throws NodeError */
export type ForwardChange = (operation: MapOperation) => Promise<number>;

/** Until a change that was agreed elsewhere is known here. */
const KNOWN_WAIT_MS = 2_000;
/** A change that cannot be agreed by then is refused: a primary in doubt keeps what may be decided in a moment. */
const CHANGE_WAIT_MS = 5_000;

/** The map as this node knows it, its ring, and the door to change it. Changes go through the log of META_SHARD. */
export class MapService {
  readonly #hasher: Hasher;
  readonly #timers: Timers;
  readonly #listeners = new Listeners<[map: ClusterMap]>();
  #map: ClusterMap | undefined;
  #ring: Ring | undefined;
  #writer: MapWriter | undefined;
  #forward: ForwardChange | undefined;

  constructor(hasher: Hasher, timers: Timers) {
    this.#hasher = hasher;
    this.#timers = timers;
  }

  /** The map a data directory holds, or undefined before the cluster was bootstrapped. */
  static stored(log: LogStore): ClusterMap | undefined {
    const bytes = log.row(shardKey(META_SHARD, MAP_ROW));
    return bytes === undefined ? undefined : decodeAgreedMap(bytes).map;
  }

  /** Where changes go to when this node is the primary of the map's shard. */
  attach(writer: MapWriter): void {
    this.#writer = writer;
  }

  /** Where they go to when another node is. */
  forwardTo(forward: ForwardChange): void {
    this.#forward = forward;
  }

  /** There is no cluster any more. */
  forget(): void {
    this.#map = undefined;
    this.#ring = undefined;
  }

  get known(): boolean {
    return this.#map !== undefined;
  }

  /** Resolves when the map is known, with at least this epoch. */
  wait(epoch = 0): Promise<ClusterMap> {
    if (this.#map !== undefined && this.#map.epoch >= epoch) return Promise.resolve(this.#map);
    return new Promise((resolve) => {
      const stop = this.onChange((map) => {
        if (map.epoch < epoch) return;
        stop();
        resolve(map);
      });
    });
  }

  /** A newer map is durable; or, of two that were forced, the one whose reign goes on (5.8). */
  accept(map: ClusterMap): void {
    if (this.#map?.shardCount !== map.shardCount) this.#ring = Ring.of(map.shardCount, this.#hasher);
    this.#map = map;
    this.#listeners.tell(map);
  }

  /** @throws NodeError STARTING before the map is loaded */
  current(): ClusterMap {
    if (this.#map === undefined)
      throw new NodeError('STARTING', 'the node has not loaded its map yet; try again in a moment');
    return this.#map;
  }

  ring(): Ring {
    if (this.#ring === undefined)
      throw new NodeError('STARTING', 'the node has not loaded its map yet; try again in a moment');
    return this.#ring;
  }

  /** Calls `listener` with every newer map, until the returned function is called. */
  onChange(listener: (map: ClusterMap) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Changes the map; resolves with the map after it, when it is agreed and known here. @throws NodeError when refused */
  async change(operation: MapOperation): Promise<ClusterMap> {
    const outcome = await this.changeHere(operation);
    if (outcome.kind === 'written') return this.current();
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
    if (this.#forward === undefined)
      throw new NodeError('SHARD_UNAVAILABLE', 'the map has no primary now; try again in a moment');
    const epoch = await this.#forward(operation);
    return this.#knownWithin(epoch);
  }

  /** Changes the map if this node is the primary of its shard. */
  changeHere(operation: MapOperation): Promise<WriteOutcome> {
    if (this.#writer === undefined)
      throw new NodeError('STARTING', 'the node has not loaded its map yet; try again in a moment');
    return this.#writer.write(META_SHARD, {
      op: 'MAP',
      collectionId: 0,
      id: '',
      payload: encodeMapOperation(operation),
      level: 'quorum',
      mapOperation: operation,
      waitMs: CHANGE_WAIT_MS,
    });
  }

  /** The change is agreed, whether it is known here yet or not: waits for it as long as a client may. */
  #knownWithin(epoch: number): Promise<ClusterMap> {
    return new Promise((resolve) => {
      const cancel = this.#timers.after(KNOWN_WAIT_MS, () => resolve(this.current()));
      void this.wait(epoch).then((map) => {
        cancel();
        resolve(map);
      });
    });
  }
}
