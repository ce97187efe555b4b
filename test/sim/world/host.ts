import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { SimDisk } from './disk.js';
import type { MemoryIndex } from './memory-index.js';
import type { ReplicaNode } from './node.js';
import type { Hardware, SimProcess } from './process.js';

/** One start of a node on a host. */
export interface RunningNode {
  readonly process: SimProcess;
  readonly indexes: Map<number, MemoryIndex>;
  /** Undefined while the log is opening. */
  node: ReplicaNode | undefined;
  /** Its log has failed: it must end, and must not acknowledge. */
  failed: boolean;
  /** When it last ran after a pause. */
  resumedMs: number;
}

/** A machine: a disk, clocks, and at most one process. */
export interface SimHost {
  readonly name: string;
  readonly hardware: Hardware;
  readonly disk: SimDisk;
  /** Of the disk that is in it, or will be made on it at the next start. */
  nodeUuid: NodeUuid;
  /** Bytes of the same. */
  identity: Uint8Array;
  running: RunningNode | undefined;
  /** Starts so far. */
  starts: number;
  /** How long its index takes for a batch. */
  readonly slowness: { minMs: number; maxMs: number };
}
