import { toHex } from '../../../src/kernel/bytes.js';
import { utf8 } from '../../../src/kernel/bytes.js';
import type { Operation } from '../checkers/observation.js';
import { Client } from './client.js';
import type { ClientOutcome } from './client.js';
import type { SimHost } from './host.js';
import type { SeededRandom } from './seeded-random.js';
import { payloadHash } from './world.js';
import type { World } from './world.js';

/** Few documents, so that writes meet. */
const DOCUMENTS = ['a', 'b', 'c', 'd', 'e'];
const COLLECTION = 1;

/** Writes of every kind through random nodes, as clients send them; some again, with the key they had. */
export class Workload {
  readonly #random: SeededRandom;
  readonly #client: Client;
  readonly #payloads: Uint8Array[] = [];
  readonly outcomes: (ClientOutcome | undefined)[] = [];
  readonly #meanMs: number;
  #running = false;

  constructor(private readonly world: World) {
    this.#random = world.random.fork('workload');
    this.#client = new Client(world);
    this.#meanMs = this.#random.pick([15, 40, 120, 300]);
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
    return this.#submit(this.#invent(shard, document, 'UPSERT', level), through, level);
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
    const kind = this.#random.chance(0.25) ? 'DELETE' : 'UPSERT';
    const operation = this.#invent(shard, this.#random.pick(DOCUMENTS), kind, level);
    void this.#submit(operation, through, level);
  }

  #invent(shard: number, id: string, kind: Operation['kind'], level: Operation['level']): Operation {
    const { world } = this;
    const document = `${COLLECTION}/${id}`;
    const index = world.operations.length;
    const payload =
      kind === 'DELETE' ? new Uint8Array(0) : utf8(`${index} of ${id}${'.'.repeat(this.#random.below(200))}`);
    const expected = this.#random.chance(0.2) ? this.#lastVersion(shard, document) : undefined;
    const operation: Operation = {
      index,
      shard,
      document,
      kind,
      opId: toHex(this.#random.bytes(16)),
      payload: payloadHash(payload),
      level,
      ...(expected === undefined ? {} : { expected }),
      invokedMs: world.nowMs,
    };
    world.operations.push(operation);
    this.#payloads.push(payload);
    return operation;
  }

  async #submit(operation: Operation, through: SimHost, level: Operation['level']): Promise<ClientOutcome> {
    const outcome = await this.#client.write(through, operation, this.#payloads[operation.index], level);
    this.outcomes[operation.index] = outcome;
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
