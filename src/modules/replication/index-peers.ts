import type { NodeUuid } from '../../kernel/peer.js';
import type { CheckpointPart } from '../shard/shard-ports.js';

export interface CheckpointRequest {
  readonly shard: number;
  /** Of the checkpoint; 0: the newest. */
  readonly offset: number;
  /** A name of its manifest; empty: the manifest. */
  readonly file: string;
  readonly from: number;
}

/** The way to the index checkpoints of other nodes. */
export interface IndexPeers {
  /** @throws PeerError REJECTED when that node has no such checkpoint, or not any more */
  checkpoint(to: NodeUuid, request: CheckpointRequest, timeoutMs: number): Promise<CheckpointPart>;
}

/** What a node answers of its own. */
export interface IndexServer {
  /** @throws PeerError REJECTED */
  onCheckpoint(from: NodeUuid, request: CheckpointRequest): Promise<CheckpointPart>;
}
