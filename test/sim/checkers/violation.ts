/** The promises of the design (testing, Invariants) that a checker can find broken. */
export type Rule =
  | 'S1'
  | 'S2'
  | 'S3'
  | 'S4'
  | 'S5'
  | 'S6'
  | 'S7'
  | 'S8'
  | 'S9'
  | 'S12'
  | 'S13'
  | 'L1'
  | 'L2'
  | 'L3'
  | 'L4'
  | 'L5'
  | 'L7'
  | 'L8'
  /** Where the planner puts copies (replication 2.8, 9.4). */
  | 'PLACEMENT'
  /** A session that wrote is met in the end, on every copy (replication 7.2). */
  | 'SESSION'
  /** Production's own assertions. */
  | 'INVARIANT';

/** A broken promise, with what is needed to see it. */
export interface Violation {
  readonly rule: Rule;
  readonly detail: string;
}
