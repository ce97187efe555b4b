import { fromUtf8 } from '../../kernel/bytes.js';
import { assert } from '../../kernel/assert.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { shardKey } from '../log/core/keys.js';
import type { LogStore } from '../log/log-store.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import { Ring } from '../ring/core/ring.js';
import { MAP_ROW } from './core/leader.js';
import { encodeMapOperation } from './core/map-codec.js';
import type { ShardReplica } from './shard-replica.js';

/** The map as this node knows it, its ring, and the door to change it. Changes go through the log of META_SHARD. */
export class MapService {
  readonly #hasher: Hasher;
  readonly #listeners = new Set<(map: ClusterMap) => void>();
  #map: ClusterMap | undefined;
  #ring: Ring | undefined;
  #replica: ShardReplica | undefined;

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  /** The map a data directory holds, or undefined before the cluster was bootstrapped. */
  static stored(log: LogStore): ClusterMap | undefined {
    const bytes = log.row(shardKey(META_SHARD, MAP_ROW));
    return bytes === undefined ? undefined : (JSON.parse(fromUtf8(bytes)) as ClusterMap);
  }

  /** The replica of the map's shard that changes go to. */
  attach(replica: ShardReplica): void {
    this.#replica = replica;
  }

  /** A newer map is durable. */
  accept(map: ClusterMap): void {
    assert(this.#map === undefined || map.epoch > this.#map.epoch, 'the map only moves forward');
    if (this.#map?.shardCount !== map.shardCount) this.#ring = Ring.of(map.shardCount, this.#hasher);
    this.#map = map;
    for (const listener of this.#listeners) listener(map);
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
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Changes the map; resolves with the map after it, when it is durable. @throws NodeError when refused */
  async change(operation: MapOperation): Promise<ClusterMap> {
    if (this.#replica === undefined)
      throw new NodeError('STARTING', 'the node has not loaded its map yet; try again in a moment');
    const outcome = await this.#replica.write({
      op: 'MAP',
      collectionId: 0,
      id: '',
      payload: encodeMapOperation(operation),
      level: 'quorum',
      mapOperation: operation,
    });
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
    return this.current();
  }
}
