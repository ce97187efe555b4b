import { Listeners } from '../../kernel/listeners.js';

/** A condition of readiness and, while it does not hold, what it waits for. */
export interface Condition {
  readonly name: string;
  readonly ready: boolean;
  /** In words, e.g. `replaying shard 1: 12 000 of 90 000 entries`; empty once ready. */
  readonly waitsFor: string;
}

/** The body of /readyz. */
export interface ReadinessView {
  readonly ready: boolean;
  readonly conditions: readonly Condition[];
}

/** The body of /health: DOWN while starting, stopping or failed; DEGRADED while it serves, but not everything. */
export interface HealthView {
  readonly status: 'UP' | 'DEGRADED' | 'DOWN';
  readonly conditions: readonly Condition[];
  /** What is degraded, in words. */
  readonly degraded: readonly string[];
}

/**
 * Whether the node should get requests: all of its named conditions hold and it is not stopping (api.md, /readyz).
 * Conditions are named once, before the node listens; each module then settles its own. Needs no quorum.
 */
export class Readiness {
  readonly #conditions = new Map<string, string>();
  readonly #degradations = new Map<string, string>();
  readonly #listeners = new Listeners();
  #stopping = false;

  /** Names a condition that does not hold yet. Nothing is ready before its condition was told. */
  expect(name: string, waitsFor: string): void {
    this.#conditions.set(name, waitsFor);
    this.#changed();
  }

  /** The condition holds. */
  settle(name: string): void {
    this.expect(name, '');
  }

  /** The node serves, but something is amiss, e.g. a shard without a primary; undefined clears it. */
  degrade(name: string, problem: string | undefined): void {
    if (problem === undefined) this.#degradations.delete(name);
    else this.#degradations.set(name, problem);
    this.#changed();
  }

  /** From now on not ready, for good: the first thing a shutdown does. */
  stop(): void {
    this.#stopping = true;
    this.#changed();
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  get ready(): boolean {
    return (
      !this.#stopping &&
      this.#conditions.size > 0 &&
      [...this.#conditions.values()].every((waitsFor) => waitsFor === '')
    );
  }

  /** Calls `listener` after every change until the returned function is called. */
  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  /** For /readyz: 200 when `ready`, else 503. */
  view(): ReadinessView {
    return { ready: this.ready, conditions: this.#list() };
  }

  /** For /health: 503 when DOWN, else 200. */
  health(): HealthView {
    const degraded = [...this.#degradations].map(([name, problem]) => `${name}: ${problem}`);
    return {
      status: !this.ready ? 'DOWN' : degraded.length > 0 ? 'DEGRADED' : 'UP',
      conditions: this.#list(),
      degraded,
    };
  }

  #list(): Condition[] {
    const conditions = [...this.#conditions].map(([name, waitsFor]) => ({ name, ready: waitsFor === '', waitsFor }));
    if (this.#stopping) conditions.push({ name: 'running', ready: false, waitsFor: 'the node is shutting down' });
    return conditions;
  }

  #changed(): void {
    this.#listeners.tell();
  }
}
