import type { NodeError } from '../../kernel/errors.js';

/** Whether the node can take another upsert: disk and memory (api.md, INSUFFICIENT_STORAGE). Deletes always pass. */
export interface WriteAdmission {
  /** Why not, or undefined. `bytes` is what the entry will take on disk. */
  refusal(bytes: number): NodeError | undefined;
}
