import type { NodeUuid } from '../../kernel/peer.js';
import type { DiskRoom, DiskSpace } from '../../platform/resources/disk-guard.js';
import type { NodeRecord } from '../membership/core/node-record.js';
import type { MembershipService } from '../membership/membership.service.js';
import { decodePositions, encodePositions } from './core/position-codec.js';
import type { ShardPosition } from './core/protocol.js';
import type { FellowFacts, Fellows } from './fellows.js';

/** What replication takes from membership. */
export type MembershipSource = Pick<
  MembershipService,
  'view' | 'self' | 'factsOf' | 'loadOf' | 'positionsOf' | 'onView' | 'onPeer' | 'setPositions' | 'pushNow' | 'doubt'
>;

/** Clocks further apart than this make a node a candidate only when no other can be one (replication 1.3). */
const SKEW_MS = 500;
const NOTHING: ReadonlyMap<number, ShardPosition> = new Map();

interface Told {
  readonly bytes: Uint8Array;
  readonly positions: ReadonlyMap<number, ShardPosition>;
}

/** The other nodes as membership knows them. What it answers stays one value until a node told something or changed. */
export class MembershipFellows implements Fellows {
  readonly #membership: MembershipSource;
  readonly #monotonicMs: () => number;
  readonly #room: (space: DiskSpace) => DiskRoom;
  readonly #told = new Map<NodeUuid, Told>();
  #all: ReadonlyMap<NodeUuid, FellowFacts> | undefined;

  /** @param room what space on a disk means for upserts; by default there is enough everywhere */
  constructor(
    membership: MembershipSource,
    monotonicMs: () => number,
    room: (space: DiskSpace) => DiskRoom = () => 'ample',
  ) {
    this.#membership = membership;
    this.#monotonicMs = monotonicMs;
    this.#room = room;
    membership.onView(() => this.#forget());
    membership.onPeer(() => this.#forget());
  }

  all(): ReadonlyMap<NodeUuid, FellowFacts> {
    this.#all ??= new Map(
      this.#membership
        .view()
        .filter(({ nodeUuid }) => nodeUuid !== this.#membership.self.nodeUuid)
        .map((record): [NodeUuid, FellowFacts] => [record.nodeUuid, this.#factsOf(record)])
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    return this.#all;
  }

  unheard(node: NodeUuid): FellowFacts | undefined {
    const facts = this.#membership.factsOf(node);
    if (facts === undefined || node === this.#membership.self.nodeUuid) return undefined;
    const { refused } = facts;
    return { live: false, gone: false, refused, heardMs: -Infinity, reluctant: false, full: false, positions: NOTHING };
  }

  tell(positions: readonly ShardPosition[], atOnce: boolean): void {
    this.#membership.setPositions(encodePositions(positions));
    if (atOnce) this.#membership.pushNow();
  }

  doubt(node: NodeUuid): void {
    this.#membership.doubt(node);
  }

  #forget(): void {
    this.#all = undefined;
  }

  #factsOf({ nodeUuid, status }: NodeRecord): FellowFacts {
    const facts = this.#membership.factsOf(nodeUuid);
    const full = this.#isFull(nodeUuid);
    const gone = status === 'UNAVAILABLE' || status === 'LEFT';
    return {
      live: !gone && status !== 'SUSPECT' && facts?.reachable === true,
      gone,
      refused: facts?.refused === true,
      heardMs: facts === undefined ? -Infinity : this.#monotonicMs() - facts.silenceMs,
      reluctant: facts?.flapping === true || Math.abs(facts?.skewMs ?? 0) > SKEW_MS || full,
      full,
      positions: this.#positionsOf(nodeUuid),
    };
  }

  /** It would refuse upserts (replication 5.8). */
  #isFull(nodeUuid: NodeUuid): boolean {
    const load = this.#membership.loadOf(nodeUuid);
    if (load === undefined) return false;
    return this.#room({ freeBytes: load.diskFreeBytes, totalBytes: load.diskTotalBytes }) === 'full';
  }

  /** Decoded once for each time a node told them; bytes that are none say nothing. */
  #positionsOf(nodeUuid: NodeUuid): ReadonlyMap<number, ShardPosition> {
    const bytes = this.#membership.positionsOf(nodeUuid)?.bytes;
    if (bytes === undefined) return NOTHING;
    const told = this.#told.get(nodeUuid);
    if (told?.bytes === bytes) return told.positions;
    const positions = decodePositions(bytes) ?? NOTHING;
    this.#told.set(nodeUuid, { bytes, positions });
    return positions;
  }
}
