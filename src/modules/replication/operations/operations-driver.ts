import type { Clock } from '../../../kernel/clock.js';
import { NodeError } from '../../../kernel/errors.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { CancelTimer, Timers } from '../../../kernel/timers.js';
import type { ClusterFacts, Transfer } from '../../ring/core/facts.js';
import type { ClusterMap } from '../../ring/core/map.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import { Placer } from '../../ring/core/placement.js';
import { planNext } from '../../ring/core/planner.js';
import type { PlannedAction } from '../../ring/core/plan-shard.js';

/** What the driver needs of the node. */
export interface OperationsPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly hasher: Hasher;
  readonly logger: OperationsLogger;
  /** The map, while this node is primary of META_SHARD and may change it; undefined otherwise. */
  map(): ClusterMap | undefined;
  /** What is known of the cluster now; `transfers` are the driver's own. */
  facts(map: ClusterMap, transfers: readonly Transfer[]): ClusterFacts;
  /** Changes the map; resolves when the change is agreed. @throws NodeError when refused or not known to be agreed */
  change(operation: MapOperation): Promise<unknown>;
  /**
   * Has the primary of a shard, META_SHARD included, hand its reign over (replication 5.7); resolves when it has, and
   * rejects within some seconds when it has not.
   */
  transfer(transfer: Transfer): Promise<void>;
}

export interface OperationsLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How often the plan is made anew when nothing happens. */
const ROUND_MS = 500;
/** Between two plans when much happens. */
const BREATH_MS = 20;
/** A shard whose hand-over failed is left alone for so long. */
const TRANSFER_REST_MS = 5_000;

/**
 * Drives every long operation (replication 9): on the primary of the map it plans, performs, and plans again. It keeps
 * nothing that another primary would miss.
 */
export class OperationsDriver {
  readonly #ports: OperationsPorts;
  readonly #transfers = new Map<number, Transfer>();
  /** By shard: when its hand-over may be tried again. */
  readonly #resting = new Map<number, number>();
  readonly #placer: Placer;
  #round: Promise<void> | undefined;
  #cancel: CancelTimer | undefined;
  #dueMs = 0;
  /** Something changed while a round ran. */
  #again = false;
  #stopped = true;

  constructor(ports: OperationsPorts) {
    this.#ports = ports;
    this.#placer = new Placer(ports.hasher);
  }

  start(): void {
    this.#stopped = false;
    this.#arm(BREATH_MS);
  }

  /** Resolves when the change that runs has ended; hand-overs go on without it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#round;
  }

  /** Something changed: the map, the view, or who reigns. Cheap, and may be called any number of times. */
  nudge(): void {
    if (this.#stopped) return;
    if (this.#round === undefined) this.#arm(BREATH_MS);
    else this.#again = true;
  }

  /** Transfers of reigns that run. */
  get transfers(): readonly Transfer[] {
    return [...this.#transfers.values()];
  }

  #arm(ms: number): void {
    const dueMs = this.#ports.clock.monotonicMs() + ms;
    if (this.#cancel !== undefined && this.#dueMs <= dueMs) return;
    this.#cancel?.();
    this.#dueMs = dueMs;
    this.#cancel = this.#ports.timers.after(ms, () => {
      this.#cancel = undefined;
      this.#round = this.#run().then((changed) => {
        this.#round = undefined;
        if (!this.#stopped) this.#arm(changed || this.#again ? BREATH_MS : ROUND_MS);
        this.#again = false;
      });
    });
  }

  /** One plan and what it asks for; whether the map changed. Never rejects. */
  async #run(): Promise<boolean> {
    let changed = false;
    try {
      const map = this.#ports.map();
      if (map === undefined) return false;
      for (const action of planNext(map, this.#ports.facts(map, this.transfers), this.#placer)) {
        if (this.#stopped || this.#ports.map() === undefined) return changed;
        if (action.kind === 'transfer') this.#handOver(action);
        else if (await this.#change(action.operation)) changed = true;
      }
    } catch (error) {
      this.#ports.logger.warn({ err: error }, 'the plan of the cluster could not be carried out; it is made anew');
    }
    return changed;
  }

  /** Whether the map changed. A refused operation was outrun by another one: the next plan knows better. */
  async #change(operation: MapOperation): Promise<boolean> {
    try {
      await this.#ports.change(operation);
    } catch (error) {
      if (!(error instanceof NodeError) || !OUTRUN.has(error.code)) throw error;
      this.#ports.logger.info({ operation, detail: error.message }, 'a planned change of the map was refused');
      return false;
    }
    this.#ports.logger.info({ operation }, 'the map was changed by plan');
    return true;
  }

  #handOver({ shard, from, to }: Extract<PlannedAction, { kind: 'transfer' }>): void {
    if ((this.#resting.get(shard) ?? 0) > this.#ports.clock.monotonicMs()) return;
    const transfer: Transfer = { shard, from, to };
    this.#transfers.set(shard, transfer);
    const ended = (): void => {
      this.#transfers.delete(shard);
      this.nudge();
    };
    this.#ports.transfer(transfer).then(
      () => {
        this.#resting.delete(shard);
        this.#ports.logger.info(transfer, 'the reign of the shard was handed over');
        ended();
      },
      (error: unknown) => {
        this.#resting.set(shard, this.#ports.clock.monotonicMs() + TRANSFER_REST_MS);
        this.#ports.logger.warn({ ...transfer, err: error }, 'the reign of the shard could not be handed over');
        ended();
      },
    );
  }
}

/** Refusals that say that the map is another one than the plan was made for. */
const OUTRUN: ReadonlySet<string> = new Set([
  'OPERATION_CONFLICT',
  'OPERATION_NOT_FOUND',
  'NODE_NOT_FOUND',
  'SHARD_NOT_FOUND',
  'LIMIT_EXCEEDED',
]);
