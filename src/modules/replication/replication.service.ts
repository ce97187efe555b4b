import { randomUUID } from 'node:crypto';
import { toHex } from '../../kernel/bytes.js';
import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { Random } from '../../kernel/random.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import { idempotencyKey } from '../log/core/keys.js';
import { LogDamagedError, StorageFailedError, type LogStore } from '../log/log-store.js';
import type { ClusterMap, Collection } from '../ring/core/map.js';
import type { CollectionSpec } from '../shard/core/search.js';
import type { DocumentRow, ShardCounters } from '../shard/core/rows.js';
import type { ShardService } from '../shard/shard.service.js';
import { openIdentity, type NodeIdentity } from './node-identity.js';
import { MapService } from './map.service.js';
import { ShardReplica, storedCounters, type WriteRequest } from './shard-replica.js';
import type { AckLevel, WriteOutcome } from './core/write.js';

/** What the replication service needs; all of it swapped under test. */
export interface ReplicationPorts {
  readonly log: LogStore;
  readonly shards: ShardService;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: ReplicationLogger;
}

export interface ReplicationLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Shards opened side by side at start: enough to keep the index threads busy. */
const OPEN_AT_ONCE = 4;
/** Payload bytes of writes in flight on the node (replication 3). */
const NODE_BYTES_MAX = 256 * 1024 * 1024;
/** How often late acknowledgements are looked at. */
const TICK_MS = 250;

/**
 * The shards of this node: opens their logs and indexes, reigns over them, and owns every write (architecture, "Who owns
 * what"). A damaged shard is faulted and the others go on (replication 2.6).
 */
export class ReplicationService {
  readonly map: MapService;
  readonly #config: NodeConfig;
  readonly #ports: ReplicationPorts;
  readonly #replicas = new Map<number, ShardReplica>();
  readonly #faults = new Map<number, Error>();
  readonly #durableListeners = new Set<(shard: number, offset: number) => void>();
  readonly #sweepListeners = new Set<(shard: number, collectionId: number) => void>();
  #identity: NodeIdentity | undefined;
  #bytesInFlight = 0;
  #ticker: NodeJS.Timeout | undefined;

  constructor(config: NodeConfig, ports: ReplicationPorts) {
    this.#config = config;
    this.#ports = ports;
    this.map = new MapService(ports.hasher);
  }

