import type { Link, LinkEvents } from '../../../kernel/link.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Timers } from '../../../kernel/timers.js';
import { systemClock } from '../../../platform/clock/system-clock.js';
import { systemRandom } from '../../../platform/clock/system-random.js';
import { systemTimers } from '../../../platform/clock/system-timers.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { entryCollectionId, entryId } from '../../log/core/entry-codec.js';
import { documentKey } from '../../log/core/keys.js';
import type { CompactReport, LogStore } from '../../log/log-store.js';
import { encodeDocument } from '../../shard/core/document-codec.js';
import { decodeRow } from '../../shard/core/rows.js';
import { BulkPlaces } from '../bulk-places.js';
import { MovePace } from '../core/move-pace.js';
import type { PeerView } from '../core/peer-view.js';
import type { FollowerMessage, PrimaryMessage } from '../core/protocol.js';
import { NO_REPLICA_PEERS } from '../replica-peers-none.js';
import type { ReplicaPeers } from '../replica-peers.js';
import type { ReplicaIndex } from '../replica-ports.js';
import { ShardReplica } from '../shard-replica.js';
import { TurnShare } from '../turn-share.js';

const SHARD = 0;
export const PRIMARY = 'a1'.repeat(16);
export const FOLLOWER = 'b2'.repeat(16);
const ALONE: PeerView = { get: () => undefined, nodes: () => [] };
const NEVER = new AbortController().signal;

/** Two copies of shard 0 with a stream between them; the set is the primary alone. Each may be another one later. */
export class CopyPair {
  primary: ShardReplica | undefined;
  follower: ShardReplica | undefined;
  /** Snapshot entries sent, and rows that a resumed transfer did not send again. */
  sent = 0;
  resumed: number[] = [];
  members: readonly NodeUuid[] = [PRIMARY];
  mapEpoch = 1;
  /** Of the follower. */
  index: ReplicaIndex | undefined;
  /** No stream begins. */
  parted = false;
  /** Ends the stream. */
  part: () => void = () => undefined;
  /** How long was waited between two messages; the waits themselves are cut short. */
  waits: number[] = [];
  readonly timers: Timers = {
    ...systemTimers,
    after: (ms, run) => {
      this.waits.push(ms);
      return systemTimers.after(0, run);
    },
  };
  /** Are told of each message before it arrives; the primary's waits for what is done then, and is what is made of it. */
  onSent: (message: PrimaryMessage) => PrimaryMessage | Promise<PrimaryMessage> = (message) => message;
  onAsked: (message: FollowerMessage) => void = () => undefined;
  /** Is told of a copy that fails. */
  onFault: (error: Error) => void = (error) => {
    this.#fault ??= error;
  };
  #fault: Error | undefined;

  constructor(public primaryLog: LogStore) {}

  async open(self: NodeUuid, log: LogStore): Promise<ShardReplica> {
    return ShardReplica.open(SHARD, self, 1, log.state(SHARD).tail, {
      log,
      hasher: nodeHasher,
      clock: systemClock,
      timers: this.timers,
      random: systemRandom,
      times: { heartbeatMs: 500, failoverAfterMs: 1_800 },
      index: self === FOLLOWER ? this.index : undefined,
      peers: self === PRIMARY ? NO_REPLICA_PEERS : this.#toPrimary(),
      view: () => ALONE,
      plan: () => ({
        configured: { mapEpoch: this.mapEpoch, members: this.members },
        leaving: false,
        epochFloor: 0,
        isDropped: () => false,
        room: 'upserts' as const,
      }),
      bulk: new BulkPlaces(),
      moves: new MovePace(4 * 2 ** 20),
      turns: new TurnShare(systemClock, this.timers),
      report: {
        map: () => undefined,
        sweep: () => undefined,
        fault: (error) => this.onFault(error),
        durable: () => undefined,
        role: () => undefined,
        held: () => undefined,
        received: () => undefined,
        streamed: (_to, entries) => {
          this.sent += entries;
        },
        resumed: (rows) => void this.resumed.push(rows),
        broken: () => undefined,
      },
    });
  }

  /** Time passes until something is so; a copy that fails meanwhile fails this. */
  async until(done: () => boolean): Promise<void> {
    for (const endMs = systemClock.monotonicMs() + 20_000; !done();) {
      if (this.#fault !== undefined) throw this.#fault;
      if (systemClock.monotonicMs() > endMs) throw new Error('it takes too long');
      this.primary?.tick();
      const leader = this.primary?.leader;
      if (leader !== undefined) this.follower?.announced(leader);
      this.follower?.tick();
      await turn();
    }
  }

  /** The follower has all that the primary has. */
  get isCaughtUp(): boolean {
    return this.follower?.position.durable === this.primary?.position.tail;
  }

  /** A client writes a document through the primary. */
  async put(i: number, text: string): Promise<void> {
    const payload = encodeDocument({ content: text.repeat(50_000) });
    const outcome = await this.primary?.write({ op: 'UPSERT', collectionId: 1, id: `doc-${i}`, payload, level: 'one' });
    if (outcome?.kind !== 'written') throw new Error(`it was not written: ${JSON.stringify(outcome)}`);
  }

  /** What was overwritten up to an offset, or the tail, is gone: a follower that begins needs a snapshot. */
  async compact(upTo?: number): Promise<void> {
    if (this.primary === undefined) return;
    await compactCopy(this.primary, this.primaryLog, upTo === undefined ? {} : { upTo });
  }

  #toPrimary(): ReplicaPeers {
    return { ...NO_REPLICA_PEERS, follow: (_to, _shard, events) => this.#stream(events) };
  }

  #stream(events: LinkEvents<PrimaryMessage>): Link<FollowerMessage> {
    let open = !this.parted;
    if (!open) setImmediate(() => events.ended(undefined));
    let sent = Promise.resolve();
    const close = (): void => {
      open = false;
    };
    const arrive = async (message: PrimaryMessage): Promise<void> => {
      await turn();
      const arriving = open ? await this.onSent(message) : message;
      if (open) events.message(arriving);
    };
    const served = this.parted
      ? undefined
      : this.primary?.onFollow(FOLLOWER, {
          send: (message) => {
            sent = sent.then(() => arrive(message));
            return true;
          },
          drained: () => Promise.resolve(),
          close,
        });
    this.part = () => {
      this.parted = true;
      close();
      served?.ended(undefined);
      events.ended(undefined);
    };
    return {
      send: (message) => {
        setImmediate(() => {
          if (!open) return;
          this.onAsked(message);
          served?.message(message);
        });
        return true;
      },
      drained: () => Promise.resolve(),
      close: () => {
        close();
        served?.ended(undefined);
      },
    };
  }
}

/** Deletes what is superseded in a copy's log, as the upkeep of a node does. */
export async function compactCopy(
  copy: ShardReplica,
  log: LogStore,
  { upTo = log.state(SHARD).tail, signal = NEVER, bytesPerSecond = 0 } = {},
): Promise<CompactReport> {
  const isLive = (offset: number, entry: Uint8Array): boolean => {
    const row = log.row(documentKey(copy.generation, SHARD, entryCollectionId(entry), entryId(entry)));
    if (row === undefined) return false;
    const pointed = decodeRow(row);
    return pointed.offset === offset && !pointed.loose;
  };
  const report = await log.compact(SHARD, upTo, isLive, signal, bytesPerSecond, () => copy.compacting(upTo));
  copy.compacted(report.bytes);
  return report;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
