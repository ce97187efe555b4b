import type { Clock } from '../../kernel/clock.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { Timers } from '../../kernel/timers.js';
import type { CheckpointPart } from '../shard/shard-ports.js';
import type { ShardService } from '../shard/shard.service.js';
import type { CheckpointRequest, IndexServer } from './index-peers.js';
import type { ReplicationService } from './replication.service.js';

/** Gives other nodes parts of the checkpoints of this one, at the pace of moves (9.6). */
export class IndexDesk implements IndexServer {
  constructor(
    private readonly replication: Pick<ReplicationService, 'replica' | 'fault' | 'moves'>,
    private readonly shards: Pick<ShardService, 'checkpointPart'>,
    private readonly clock: Clock,
    private readonly timers: Timers,
  ) {}

  async onCheckpoint(_from: NodeUuid, { shard, offset, file, from }: CheckpointRequest): Promise<CheckpointPart> {
    const copy = this.replication.replica(shard);
    if (copy === undefined || this.replication.fault(shard) !== undefined)
      throw new PeerError('REJECTED', `shard ${shard} has no sound copy here`);
    // What is loose here is in the index, and not in the log of whoever asks (6.4).
    if (copy.loose > 0) throw new PeerError('REJECTED', `branches of shard ${shard} are being merged`);
    const part = await this.shards.checkpointPart(shard, offset, file, from);
    if (part === undefined) throw new PeerError('REJECTED', `shard ${shard} has no such checkpoint here`);
    const waitMs = this.replication.moves.spend(part.bytes.length, this.clock.monotonicMs());
    if (waitMs > 0) await new Promise<void>((resolve) => void this.timers.after(waitMs, resolve));
    return part;
  }
}
