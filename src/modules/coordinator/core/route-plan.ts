import type { NodeUuid } from '../../../kernel/peer.js';
import type { ShardFailureReason } from './requests.js';
import type { CopyRoute, ShardRoute } from './route.js';
import { isDamaged } from './topology.js';

/** What a request wants of a shard. */
export interface ShardWish {
  readonly route: ShardRoute;
  /** Only its primary will do. */
  readonly primary: boolean;
  /** Copies that were asked already, or are being asked. */
  readonly tried: readonly NodeUuid[];
  /** Copies that said of themselves that they are not in sync. */
  readonly behind: readonly NodeUuid[];
  /** Only copies in sync: a second chance beside an answer that is still to come. */
  readonly inSyncOnly: boolean;
}

/** A shard and the copy that was chosen for it. */
export interface Choice {
  readonly shard: number;
  readonly epoch: number;
  readonly copy: CopyRoute;
  /** The copy is not in sync: its answer is stale (replication 7.3). */
  readonly stale: boolean;
}

export interface RoutePlan {
  /** One request a node (replication 7.2), by uuid ascending; each with its shards ascending. */
  readonly requests: readonly { readonly node: NodeUuid; readonly choices: readonly Choice[] }[];
  /** Shards no copy can answer for, with the node that should. */
  readonly failed: readonly { readonly shard: number; readonly node?: string; readonly reason: ShardFailureReason }[];
}

/**
 * What a hop to another node weighs: both spend as much again on it as on the search, and what is under way differs by
 * chance. This node answers itself unless it has more than twice as many requests under way, and so many more.
 */
export const HOP_LOAD = 32;
const HOP_FACTOR = 2;

/**
 * Chooses a copy for each shard (replication 7.2, 7.3): in-sync copies of ACTIVE nodes, the less loaded of two; then
 * in-sync ones of SUSPECT nodes; then the freshest copy that is not in sync, as stale; never one of an UNAVAILABLE node,
 * a learner or a damaged one.
 * @param load requests under way at a node
 * @param random numbers in 0…1, for which nodes are looked at; the same for all shards, so that few nodes are asked
 */
export function planRoutes(
  wishes: readonly ShardWish[],
  load: (copy: CopyRoute) => number,
  random: () => number,
): RoutePlan {
  const byNode = new Map<NodeUuid, Choice[]>();
  const failed: RoutePlan['failed'][number][] = [];
  const ranks = new Map<NodeUuid, number>();
  const rankOf = (copy: CopyRoute): number => {
    if (copy.self) return -1;
    let rank = ranks.get(copy.node);
    if (rank === undefined) {
      rank = random();
      ranks.set(copy.node, rank);
    }
    return rank;
  };
  for (const wish of wishes) {
    const { shard, epoch } = wish.route;
    const found = wish.primary ? primaryOf(wish) : anyOf(wish, load, rankOf);
    if (found === undefined) {
      failed.push(wish.inSyncOnly ? { shard, reason: 'UNREACHABLE' } : unreachable(wish));
      continue;
    }
    const choice: Choice = { shard, epoch, copy: found.copy, stale: found.stale };
    const choices = byNode.get(found.copy.node);
    if (choices === undefined) byNode.set(found.copy.node, [choice]);
    else insert(choices, choice);
  }
  const requests: { readonly node: NodeUuid; readonly choices: Choice[] }[] = [];
  for (const [node, choices] of byNode) requests.push({ node, choices });
  if (requests.length > 1) requests.sort((a, b) => (a.node < b.node ? -1 : 1));
  return { requests, failed };
}

/** Most come in order. */
function insert(choices: Choice[], choice: Choice): void {
  let at = choices.length;
  while (at > 0 && choices[at - 1].shard > choice.shard) at--;
  if (at === choices.length) choices.push(choice);
  else choices.splice(at, 0, choice);
}

