import { META_SHARD } from '../../../kernel/ids.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { ClusterFacts, NodeFacts, ShardFacts, Transfer } from '../core/facts.js';
import { wantedCopies, type ClusterMap, type ShardPlacement } from '../core/map.js';
import { applyMapOperation, type MapOperation } from '../core/map-operations.js';
import { Placer } from '../core/placement.js';
import { planNext } from '../core/planner.js';
import type { PlannedAction } from '../core/plan-shard.js';
import { placementOf } from '../core/shard-set.js';
import { Situation } from '../core/situation.js';
import { after, exampleMap, exampleNode } from './example-map.js';

const STEP_MS = 500;
export const GRACE_MS = 20_000;

interface Copy {
  /** Steps until it has everything. */
  behind: number;
  inSyncSinceMs: number;
}

/**
 * A cluster as the planner sees it, without logs: copies catch up by counting down, a primary that dies is replaced by a
 * member that was in sync, a set is settled some steps after it was decided.
 */
export class PlannedWorld {
  map: ClusterMap;
  nowMs = 1_000_000;
  /** Every action that was performed or refused. */
  readonly actions: PlannedAction[] = [];
  readonly refusals: string[] = [];
  readonly #nodes = new Map<string, NodeFacts>();
  readonly #copies = new Map<number, Map<string, Copy>>();
  readonly #primaries = new Map<number, string>();
  readonly #settled = new Map<number, number>();
  #placer = new Placer(nodeHasher);
  #transfers: Transfer[] = [];
  /** Steps a learner needs to catch up. */
  catchUpSteps = 2;

  constructor(shardCount: number, replicaCount: number) {
    const map = exampleMap(shardCount, 1, replicaCount);
    this.map = { ...map, settings: { ...map.settings, rebalanceGraceMs: GRACE_MS } };
    this.#nodes.set('01', { status: 'ACTIVE', sinceMs: this.nowMs });
    this.#observe();
  }

  join(n: number): void {
    this.joinAs(exampleNode(n).nodeUuid, n);
  }

  /** A node with this uuid under the name of node `n`, which may be taken: a wiped disk. */
  joinAs(nodeUuid: string, n: number): void {
    const node = { ...exampleNode(n), nodeUuid };
    const old = this.map.nodes.find(({ nodeId }) => nodeId === node.nodeId);
    this.map = after(this.map, { kind: 'register', node, ...(old === undefined ? {} : { replaces: old.nodeUuid }) });
    if (old !== undefined && old.nodeUuid !== nodeUuid) this.#nodes.delete(old.nodeUuid);
    this.#nodes.set(nodeUuid, { status: 'ACTIVE', sinceMs: this.nowMs });
  }

