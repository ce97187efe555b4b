import type { Clock } from '../../kernel/clock.js';
import { NO_EPOCH, type Epoch } from '../../kernel/epoch.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { Random } from '../../kernel/random.js';
import { HLC_ZERO, OP_ID_BYTES } from '../../kernel/version.js';
import { entryVersion } from '../log/core/entry-codec.js';
import { documentKey, idempotencyKey, shardKey } from '../log/core/keys.js';
import { LogDamagedError, type LogState, type LogStore } from '../log/log-store.js';
import type { ClusterMap } from '../ring/core/map.js';
import type { MapOperation } from '../ring/core/map-operations.js';
import { decodeCounters, decodeRow, ZERO_COUNTERS, type DocumentRow, type ShardCounters } from '../shard/core/rows.js';
import { COUNTERS_ROW, Leader, type LeaderEffect, type LeaderInput } from './core/leader.js';
import type { AckLevel, Proposal, RowCondition, WriteOutcome } from './core/write.js';

/** A write as the coordinator or the map asks for it. */
export interface WriteRequest {
  readonly op: Proposal['op'];
  readonly collectionId: number;
  readonly id: string;
  readonly payload: Uint8Array;
  readonly condition?: RowCondition;
  readonly level: AckLevel;
  /** 16 bytes from the client's idempotency key; absent: a random one. */
  readonly key?: Uint8Array;
  /** 16 bytes: what the client asked for. Only looked at with `key`. */
  readonly fingerprint?: Uint8Array;
  readonly mapOperation?: MapOperation;
}

/** What a replica needs of the world. */
export interface ReplicaPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  readonly clock: Clock;
  readonly random: Random;
  /** Puts durable entries into the shard's index; resolves when they are applied. Absent for the map's shard. */
  readonly index: ((entries: readonly Uint8Array[]) => Promise<void>) | undefined;
  /** The map changed; only called for the map's shard. */
  readonly onMap: (map: ClusterMap) => void;
  /** A dropped collection's rows may go. */
  readonly onSweep: (collectionId: number) => void;
  /** The shard is damaged or its index is lost beyond repair. */
  readonly onFault: (error: Error) => void;
  /** New entries are durable up to this offset. */
  readonly onDurable: (offset: number) => void;
}

const NO_FINGERPRINT = new Uint8Array(16);
/** Generation of the document rows until a snapshot flips it (replication 4.7). */
export const GENERATION = 1;

/**
 * One shard's replica on this node, as its primary: drives the Leader machine with the log, the index and the clock.
 * Proposals of one turn of the loop go into one step, so that they share a batch.
 */
export class ShardReplica {
  readonly shard: number;
  readonly #ports: ReplicaPorts;
  readonly #leader: Leader;
  readonly #waiting = new Map<number, (outcome: WriteOutcome) => void>();
  #turn: Proposal[] = [];
  #nextTicket = 1;
  #fault: Error | undefined;

  private constructor(shard: number, leader: Leader, ports: ReplicaPorts) {
    this.shard = shard;
    this.#leader = leader;
    this.#ports = ports;
  }

  /**
   * Begins a reign over a shard whose log is open: a new epoch, never used before (replication 1.2), opened by a BARRIER
   * that is durable when this resolves. The index must have been opened up to the log's tail.
   */
  static async open(
    shard: number,
    nodeUuid: Uint8Array,
    setSize: number,
    map: ClusterMap | undefined,
    ports: ReplicaPorts,
  ): Promise<ShardReplica> {
    const state = ports.log.state(shard);
    const epoch: Epoch = { num: lastEpoch(state).num + 1, uuid: nodeUuid };
    const leader = new Leader({
      shard,
      epoch,
      hasher: ports.hasher,
      tail: state.tail,
      chain: state.chain,
      lastHlc: await lastClock(ports.log, shard, state),
      generation: GENERATION,
      counters: storedCounters(ports.log, shard),
      setSize,
      map,
    });
    const replica = new ShardReplica(shard, leader, ports);
    await replica.#step({ kind: 'begin', wallMs: ports.clock.wallMs(), opId: ports.random.bytes(OP_ID_BYTES) });
    return replica;
  }

  get epoch(): Epoch {
    return this.#leader.epoch;
  }

