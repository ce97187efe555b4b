import { toHex } from '../../../src/kernel/bytes.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import { PROTOCOL } from '../../../src/kernel/peer.js';
import { encodeMapOperation } from '../../../src/modules/replication/core/map-codec.js';
import type { MapOperation } from '../../../src/modules/ring/core/map-operations.js';
import { encodeDocument } from '../../../src/modules/shard/core/document-codec.js';
import type { Operation } from '../checkers/observation.js';
import { Client } from './client.js';
import type { ClientOutcome } from './client.js';
import type { SimHost } from './host.js';
import { addressOf } from './network.js';
import type { SeededRandom } from './seeded-random.js';
import { payloadHash } from './world.js';
import type { World } from './world.js';

/** Few documents, so that writes meet. */
const DOCUMENTS = ['a', 'b', 'c', 'd', 'e'];
const COLLECTION = 1;
/** Changes of the map show which one they were; above what is worth waiting for. */
const GRACE_MS = 600_000;

/** Writes of every kind through random nodes, as clients send them; some again, with the key they had. */
export class Workload {
  readonly #random: SeededRandom;
  readonly #client: Client;
  readonly #payloads: Uint8Array[] = [];
  readonly outcomes: (ClientOutcome | undefined)[] = [];
  readonly #meanMs: number;
  #running = false;
  #mapMade: boolean;

  constructor(private readonly world: World) {
    this.#random = world.random.fork('workload');
    this.#client = new Client(world);
    this.#meanMs = this.#random.pick([15, 40, 120, 300]);
    this.#mapMade = world.options.cluster !== undefined;
  }

  start(): void {
    this.#running = true;
    this.#next();
  }

  stop(): void {
    this.#running = false;
  }

  /** One write of a document nobody else writes, for the scenarios. */
  write(
    through: SimHost,
    shard: number,
    level: Operation['level'],
    document = this.#random.pick(DOCUMENTS),
  ): Promise<ClientOutcome> {
    const operation = shard === META_SHARD ? this.#change(level) : this.#invent(shard, document, 'UPSERT', level);
    return this.#submit(operation, through, level);
  }

  /** The last write once more, through another node, with the key it had. */
  repeatLast(through: SimHost, level: Operation['level']): Promise<ClientOutcome> {
    const operation = this.world.operations.at(-1);
    if (operation === undefined) throw new Error('nothing was written yet');
    return this.#submit(operation, through, level);
  }

  #next(): void {
    if (!this.#running) return;
    this.world.scheduler.in(this.#random.between(0.2, 2) * this.#meanMs, undefined, () => {
      if (!this.#running) return;
      this.#one();
      this.#next();
    });
  }

  #one(): void {
    const { world } = this;
    const through = this.#random.pick(world.hosts);
    const level = this.#random.pick(['one', 'quorum', 'quorum', 'all'] as const);
    const old = world.operations.slice(-40);
    if (old.length > 0 && this.#random.chance(0.15)) {
      world.count('retried');
      void this.#submit(this.#random.pick(old), through, level);
      return;
    }
    const shard = this.#random.pick(world.map.shards());
    if (shard === META_SHARD) {
      void this.#submit(this.#change(level), through, level);
      return;
    }
    const kind = this.#random.chance(0.25) ? 'DELETE' : 'UPSERT';
    const operation = this.#invent(shard, this.#random.pick(DOCUMENTS), kind, level);
    void this.#submit(operation, through, level);
  }

  /** A change to the map that shows which one it was; the first that succeeds makes the map. */
  #change(level: Operation['level']): Operation {
    const { world } = this;
    const payload = encodeMapOperation(
      this.#mapMade
        ? { kind: 'settings', settings: { rebalanceGraceMs: GRACE_MS + world.operations.length } }
        : firstMap(world),
    );
    return this.#add({ shard: META_SHARD, document: 'map', kind: 'MAP', level }, payload);
  }

  #invent(shard: number, id: string, kind: Operation['kind'], level: Operation['level']): Operation {
    const { world } = this;
    const document = `${COLLECTION}/${id}`;
    const content = `${world.operations.length} of ${id}${'.'.repeat(this.#random.below(200))}`;
    const payload = kind === 'DELETE' ? new Uint8Array(0) : encodeDocument({ vector: new Float32Array(2), content });
    const expected = this.#random.chance(0.2) ? this.#lastVersion(shard, document) : undefined;
    return this.#add({ shard, document, kind, level, ...(expected === undefined ? {} : { expected }) }, payload);
  }

  #add(meant: Pick<Operation, 'shard' | 'document' | 'kind' | 'level' | 'expected'>, payload: Uint8Array): Operation {
    const { world } = this;
    const operation: Operation = {
      ...meant,
      index: world.operations.length,
      opId: toHex(this.#random.bytes(16)),
      payload: payloadHash(payload),
      invokedMs: world.nowMs,
    };
    world.operations.push(operation);
    this.#payloads.push(payload);
    return operation;
  }

  async #submit(operation: Operation, through: SimHost, level: Operation['level']): Promise<ClientOutcome> {
    const outcome = await this.#client.write(through, operation, this.#payloads[operation.index], level);
    this.outcomes[operation.index] = outcome;
    if (operation.kind === 'MAP') {
      if (outcome.kind === 'acknowledged') this.#mapMade = true;
      // Another bootstrap was logged before, or that one was discarded with its branch.
      else if (outcome.kind === 'refused' && outcome.code === 'OPERATION_CONFLICT') this.#mapMade = true;
      else if (outcome.kind === 'refused' && outcome.code === 'STARTING') this.#mapMade = false;
    }
    this.world.count(`client ${outcome.kind}${outcome.kind === 'refused' ? ` ${outcome.code}` : ''}`);
    return outcome;
  }

  /** The version a client may have read last. */
  #lastVersion(shard: number, document: string): string | undefined {
    const last = this.world.acknowledgements.findLast(
      ({ operation }) => operation.shard === shard && operation.document === document,
    );
    return last?.version;
  }
}

function firstMap({ hosts }: World): MapOperation {
  const [first] = hosts;
  return {
    kind: 'bootstrap',
    clusterId: 'simulated',
    shardCount: 1,
    settings: { replicaCount: 2, writeConsistency: 'auto', partitionMode: 'available', rebalanceGraceMs: 0 },
    node: {
      nodeId: first.name,
      nodeUuid: first.nodeUuid,
      address: addressOf(first.name),
      protocolMin: PROTOCOL.min,
      protocolMax: PROTOCOL.max,
    },
    defaults: { similarity: 'cosine', hnsw: { m: 16, efConstruction: 100, efSearch: 100 } },
  };
}