  die(uuid: string): void {
    if (this.#nodes.get(uuid)?.status !== 'ACTIVE') return;
    this.#nodes.set(uuid, { status: 'UNAVAILABLE', sinceMs: this.nowMs });
    for (const shard of this.#shards()) this.#failOver(shard, placementOf(this.map, shard)?.members ?? []);
  }

  comeBack(uuid: string): void {
    if (this.#nodes.get(uuid)?.status !== 'UNAVAILABLE') return;
    this.#nodes.set(uuid, { status: 'ACTIVE', sinceMs: this.nowMs });
    for (const copies of this.#copies.values()) {
      const copy = copies.get(uuid);
      if (copy !== undefined) copy.behind = this.catchUpSteps;
    }
  }

  /** How much room its disk has. */
  fill(uuid: string, disk: 'full' | 'little' | undefined): void {
    const { status, sinceMs } = this.#nodes.get(uuid) ?? { status: 'ACTIVE', sinceMs: this.nowMs };
    this.#nodes.set(uuid, { status, sinceMs, ...(disk === undefined ? {} : { disk }) });
  }

  /** The operation if the map accepts it. */
  ask(operation: MapOperation): boolean {
    const result = applyMapOperation(this.map, operation);
    if (result.kind === 'changed') this.map = result.map;
    return result.kind === 'changed';
  }

  up(uuid: string): boolean {
    return this.#nodes.get(uuid)?.status === 'ACTIVE';
  }

  primary(shard: number): string | undefined {
    return this.#primaries.get(shard);
  }

  inSync(shard: number, placement = placementOf(this.map, shard)): readonly string[] {
    return (placement?.members ?? []).filter(
      (uuid) => this.up(uuid) && this.#copies.get(shard)?.get(uuid)?.behind === 0,
    );
  }

  /** Another primary of the map takes over: it has readings of its own, and no cache. */
  forget(): void {
    this.#placer = new Placer(nodeHasher);
    for (const [uuid, node] of this.#nodes) this.#nodes.set(uuid, { ...node, sinceMs: this.nowMs });
  }

  /** One round of the driver, then time. `skip` drops actions, as a lost proposal would. */
  step(skip: (action: PlannedAction) => boolean = () => false): readonly PlannedAction[] {
    const actions = planNext(this.map, this.facts(), this.#placer);
    for (const action of actions) {
      this.actions.push(action);
      if (!skip(action)) this.#perform(action);
    }
    this.pass(STEP_MS);
    return actions;
  }

  /** Time goes by. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.#observe();
  }

  /** The reign goes over if it can; whether it did. */
  handOver({ shard, to }: Transfer): boolean {
    if (!this.inSync(shard).includes(to) || !this.#primaries.has(shard)) return false;
    this.#primaries.set(shard, to);
    return true;
  }

  /** Steps until nothing was planned for a while; whether that came within `steps`. */
  settle(steps: number): boolean {
    const quietMs = 2 * GRACE_MS + 60_000;
    let quietSinceMs = this.nowMs;
    for (let i = 0; i < steps; i++) {
      if (this.step().length > 0) quietSinceMs = this.nowMs;
      else if (this.nowMs - quietSinceMs > quietMs) return true;
    }
    return false;
  }

  situation(): Situation {
    return new Situation(this.map, this.facts(), this.#placer);
  }

  facts(transfers: readonly Transfer[] = this.#transfers): ClusterFacts {
    const shards = new Map<number, ShardFacts>();
    for (const shard of this.#shards()) {
      const copies = new Map(
        [...(this.#copies.get(shard) ?? [])]
          .filter(([uuid]) => this.up(uuid))
          .map(([uuid, { behind, inSyncSinceMs }]) => [
            uuid,
            { inSync: behind === 0 && this.#primaries.has(shard), inSyncSinceMs, faulted: false },
          ]),
      );
      shards.set(shard, { primary: this.#primaries.get(shard), settled: this.#settled.get(shard) ?? 0, copies });
    }
    return { nowMs: this.nowMs, wallMs: this.nowMs, nodes: this.#nodes, shards, transfers };
  }

  #shards(): readonly number[] {
    return [...this.map.placement.keys(), META_SHARD];
  }

  #perform(action: PlannedAction): void {
    if (action.kind === 'transfer') {
      const { shard, from, to } = action;
      this.#transfers.push({ shard, from, to });
      return;
    }
    const { operation } = action;
    const before = this.map;
    const result = applyMapOperation(before, operation);
    if (result.kind === 'refused') {
      this.refusals.push(`${operation.kind}: ${result.detail}`);
      return;
    }
    this.map = result.map;
    this.#check(before);
  }

  /** What no step may do, whatever happened before. */
  #check(before: ClusterMap): void {
    for (const shard of this.#shards()) {
      const [old, now] = [placementOf(before, shard), placementOf(this.map, shard)] as [ShardPlacement, ShardPlacement];
      if (old === now) continue;
      const all = [...now.members, ...now.learners];
      if (new Set(all).size !== all.length) throw new Error(`shard ${shard} has two copies on a node: ${all.join()}`);
      const came = now.members.filter((uuid) => !old.members.includes(uuid));
      const went = old.members.filter((uuid) => !now.members.includes(uuid));
      if (came.length + went.length > 1) throw new Error(`shard ${shard} changed by more than one member`);
      if (came.some((uuid) => !this.inSync(shard, now).includes(uuid)))
        throw new Error(`shard ${shard} counts a copy that has not caught up`);
      if (went.includes(this.#primaries.get(shard) ?? '')) throw new Error(`shard ${shard} lost its primary`);
      const [had, has] = [this.inSync(shard, old).length, this.inSync(shard, now).length];
      const least = shard === META_SHARD ? 1 : wantedCopies(this.map);
      if (has < had && has < least) throw new Error(`shard ${shard} went from ${had} copies in sync to ${has}`);
      if (went.length > 0 && 2 * has <= now.members.length) throw new Error(`shard ${shard} lost its majority`);
    }
  }

  /** The world goes on: copies catch up, primaries fail over, transfers end. */
  #observe(): void {
    for (const shard of this.#shards()) {
      const placement = placementOf(this.map, shard);
      if (placement === undefined) continue;
      const { members, learners, epoch } = placement;
      const copies = this.#copies.get(shard) ?? new Map<string, Copy>();
      this.#copies.set(shard, copies);
      const holders = shard === META_SHARD ? this.map.nodes.map(({ nodeUuid }) => nodeUuid) : [...members, ...learners];
      const first = copies.size === 0;
      for (const uuid of holders)
        if (!copies.has(uuid)) copies.set(uuid, { behind: first ? 0 : this.catchUpSteps, inSyncSinceMs: this.nowMs });
      for (const uuid of [...copies.keys()]) if (!holders.includes(uuid)) copies.delete(uuid);
      this.#failOver(shard, members);
      const primary = this.#primaries.get(shard);
      if (primary === undefined) continue;
      for (const [uuid, copy] of copies) {
        if (!this.up(uuid) || copy.behind === 0) continue;
        copy.behind--;
        if (copy.behind === 0) copy.inSyncSinceMs = this.nowMs;
      }
      // A strict shard needs a majority for it; in available mode a new member may make the majority (replication 9.6).
      if (shard !== META_SHARD || this.inSync(shard).length * 2 > members.length) this.#settled.set(shard, epoch);
    }
    for (const transfer of this.#transfers) this.handOver(transfer);
    this.#transfers = [];
  }

  #failOver(shard: number, members: readonly string[]): void {
    const primary = this.#primaries.get(shard);
    if (primary !== undefined && this.up(primary) && members.includes(primary)) return;
    const heirs = this.inSync(shard);
    const [heir] = heirs.length > 0 ? heirs : members.filter((uuid) => this.up(uuid));
    if (heir === undefined) {
      this.#primaries.delete(shard);
      return;
    }
    this.#primaries.set(shard, heir);
    this.#settled.delete(shard);
    const copy = this.#copies.get(shard)?.get(heir);
    if (copy !== undefined && copy.behind > 0) Object.assign(copy, { behind: 0, inSyncSinceMs: this.nowMs });
  }
}
