import { equalBytes } from '../../kernel/bytes.js';
import { OP_ID_BYTES } from '../../kernel/version.js';
import { documentKey, idempotencyKey } from '../log/core/keys.js';
import { refused, type Proposal, type Reply, type WriteOutcome, type WriteRequest } from './core/write.js';
import type { ReplicaPorts } from './replica-ports.js';

/** A write that waits for the end of the turn. */
interface Asked {
  readonly ticket: number;
  readonly opId: Uint8Array;
  readonly request: WriteRequest;
  readonly sinceMs: number;
  readonly untilMs: number | undefined;
}

/** What waiting writes need of their copy. */
export interface ProposedTo {
  readonly shard: number;
  /** Prefix generation of the document rows. */
  generation(): number;
  propose(proposals: readonly Proposal[]): void;
  /** A row cannot be read. */
  fail(error: Error): void;
}

const NO_FINGERPRINT = new Uint8Array(16);

/**
 * The writes of one copy that are not answered yet. Those of one turn of the loop are proposed in one step, so that they share
 * a batch, each with what is stored under its id and its key at that moment.
 */
export class WaitingWrites {
  readonly #ports: Pick<ReplicaPorts, 'log' | 'clock' | 'random' | 'timers'>;
  readonly #copy: ProposedTo;
  readonly #waiting = new Map<number, (outcome: WriteOutcome) => void>();
  #turn: Asked[] = [];
  /** What is being proposed at this moment, and what waits to be proposed anew; the machine bounds it. */
  #proposing: readonly Asked[] = [];
  #postponed: Asked[] = [];
  #nextTicket = 1;

  constructor(ports: Pick<ReplicaPorts, 'log' | 'clock' | 'random' | 'timers'>, copy: ProposedTo) {
    this.#ports = ports;
    this.#copy = copy;
  }

  /** Resolves when it is acknowledged, refused or redirected. Never rejects. */
  write(request: WriteRequest): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const ticket = this.#nextTicket++;
      this.#waiting.set(ticket, resolve);
      const opId = request.key ?? request.opId ?? this.#ports.random.bytes(OP_ID_BYTES);
      const { waitMs } = request;
      const sinceMs = this.#ports.clock.monotonicMs();
      if (request.repeatedFrom !== undefined) this.#supersede(opId);
      const untilMs = waitMs === undefined ? undefined : sinceMs + waitMs;
      this.#ask({ ticket, opId, request, sinceMs, untilMs });
    });
  }

  reply({ ticket, outcome }: Reply): void {
    const resolve = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    resolve?.(outcome);
  }

  /** Of those that are being proposed, these are proposed anew after `resume`. */
  postpone(tickets: readonly number[]): void {
    const kept = new Set(tickets);
    this.#postponed.push(...this.#proposing.filter(({ ticket }) => kept.has(ticket)));
  }

  resume(): void {
    const postponed = this.#postponed;
    this.#postponed = [];
    for (const asked of postponed) this.#ask(asked);
  }

  /** Who sends a write again waits for the first sending no more: made later, it would go over what was written after this one. */
  #supersede(opId: Uint8Array): void {
    for (const { ticket } of this.#postponed.filter((asked) => equalBytes(asked.opId, opId)))
      this.reply({
        ticket,
        outcome: refused('WRITE_OUTCOME_UNKNOWN', 'the same write came again, and takes its place'),
      });
    this.#postponed = this.#postponed.filter((asked) => !equalBytes(asked.opId, opId));
  }

  /** Sends everyone elsewhere. */
  close(): void {
    for (const resolve of this.#waiting.values()) resolve({ kind: 'redirect' });
    this.#waiting.clear();
  }

  #ask(asked: Asked): void {
    if (this.#turn.length === 0) this.#ports.timers.soon(() => this.#proposeTurn());
    this.#turn.push(asked);
  }

  #proposeTurn(): void {
    const turn = this.#turn;
    this.#turn = [];
    let proposals: readonly Proposal[];
    try {
      proposals = turn.map((asked) => this.#proposal(asked));
    } catch (error) {
      // A row that cannot be read: nothing of this turn was logged, and the shard stops (replication 2.6).
      const fault = error instanceof Error ? error : new Error(String(error));
      for (const { ticket } of turn)
        this.reply({ ticket, outcome: { kind: 'refused', code: 'LOG_CORRUPT', detail: fault.message } });
      this.#copy.fail(fault);
      return;
    }
    this.#proposing = turn;
    this.#copy.propose(proposals);
    this.#proposing = [];
  }

  /** What is asked for, with what is stored under its id and its key now. */
  #proposal({ ticket, opId, request, sinceMs, untilMs }: Asked): Proposal {
    const { log } = this.#ports;
    const { op, collectionId, id, payload, condition, level, fingerprint, mapOperation } = request;
    const { shard } = this.#copy;
    const generation = this.#copy.generation();
    const keyed = request.key !== undefined || request.repeatedFrom !== undefined;
    return {
      ticket,
      op,
      collectionId,
      id,
      payload,
      ...(condition === undefined ? undefined : { condition }),
      level,
      opId,
      keyed,
      fingerprint: fingerprint ?? NO_FINGERPRINT,
      sinceMs,
      ...(untilMs === undefined ? undefined : { untilMs }),
      storedRow: id === '' ? undefined : log.row(documentKey(generation, shard, collectionId, id)),
      storedOperation: keyed ? (log.row(idempotencyKey(shard, opId, generation)) ?? request.earlier) : undefined,
      ...(mapOperation === undefined ? undefined : { mapOperation }),
    };
  }
}