  /** Opens everything; resolves when every local shard serves or is known to be faulted. */
  async start(): Promise<void> {
    const { log, logger } = this.#ports;
    const identity = await openIdentity(log, this.#ports.random);
    this.#identity = identity;
    await this.#openMap(identity);
    const map = this.map.current();
    if (map.shardCount !== this.#config.shardCount) {
      logger.info(
        { configured: this.#config.shardCount, actual: map.shardCount },
        'the shard count was fixed when the cluster was made; the configured one is not used',
      );
    }
    this.map.onChange((next) => this.#followMap(next));
    const waiting = Array.from({ length: map.shardCount }, (_, shard) => shard);
    await Promise.all(
      Array.from({ length: OPEN_AT_ONCE }, async () => {
        for (let shard = waiting.shift(); shard !== undefined; shard = waiting.shift())
          await this.#openShard(shard, identity);
      }),
    );
    await this.#purgeDropped(map);
    this.#ticker = setInterval(() => {
      for (const replica of this.#replicas.values()) replica.tick();
    }, TICK_MS);
    this.#ticker.unref();
  }

  stop(): void {
    clearInterval(this.#ticker);
  }

  get identity(): NodeIdentity {
    if (this.#identity === undefined) throw new NodeError('STARTING', 'the node is starting; try again in a moment');
    return this.#identity;
  }

  /** Data shards with a replica here, ascending. */
  localShards(): readonly number[] {
    return [...this.#replicas.keys(), ...this.#faults.keys()]
      .filter((shard, at, all) => shard !== META_SHARD && all.indexOf(shard) === at)
      .sort((a, b) => a - b);
  }

  /** The replica of a shard; undefined while it is faulted before it could open. */
  replica(shard: number): ShardReplica | undefined {
    return this.#replicas.get(shard);
  }

  /** Why a shard does not serve, or undefined. */
  fault(shard: number): Error | undefined {
    return this.#faults.get(shard);
  }

  /** Makes a write on the shard's primary, here. Never rejects. */
  write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    const fault = this.#faults.get(shard);
    if (fault !== undefined) return Promise.resolve({ kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message });
    const replica = this.#replicas.get(shard);
    if (replica === undefined)
      return Promise.resolve({
        kind: 'refused',
        code: 'STARTING',
        detail: `shard ${shard} is opening; try again in a moment`,
      });
    const bytes = request.payload.length;
    if (this.#bytesInFlight + bytes > NODE_BYTES_MAX) {
      const detail = 'too many writes are in flight on this node; send them again a little later';
      return Promise.resolve({ kind: 'refused', code: 'OVERLOADED', detail, retryAfterMs: 100 });
    }
    this.#bytesInFlight += bytes;
    return replica.write(request).then((outcome) => {
      this.#bytesInFlight -= bytes;
      return outcome;
    });
  }

  /** The stored row of a document. @throws NodeError when the shard does not serve */
  row(shard: number, collectionId: number, id: string): DocumentRow | undefined {
    const replica = this.#serving(shard);
    try {
      return replica.row(collectionId, id);
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.faultShard(shard, error);
      throw new NodeError('LOG_CORRUPT', error.message, { cause: error });
    }
  }

  /** Whether another local shard holds a result under this operation id: the key was used for another document. */
  usedElsewhere(shard: number, opId: Uint8Array): boolean {
    return this.localShards().some(
      (other) => other !== shard && this.#ports.log.row(idempotencyKey(other, opId)) !== undefined,
    );
  }

  counters(shard: number): ShardCounters {
    return this.#replicas.get(shard)?.counters() ?? storedCounters(this.#ports.log, shard);
  }

  /** A damaged entry was met while reading: the shard stops serving (replication 2.6). */
  faultShard(shard: number, error: Error): void {
    if (this.#faults.has(shard)) return;
    this.#faults.set(shard, error);
    this.#ports.logger.error(
      { shard, err: error },
      'the shard is faulted: restore it from a backup, or let another replica heal it',
    );
    this.#ports.shards.markFaulted(shard, error.message);
    this.#replicas.get(shard)?.fail(error);
  }

  /** The consistency asked for, made a number of copies (replication 2.8). */
  level(asked: 'auto' | AckLevel): AckLevel {
    const { settings, nodes } = this.map.current();
    const wanted = asked === 'auto' ? settings.writeConsistency : asked;
    const strict = settings.partitionMode === 'strict';
    if (wanted === 'auto') return strict || setSize(settings.replicaCount, nodes.length) >= 3 ? 'quorum' : 'one';
    return wanted === 'one' && strict ? 'quorum' : wanted;
  }

  onDurable(listener: (shard: number, offset: number) => void): () => void {
    this.#durableListeners.add(listener);
    return () => {
      this.#durableListeners.delete(listener);
    };
  }

  /** Rows of a dropped collection wait to be deleted. */
  onSweep(listener: (shard: number, collectionId: number) => void): void {
    this.#sweepListeners.add(listener);
  }

  async #openMap(identity: NodeIdentity): Promise<void> {
    const damage = this.#ports.log.openDamages().find((found) => found.shard === META_SHARD);
    if (damage !== undefined)
      throw new StorageFailedError(
        `the log of the map is damaged at offset ${damage.offset} (${damage.problem}); restore a backup`,
      );
    const stored = MapService.stored(this.#ports.log);
    if (stored !== undefined) this.map.accept(stored);
    const replica = await this.#reign(META_SHARD, identity, stored);
    this.map.attach(replica);
    const node = { nodeId: this.#config.nodeId, nodeUuid: toHex(identity.nodeUuid), address: this.#config.advertise };
    if (stored === undefined) {
      const { shardCount, replicaCount, writeConsistency, partitionMode, rebalanceGraceMs } = this.#config;
      await this.map.change({
        kind: 'bootstrap',
        clusterId: randomUUID(),
        shardCount,
        settings: { replicaCount, writeConsistency, partitionMode, rebalanceGraceMs },
        node,
        defaults: {
          similarity: this.#config.similarity,
          hnsw: {
            m: this.#config.hnswM,
            efConstruction: this.#config.hnswEfConstruction,
            efSearch: this.#config.hnswEfSearch,
          },
          ...(this.#config.dimensions === undefined ? {} : { dimensions: this.#config.dimensions }),
        },
      });
      return;
    }
    const known = stored.nodes.find((candidate) => candidate.nodeUuid === node.nodeUuid);
    if (known?.nodeId !== node.nodeId || known.address !== node.address)
      await this.map.change({ kind: 'register', node });
  }

  async #openShard(shard: number, identity: NodeIdentity): Promise<void> {
    const { log, shards, logger } = this.#ports;
    try {
      const damage = log.openDamages().find((found) => found.shard === shard);
      if (damage !== undefined) throw new LogDamagedError(damage);
      const report = await shards.open(shard, this.map.current().collections.map(toSpec));
      logger.info({ shard, ...report }, 'shard opened');
      await this.#reign(shard, identity, this.map.current());
    } catch (error) {
      if (!(error instanceof LogDamagedError)) throw error;
      this.faultShard(shard, error);
    }
  }

  async #reign(shard: number, identity: NodeIdentity, map: ClusterMap | undefined): Promise<ShardReplica> {
    const { log, shards, hasher, clock, random } = this.#ports;
    const { settings, nodes } = map ?? { settings: undefined, nodes: [] };
    const size = settings === undefined ? 1 : setSize(settings.replicaCount, nodes.length);
    const replica = await ShardReplica.open(shard, identity.nodeUuid, size, shard === META_SHARD ? map : undefined, {
      log,
      hasher,
      clock,
      random,
      index: shard === META_SHARD ? undefined : (entries) => shards.apply(shard, entries),
      onMap: (next) => this.map.accept(next),
      onSweep: (collectionId) => {
        for (const listener of this.#sweepListeners) listener(shard, collectionId);
      },
      onFault: (error) => this.faultShard(shard, error),
      onDurable: (offset) => {
        for (const listener of this.#durableListeners) listener(shard, offset);
      },
    });
    this.#replicas.set(shard, replica);
    return replica;
  }

  #followMap(map: ClusterMap): void {
    this.#ports.shards.defineCollections(map.collections.map(toSpec)).catch((error: unknown) => {
      // A thread that died meanwhile is told again when its successor starts.
      this.#ports.logger.warn({ err: error }, 'the index threads could not be told of the collections');
    });
  }

  /** A crash may have come between dropping a collection from the map and purging it from the shards: go on with it. */
  async #purgeDropped(map: ClusterMap): Promise<void> {
    const known = new Set(map.collections.map((collection) => collection.id));
    for (const [shard, replica] of this.#replicas) {
      if (shard === META_SHARD) continue;
      for (const id of replica.counters().collections.keys()) if (!known.has(id)) await this.purgeCollection(shard, id);
    }
  }

  /** Logs the end of a collection in one shard: its entries are ignored from then on (replication 2.3). */
  async purgeCollection(shard: number, collectionId: number): Promise<void> {
    const outcome = await this.write(shard, {
      op: 'COLLECTION_PURGE',
      collectionId,
      id: '',
      payload: new Uint8Array(0),
      level: this.level('auto'),
    });
    if (outcome.kind === 'refused') throw new NodeError(outcome.code, outcome.detail);
  }

  #serving(shard: number): ShardReplica {
    const fault = this.#faults.get(shard);
    if (fault !== undefined) throw new NodeError('LOG_CORRUPT', fault.message);
    const replica = this.#replicas.get(shard);
    if (replica === undefined) throw new NodeError('STARTING', `shard ${shard} is opening; try again in a moment`);
    return replica;
  }
}

/** Members of a shard's set: as many as asked for, as many as there are (replication 2.8). */
export function setSize(replicaCount: number, nodes: number): number {
  return Math.max(1, Math.min(1 + replicaCount, nodes));
}

/** What an index must know of a collection. */
export function toSpec(collection: Collection): CollectionSpec {
  return {
    id: collection.id,
    dimensions: collection.dimensions,
    similarity: collection.similarity,
    hnsw: collection.hnsw,
  };
}
