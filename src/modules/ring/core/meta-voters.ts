import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { ClusterMap } from './map.js';

/** More voters make the map slower, not safer: two may fail at once. */
const VOTERS_MAX = 5;

/** What decides who may vote, beside the map. */
export interface VoterFacts {
  /** Nodes that answer and whose copy of the map is in sync. */
  readonly live: ReadonlySet<NodeUuid>;
  /** Nodes that are away for longer than the grace period. */
  readonly lost: ReadonlySet<NodeUuid>;
  /** Keeps its vote: it is asked to hand over first. */
  readonly primary: NodeUuid | undefined;
}

/** Voters wanted: the largest odd number ≤ min(5, nodes) (replication 9.1). */
export function votersWanted(map: ClusterMap): number {
  const nodes = map.nodes.filter(({ duty }) => duty === 'serving').length;
  const most = Math.min(VOTERS_MAX, nodes);
  return Math.max(1, most % 2 === 1 ? most : most - 1);
}

/**
 * The voters of the map after the next step: one voter more, one less, or the same. A voter stays while it can; a
 * successor comes before the old one goes; and no step leaves a set whose majority is not alive.
 */
export function metaVoters(map: ClusterMap, facts: VoterFacts): readonly NodeUuid[] {
  const voters = map.meta.members;
  const wanted = votersWanted(map);
  const serving = new Set(map.nodes.filter(({ duty }) => duty === 'serving').map(({ nodeUuid }) => nodeUuid));
  const fit = (uuid: NodeUuid): boolean => serving.has(uuid) && !facts.lost.has(uuid);
  const next =
    voters.length > wanted
      ? withoutOne(voters, fit, facts)
      : voters.length < wanted || !voters.every(fit)
        ? withOneMore(map, voters, fit, facts)
        : voters;
  const alive = next.filter((uuid) => facts.live.has(uuid)).length;
  return 2 * alive > next.length ? next : voters;
}

/** The least fit goes first; of equals the one that voted for the shortest time. */
function withoutOne(
  voters: readonly NodeUuid[],
  fit: (uuid: NodeUuid) => boolean,
  { live, primary }: VoterFacts,
): readonly NodeUuid[] {
  const grade = (uuid: NodeUuid): number => (fit(uuid) ? 2 : 0) + (live.has(uuid) ? 1 : 0);
  const [leaving] = [...voters]
    .reverse()
    .sort((a, b) => grade(a) - grade(b) || Number(a === primary) - Number(b === primary));
  if (leaving === primary) return voters;
  return voters.filter((uuid) => uuid !== leaving);
}

/** The node that has been registered for the longest time. */
function withOneMore(
  map: ClusterMap,
  voters: readonly NodeUuid[],
  fit: (uuid: NodeUuid) => boolean,
  { live }: VoterFacts,
): readonly NodeUuid[] {
  const [coming] = map.nodes
    .filter(({ nodeUuid }) => fit(nodeUuid) && live.has(nodeUuid) && !voters.includes(nodeUuid))
    .sort((a, b) => a.since - b.since || compareIds(a.nodeUuid, b.nodeUuid));
  return coming === undefined ? voters : [...voters, coming.nodeUuid];
}
