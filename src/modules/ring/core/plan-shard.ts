import type { NodeUuid } from '../../../kernel/peer.js';
import type { Transfer } from './facts.js';
import type { MapOperation } from './map-operations.js';
import { primaryMoves } from './operation-changes.js';
import type { Situation } from './situation.js';

/** Something to do now. Done twice, or by two primaries of the map, it does no harm: the map and the shards refuse. */
export type PlannedAction =
  { readonly kind: 'change'; readonly operation: MapOperation } | ({ readonly kind: 'transfer' } & Transfer);

/** What is next for a shard; or what keeps it from its target, when only others can change that. */
export interface ShardPlan {
  readonly action?: PlannedAction;
  readonly waits?: string;
}

/** A learner whose node is away for so long is given up: it counts nowhere, and another node may take its place. */
export const LEARNER_PATIENCE_MS = 30_000;
/** A preferred primary that was in sync for so long takes over (replication 5.7). */
export const PREFERRED_AFTER_MS = 30_000;

const NOTHING: ShardPlan = {};

/**
 * The next step of one shard towards its target (replication 9.6): a learner, its promotion, a member less, another
 * preferred primary, a hand-over. One change of the set at a time, and none on top of a set that is not settled.
 */
export function planShard(situation: Situation, shard: number): ShardPlan {
  const { members, learners } = situation.map.placement[shard];
  if (learners.length > 0) return planLearner(situation, shard, learners[0]);
  const target = situation.target[shard];
  const missing = target.filter((node) => !members.includes(node) && situation.active(node));
  const extra = members.filter((node) => !target.includes(node));
  const primary = situation.settledPrimary(shard);
  if (primary === undefined) {
    const waits = situation.shard(shard).primary === undefined ? `shard ${shard} has no primary` : undefined;
    return missing.length + extra.length > 0 && waits !== undefined ? { waits } : NOTHING;
  }
  const heir = situation.disk(primary) === 'full' ? heirWithRoom(situation, shard, primary) : undefined;
  if (heir !== undefined) return transfer(situation, { shard, from: primary, to: heir }, false);
  if (members.length > situation.wanted && extra.length > 0) return planRemoval(situation, shard, extra, primary);
  if (missing.length > 0) {
    const node = missing.find((candidate) => situation.roomForCopy(candidate, primary));
    if (node === undefined) return NOTHING;
    situation.copying(node, primary);
    return change({ kind: 'addLearner', shard, node });
  }
  if (extra.length > 0) return { waits: `no other node can take shard ${shard}` };
  return planPreferred(situation, shard, target[0], primary);
}

/** Copies to build until every shard is where it shall be. */
export function copiesPending(situation: Situation): number {
  return situation.map.placement.reduce(
    (sum, { members }, shard) => sum + situation.target[shard].filter((node) => !members.includes(node)).length,
    0,
  );
}

/** Members that would still be in sync without one of them. */
export function inSyncWithout(situation: Situation, shard: number, node: NodeUuid): number {
  return situation.map.placement[shard].members.filter((other) => other !== node && situation.inSync(shard, other))
    .length;
}

function planLearner(situation: Situation, shard: number, node: NodeUuid): ShardPlan {
  const useless =
    !situation.target[shard].includes(node) ||
    !situation.serving(node) ||
    situation.awayForMs(node) >= LEARNER_PATIENCE_MS;
  if (useless) return change({ kind: 'removeLearner', shard, node });
  if (situation.settledPrimary(shard) === undefined || !situation.inSync(shard, node)) return NOTHING;
  return change({ kind: 'promoteLearner', shard, node, after: situation.map.placement[shard].epoch });
}

/** One member too many: the one goes whose going costs least, and only while enough others have everything. */
function planRemoval(situation: Situation, shard: number, extra: readonly NodeUuid[], primary: NodeUuid): ShardPlan {
  const { members, epoch } = situation.map.placement[shard];
  const grade = (node: NodeUuid): number => (node === primary ? 2 : situation.inSync(shard, node) ? 1 : 0);
  const order = [...extra].sort((a, b) => grade(a) - grade(b) || members.indexOf(b) - members.indexOf(a));
  const node = order.find((candidate) => mayLeave(situation, shard, candidate));
  if (node === undefined) return { waits: `shard ${shard} has too few other copies in sync` };
  if (node !== primary) return change({ kind: 'removeMember', shard, node, after: epoch });
  const to = situation.target[shard].find((heir) => members.includes(heir) && situation.inSync(shard, heir));
  if (to === undefined) return { waits: `shard ${shard} has no other copy in sync that stays` };
  return transfer(situation, { shard, from: primary, to }, false);
}

/**
 * A copy that has everything goes only when as many as wanted remain that have, and none goes that the majority of the rest
 * hangs on: no step leaves fewer copies in sync than the set was made for, or a set that can agree on nothing.
 */
function mayLeave(situation: Situation, shard: number, node: NodeUuid): boolean {
  const others = situation.map.placement[shard].members.length - 1;
  const inSync = inSyncWithout(situation, shard, node);
  return 2 * inSync > others && (!situation.inSync(shard, node) || inSync >= situation.wanted);
}

/** A primary whose disk is nearly full refuses upserts: a copy with everything and with room takes over (replication 5.8). */
function heirWithRoom(situation: Situation, shard: number, primary: NodeUuid): NodeUuid | undefined {
  return situation.map.placement[shard].members.find(
    (node) =>
      node !== primary && situation.serving(node) && situation.inSync(shard, node) && situation.disk(node) === 'ample',
  );
}

function planPreferred(situation: Situation, shard: number, wanted: NodeUuid, primary: NodeUuid): ShardPlan {
  // What an operator asks for goes before, and makes its node the preferred one when it is done.
  if (primaryMoves(situation.map, shard)) return NOTHING;
  const [preferred] = situation.map.placement[shard].members;
  if (wanted !== undefined && wanted !== preferred) return change({ kind: 'preferPrimary', shard, node: wanted });
  const copy = situation.shard(shard).copies.get(preferred);
  if (preferred === primary || copy === undefined || !situation.inSync(shard, preferred)) return NOTHING;
  if (!situation.serving(preferred) || situation.disk(preferred) !== 'ample') return NOTHING;
  if (situation.facts.nowMs - copy.inSyncSinceMs < PREFERRED_AFTER_MS) return NOTHING;
  return transfer(situation, { shard, from: primary, to: preferred }, true);
}

/** A hand-over, if there is room for it. */
export function transfer(situation: Situation, asked: Transfer, alone: boolean): ShardPlan {
  if (!situation.roomForTransfer(asked, alone)) return NOTHING;
  situation.transferring(asked);
  return { action: { kind: 'transfer', ...asked } };
}

function change(operation: MapOperation): ShardPlan {
  return { action: { kind: 'change', operation } };
}
