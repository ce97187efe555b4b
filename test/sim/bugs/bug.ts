import type { Fault } from '../world/chaos.js';
import type { Undo } from './override.js';

/** A rule that can be broken on purpose, to see that a checker finds it (testing, Simulation). */
export interface Bug {
  readonly name: string;
  /** The rule, and what is done instead. */
  readonly about: string;
  /** Breaks it in this process until the returned function is called; absent: the simulated disk or index knows the name. */
  readonly break?: () => Undo;
  /** The course of events in which it shows; absent: random ones. */
  readonly scenario?: string;
  /** Only these faults, where they are what it takes. */
  readonly faults?: readonly Fault[];
  /** The first seed that finds it, and what of: the fast run of the tests begins there. */
  readonly found: { readonly seed: number; readonly rules: readonly string[] };
}

/** A rule that nothing can break yet, and why. */
export interface BugToCome {
  readonly name: string;
  readonly because: string;
}
