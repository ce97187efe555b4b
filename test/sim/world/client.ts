import { PeerError } from '../../../src/kernel/peer.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import { fromHex } from '../../../src/kernel/bytes.js';
import { decodeMapOperation } from '../../../src/modules/replication/core/map-codec.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import type { Operation } from '../checkers/observation.js';
import type { SimHost } from './host.js';
import type { World } from './world.js';

/** How a write ended for the one who asked. */
export type ClientOutcome =
  | { readonly kind: 'acknowledged'; readonly version: string }
  /** Certainly not done by this attempt. */
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'unknown' };

/** Retries of a refusal between nodes (replication 3). */
const ATTEMPTS = 4;
/** The caller's deadline. */
const DEADLINE_MS = 6_000;

/**
 * Any node accepts a write: the one asked takes it to the primary it believes in, which may be a stale belief; the real
 * one is found by hints, inside the deadline, always with the same operation id.
 */
export class Client {
  readonly #beliefs = new Map<string, NodeUuid>();

  constructor(private readonly world: World) {}

  async write(
    through: SimHost,
    operation: Operation,
    payload: Uint8Array,
    level: Operation['level'],
  ): Promise<ClientOutcome> {
    const { world } = this;
    const running = through.running;
    if (running?.node === undefined) return { kind: 'refused', code: 'DOWN' };
    // As the coordinator has it: strict raises one to quorum (replication 2.8).
    const raised = level === 'one' && world.map.isStrict(operation.shard) ? 'quorum' : level;
    const request = requestOf(operation, payload, raised);
    const deadlineMs = world.nowMs + DEADLINE_MS;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const to = this.#target(through, operation.shard);
      const leftMs = deadlineMs - world.nowMs;
      if (leftMs <= 0) return { kind: 'refused', code: 'DEADLINE' };
      let outcome: WriteOutcome;
      try {
        outcome = await this.#within(
          leftMs,
          world.network.ask(
            running.process,
            to.name,
            'write',
            { index: operation.index, request },
            leftMs,
            (endpoint, asked: { index: number; request: WriteRequest }) =>
              world.write(endpoint, world.operations[asked.index], asked.request),
          ),
        );
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        this.#beliefs.delete(`${through.name}|${operation.shard}`);
        if (error.reason !== 'REFUSED') return { kind: 'unknown' };
        await world.scheduler.sleep(50);
        continue;
      }
      if (outcome.kind === 'written') return { kind: 'acknowledged', version: '' };
      if (outcome.kind === 'refused')
        return outcome.code === 'WRITE_OUTCOME_UNKNOWN' ? { kind: 'unknown' } : { kind: 'refused', code: outcome.code };
      const key = `${through.name}|${operation.shard}`;
      world.count('not primary');
      if (outcome.hint === undefined) this.#beliefs.delete(key);
      else this.#beliefs.set(key, outcome.hint.node);
      await world.scheduler.sleep(20 * 2 ** attempt);
    }
    return { kind: 'refused', code: 'NO_PRIMARY' };
  }

  /** The node that asks may be gone before it is answered: then the client is the one who waits. */
  #within<T>(ms: number, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.world.scheduler.in(ms + 500, undefined, () => reject(new PeerError('TIMEOUT', 'the asked node is gone')));
      answer.then(resolve, reject);
    });
  }

  /** Where the node asked believes the primary to be; anywhere, when it believes nothing. */
  #target(through: SimHost, shard: number): SimHost {
    const { world } = this;
    const known = this.#beliefs.get(`${through.name}|${shard}`) ?? through.running?.node?.inspect(shard)?.leader ?? '';
    const host = known === '' ? undefined : world.hostOf(known);
    return host ?? world.hostOf(world.random.pick(world.map.placed(shard).set.members)) ?? through;
  }
}

function requestOf(operation: Operation, payload: Uint8Array, level: Operation['level']): WriteRequest {
  const opId = fromHex(operation.opId) ?? new Uint8Array(16);
  const common = { level, key: opId, fingerprint: opId };
  if (operation.kind === 'MAP') {
    const mapOperation = decodeMapOperation(payload);
    return { level, op: 'MAP', collectionId: 0, id: '', payload: new Uint8Array(0), mapOperation };
  }
  const [collectionId, id] = operation.document.split('/');
  return {
    ...common,
    op: operation.kind,
    collectionId: Number(collectionId),
    id,
    payload,
    ...(operation.expected === undefined ? {} : { condition: { kind: 'version', version: operation.expected } }),
  };
}