interface Found {
  readonly copy: CopyRoute;
  readonly stale: boolean;
}

function primaryOf({ route, tried }: ShardWish): Found | undefined {
  const copy = route.copies.find(({ node }) => node === route.primary);
  if (copy === undefined || copy.status === 'UNAVAILABLE' || copy.faulted || tried.includes(copy.node))
    return undefined;
  return { copy, stale: false };
}

function anyOf(
  wish: ShardWish,
  load: (copy: CopyRoute) => number,
  rankOf: (copy: CopyRoute) => number,
): Found | undefined {
  const { copies } = wish.route;
  const [only] = copies;
  if (copies.length === 1 && only.status === 'ACTIVE' && isFresh(only, wish) && mayAnswer(only, wish))
    return { copy: only, stale: false };
  const inSync: CopyRoute[] = [];
  const suspect: CopyRoute[] = [];
  let freshest: CopyRoute | undefined;
  for (const copy of copies) {
    if (!mayAnswer(copy, wish)) continue;
    const fresh = isFresh(copy, wish);
    if (fresh && copy.status === 'ACTIVE') inSync.push(copy);
    else if (fresh) suspect.push(copy);
    else if (freshest === undefined || fresher(copy, freshest)) freshest = copy;
  }
  const tier = inSync.length > 0 ? inSync : suspect;
  if (tier.length > 0) return { copy: lessLoaded(tier, load, rankOf), stale: false };
  return freshest === undefined || wish.inSyncOnly ? undefined : { copy: freshest, stale: true };
}

function mayAnswer({ status, faulted, role, node }: CopyRoute, { tried }: ShardWish): boolean {
  return status !== 'UNAVAILABLE' && !faulted && role !== 'learner' && !tried.includes(node);
}

function isFresh({ inSync, node }: CopyRoute, { behind }: ShardWish): boolean {
  return inSync && !behind.includes(node);
}

/** The less loaded of two, this node among them when it holds a copy; of equals the one looked at first. */
function lessLoaded(
  copies: readonly CopyRoute[],
  load: (copy: CopyRoute) => number,
  rankOf: (copy: CopyRoute) => number,
): CopyRoute {
  let first = copies[0];
  if (copies.length === 1) return first;
  let second: CopyRoute | undefined;
  for (let i = 1; i < copies.length; i++) {
    const copy = copies[i];
    if (before(copy, first, rankOf)) {
      second = first;
      first = copy;
    } else if (second === undefined || before(copy, second, rankOf)) second = copy;
  }
  if (second === undefined) return first;
  return cost(second, load) < cost(first, load) ? second : first;
}

function before(a: CopyRoute, b: CopyRoute, rankOf: (copy: CopyRoute) => number): boolean {
  return (rankOf(a) - rankOf(b) || (a.node < b.node ? -1 : 1)) < 0;
}

function cost(copy: CopyRoute, load: (copy: CopyRoute) => number): number {
  return copy.self ? load(copy) : HOP_FACTOR * load(copy) + HOP_LOAD;
}

/** A node that is believed to be there goes before a suspect one, then the one with more of the log. */
function fresher(a: CopyRoute, b: CopyRoute): boolean {
  if (a.status !== b.status) return a.status === 'ACTIVE';
  return (b.offset - a.offset || a.lagMs - b.lagMs || (a.node < b.node ? -1 : 1)) < 0;
}

/** Why no copy can be asked: damaged when all that are left are, else out of reach; with the node one would have asked. */
function unreachable({ route }: ShardWish): RoutePlan['failed'][number] {
  const copies = route.copies.filter(({ role, faulted }) => role !== 'learner' || faulted);
  const node = (copies.find((copy) => copy.node === route.primary) ?? copies.at(0))?.nodeId;
  return {
    shard: route.shard,
    ...(node === undefined ? {} : { node }),
    reason: isDamaged(route) ? 'FAULTED' : 'UNREACHABLE',
  };
}
