import type { NodeError } from '../../kernel/errors.js';

/**
 * Whether the node can take another write: disk and memory (api.md, INSUFFICIENT_STORAGE). Deletes pass as long as there is
 * room for anything at all: they are the way out.
 */
export interface WriteAdmission {
  /** Why not, or undefined. `bytes` is what the entry will take on disk. */
  refusal(bytes: number, kind: 'upsert' | 'delete'): NodeError | undefined;
}
