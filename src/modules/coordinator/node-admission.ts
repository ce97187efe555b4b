import { NodeError } from '../../kernel/errors.js';
import type { DiskGuard } from '../../platform/resources/disk-guard.js';
import type { MemoryGuard } from '../../platform/resources/memory-guard.js';
import type { WriteAdmission } from './write-admission.js';

/** What an entry takes on disk beside its payload: header, id, row and keys. */
const ENTRY_OVERHEAD_BYTES = 512;
const RETRY_AFTER_MS = 5_000;

/** Refuses upserts while the disk is down to its reserve or the process is too large, and deletes while it is down to a quarter. */
export class NodeAdmission implements WriteAdmission {
  constructor(
    private readonly disk: DiskGuard,
    private readonly memory: MemoryGuard,
  ) {}

  refusal(bytes: number, kind: 'upsert' | 'delete'): NodeError | undefined {
    if (kind === 'upsert' && !this.memory.admits()) {
      return new NodeError(
        'INSUFFICIENT_STORAGE',
        `the node uses more than MAX_MEMORY (${this.memory.maxBytes} bytes); delete documents, or give it more memory`,
        {
          retryAfterMs: RETRY_AFTER_MS,
        },
      );
    }
    if (!this.disk.admits(bytes + ENTRY_OVERHEAD_BYTES, kind)) {
      return new NodeError(
        'INSUFFICIENT_STORAGE',
        `the disk of the node is down to its reserve of ${this.disk.reserveBytes} bytes; free space, or give it a larger disk`,
        {
          retryAfterMs: RETRY_AFTER_MS,
        },
      );
    }
    return undefined;
  }
}
