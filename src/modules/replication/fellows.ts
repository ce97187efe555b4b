import type { NodeUuid } from '../../kernel/peer.js';
import type { PeerFacts, PeerView } from './core/peer-view.js';
import type { ShardPosition } from './core/protocol.js';

/** What membership knows of another node, and what it last told of its copies. */
export type FellowFacts = Omit<PeerFacts, 'position'> & {
  readonly positions: ReadonlyMap<number, ShardPosition>;
};

/** How long a node that does not answer has been silent; 0 for one that does, or was never heard. */
export function silenceMs({ live, heardMs }: FellowFacts, nowMs: number): number {
  return live || heardMs === -Infinity ? 0 : Math.max(0, nowMs - heardMs);
}

/** The other nodes of the cluster, as replication needs to know them. */
export interface Fellows {
  /** By uuid; the keys ascend. One value until something changes. */
  all(): ReadonlyMap<NodeUuid, FellowFacts>;
  /** Of a node of the map that the view does not know, since it was never heard: whether its port refuses connections. */
  unheard(node: NodeUuid): FellowFacts | undefined;
  /** Tells the others what is held here: with the next heartbeat, or at once. */
  tell(positions: readonly ShardPosition[], atOnce: boolean): void;
  /** A stream with that node broke: it is asked at once whether it is there (replication 5.1). */
  doubt(node: NodeUuid): void;
}

/** A cluster of one. */
export const NO_FELLOWS: Fellows = {
  all: () => new Map(),
  unheard: () => undefined,
  tell: () => undefined,
  doubt: () => undefined,
};

/** The other nodes with what each holds of one shard. */
export class ShardView implements PeerView {
  readonly #fellows: Fellows;
  readonly #shard: number;
  #of: ReadonlyMap<NodeUuid, FellowFacts> | undefined;
  #facts = new Map<NodeUuid, PeerFacts>();
  #nodes: readonly NodeUuid[] = [];

  constructor(fellows: Fellows, shard: number) {
    this.#fellows = fellows;
    this.#shard = shard;
  }

  get(node: NodeUuid): PeerFacts | undefined {
    this.#refresh();
    const facts = this.#facts.get(node);
    if (facts !== undefined) return facts;
    const unheard = this.#fellows.unheard(node);
    return unheard && { ...unheard, position: undefined };
  }

  nodes(): readonly NodeUuid[] {
    this.#refresh();
    return this.#nodes;
  }

  #refresh(): void {
    const all = this.#fellows.all();
    if (all === this.#of) return;
    this.#of = all;
    this.#nodes = [...all.keys()];
    this.#facts = new Map(
      [...all].map(([node, { positions, ...facts }]) => [node, { ...facts, position: positions.get(this.#shard) }]),
    );
  }
}
