import type { Refusal, ShardGate, ShardReply } from './core/shard-calls.js';
import type { ReplicaGate } from './replica-gate.js';
import type { ShardCallOptions } from './shard-access.js';

/** How long a read waits for the session, and a call for the map it was made with (replication 7.2). */
const SESSION_WAIT_MS = 200;
const POLL_MS = 2;

/** The shards of a call that may answer here, and why the others may not. */
export interface Passed {
  readonly opened: readonly { readonly gate: ShardGate; readonly lagMs: number | undefined }[];
  readonly refused: readonly { readonly shard: number; readonly refusal: Refusal }[];
  /** A refusal may be gone in a moment. */
  readonly waits: boolean;
}

/** What a shard that passed came to. */
export type Answer<T> = { readonly value: T } | { readonly refusal: Refusal };

/** The way of a call through the gate: for each shard alone, and not before the map and the session it brings are reached here. */
export class GatePassage {
  constructor(private readonly gates: ReplicaGate) {}

  /**
   * Which of the shards may answer, once the map and the session are reached or given up: at once where they are.
   * @param searched what the index answers, as opposed to the log
   */
  pass(
    mapEpoch: number,
    gates: readonly ShardGate[],
    options: ShardCallOptions,
    searched: boolean,
  ): Promise<Passed> | Passed {
    const now = this.#try(mapEpoch, gates, searched);
    return now.waits ? this.#wait(mapEpoch, gates, options, searched) : now;
  }

  #try(mapEpoch: number, gates: readonly ShardGate[], searched: boolean): Passed {
    const opened: { readonly gate: ShardGate; readonly lagMs: number | undefined }[] = [];
    const refused: { readonly shard: number; readonly refusal: Refusal }[] = [];
    const mapIsOld = this.gates.mapEpoch < mapEpoch;
    let waits = mapIsOld;
    for (const gate of gates) {
      const { shard, position } = gate;
      const answer: ReturnType<ReplicaGate['check']> = mapIsOld
        ? { open: false, refusal: { code: 'STALE_MAP' } }
        : this.gates.check(gate, searched);
      if (!answer.open) refused.push({ shard, refusal: answer.refusal });
      else if (position !== undefined && !this.gates.reached(shard, position, searched)) {
        waits = true;
        refused.push({ shard, refusal: { code: 'NOT_CAUGHT_UP', retryAfterMs: SESSION_WAIT_MS } });
      } else opened.push({ gate, lagMs: answer.lagMs });
    }
    return { opened, refused, waits };
  }

  async #wait(
    mapEpoch: number,
    gates: readonly ShardGate[],
    options: ShardCallOptions,
    searched: boolean,
  ): Promise<Passed> {
    const waitMs = Math.min(SESSION_WAIT_MS, options.timeoutMs);
    const startedMs = performance.now();
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const now = this.#try(mapEpoch, gates, searched);
      if (!now.waits || options.signal?.aborted === true || performance.now() - startedMs >= waitMs) return now;
    }
  }
}

/** The answers of those that passed, in their order, behind the refusals of the others. */
export function repliesOf<T>({ opened, refused }: Passed, answers: readonly Answer<T>[]): readonly ShardReply<T>[] {
  const replies: ShardReply<T>[] = [...refused];
  for (let i = 0; i < opened.length; i++) {
    const { gate, lagMs } = opened[i];
    const answer = answers[i];
    if ('refusal' in answer) replies.push({ shard: gate.shard, refusal: answer.refusal });
    else replies.push({ shard: gate.shard, value: answer.value, ...(lagMs === undefined ? {} : { lagMs }) });
  }
  return replies;
}