  /** Offsets stored, durable and in the index. */
  get position(): { readonly tail: number; readonly durable: number; readonly applied: number } {
    return { tail: this.#leader.tail, durable: this.#leader.durable, applied: this.#leader.applied };
  }

  /** What is wrong with the shard, or undefined. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  get inFlight(): { readonly ops: number; readonly bytes: number } {
    return this.#leader.inFlight;
  }

  /** End of the log and what its rows add up to, of one moment. */
  summary(): { readonly offset: number; readonly chain: Uint8Array; readonly counters: ShardCounters } {
    return { offset: this.#leader.tail, chain: this.#leader.chain, counters: this.#leader.counters() };
  }

  counters(): ShardCounters {
    return this.#leader.counters();
  }

  /** Makes a write; resolves when it is acknowledged or refused. Never rejects. */
  write(request: WriteRequest): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const ticket = this.#nextTicket++;
      this.#waiting.set(ticket, resolve);
      const keyed = request.key !== undefined;
      const opId = request.key ?? this.#ports.random.bytes(OP_ID_BYTES);
      if (this.#turn.length === 0) setImmediate(() => this.#proposeTurn());
      this.#turn.push({
        ticket,
        op: request.op,
        collectionId: request.collectionId,
        id: request.id,
        payload: request.payload,
        ...(request.condition === undefined ? {} : { condition: request.condition }),
        level: request.level,
        opId,
        keyed,
        fingerprint: request.fingerprint ?? NO_FINGERPRINT,
        storedRow: undefined,
        storedOperation: undefined,
        ...(request.mapOperation === undefined ? {} : { mapOperation: request.mapOperation }),
      });
    });
  }

  /** The stored row of a document, tombstones included. Durable rows only. */
  row(collectionId: number, id: string): DocumentRow | undefined {
    const bytes = this.#ports.log.row(documentKey(GENERATION, this.shard, collectionId, id));
    return bytes === undefined ? undefined : decodeRow(bytes);
  }

  /** Lets late acknowledgements out. Called a few times a second. */
  tick(): void {
    this.#run({ kind: 'tick', monotonicMs: this.#ports.clock.monotonicMs() });
  }

  /** Superseded entries were deleted. */
  compacted(bytes: number): void {
    this.#run({ kind: 'compacted', bytes });
  }

  /** Refuses everything from now on (replication 2.6: a damaged entry fails its shard only). */
  fail(error: Error): void {
    if (this.#fault !== undefined) return;
    this.#fault = error;
    this.#run({ kind: 'fail', detail: error.message });
    this.#ports.onFault(error);
  }

  #proposeTurn(): void {
    const { clock } = this.#ports;
    const turn = this.#turn;
    this.#turn = [];
    let proposals: readonly Proposal[];
    try {
      proposals = turn.map((proposal) => this.#withStored(proposal));
    } catch (error) {
      // A row that cannot be read: nothing of this turn was logged, and the shard stops (replication 2.6).
      const fault = error instanceof Error ? error : new Error(String(error));
      for (const { ticket } of turn)
        this.#reply(ticket, { kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message });
      this.fail(fault);
      return;
    }
    this.#run({ kind: 'propose', wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs(), proposals });
  }

  /** The proposal with what is stored under its id and its key now. */
  #withStored(proposal: Proposal): Proposal {
    const { log } = this.#ports;
    const { collectionId, id, keyed, opId } = proposal;
    return {
      ...proposal,
      storedRow: id === '' ? undefined : log.row(documentKey(GENERATION, this.shard, collectionId, id)),
      storedOperation: keyed ? log.row(idempotencyKey(this.shard, opId)) : undefined,
    };
  }

  #reply(ticket: number, outcome: WriteOutcome): void {
    const resolve = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    resolve?.(outcome);
  }

  #run(input: LeaderInput): void {
    this.#step(input).catch((error: unknown) => this.fail(error instanceof Error ? error : new Error(String(error))));
  }

  /** Performs the effects of one step in order; resolves when its appends are durable. */
  async #step(input: LeaderInput): Promise<void> {
    const appends: Promise<void>[] = [];
    for (const effect of this.#leader.step(input)) {
      const append = this.#perform(effect);
      if (append !== undefined) appends.push(append);
    }
    for (const append of appends) await append;
  }

  #perform(effect: LeaderEffect): Promise<void> | undefined {
    switch (effect.kind) {
      case 'append':
        return this.#append(effect);
      case 'apply':
        this.#ports.onDurable(effect.tail);
        this.#apply(effect.entries, effect.tail);
        return undefined;
      case 'reply':
        this.#reply(effect.reply.ticket, effect.reply.outcome);
        return undefined;
      case 'map':
        this.#ports.onMap(effect.map);
        return undefined;
      case 'sweep':
        this.#ports.onSweep(effect.collectionId);
        return undefined;
    }
  }

  async #append(effect: Extract<LeaderEffect, { kind: 'append' }>): Promise<void> {
    await this.#ports.log.append(effect.batch);
    await this.#step({ kind: 'persisted', offset: effect.tail, monotonicMs: this.#ports.clock.monotonicMs() });
  }

  #apply(entries: readonly Uint8Array[], tail: number): void {
    if (this.#ports.index === undefined) {
      this.#run({ kind: 'applied', offset: tail });
      return;
    }
    this.#ports.index(entries).then(
      () => this.#run({ kind: 'applied', offset: tail }),
      (error: unknown) => this.fail(error instanceof Error ? error : new Error(String(error))),
    );
  }
}

function lastEpoch(state: LogState): Epoch {
  return state.history.at(-1)?.epoch ?? NO_EPOCH;
}

/** The clock reading of the last entry: versions of this reign continue above it (replication 1.3). */
async function lastClock(log: LogStore, shard: number, state: LogState): Promise<typeof HLC_ZERO> {
  if (state.tail === 0) return HLC_ZERO;
  const [bytes] = await log.scan(shard, state.tail, 1, 1);
  if (bytes === undefined) throw new LogDamagedError({ shard, offset: state.tail, problem: 'missing' });
  return entryVersion(bytes).hlc;
}

/** The counters as of the log's tail. */
export function storedCounters(log: LogStore, shard: number): ShardCounters {
  const bytes = log.row(shardKey(shard, COUNTERS_ROW));
  return bytes === undefined ? ZERO_COUNTERS : decodeCounters(bytes);
}
