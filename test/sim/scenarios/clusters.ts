import { META_SHARD } from '../../../src/kernel/ids.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import type { OperationTask } from '../../../src/modules/ring/core/operation-record.js';
import { votersWanted } from '../../../src/modules/ring/core/meta-voters.js';
import { wantedCopies, type ClusterMap } from '../../../src/modules/ring/core/map.js';
import { BUDGETS } from '../checkers/convergence.js';
import type { SimHost } from '../world/host.js';
import type { Scenario, Stage } from '../world/run.js';
import { MEMBERSHIP_KINDS } from '../world/traffic.js';

/** How a large cluster is put together, and what befalls it. */
interface Course {
  readonly name: string;
  readonly hosts: number;
  readonly shards: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  /** Hosts cut off together. */
  readonly cutOff: number;
  readonly rounds: number;
  readonly byHand: boolean;
}

/** Copies move two at a time out of the first node, each with a heartbeat or two in between. */
const PLACED_MS = 240_000;
const QUIET_MS = 10_000;
/** L5: from the last join to the first copy that moves. */
const FIRST_MOVE_MS = 5_000;
/** A node that is killed is known to be gone after about a second (5.1), then the views have their time (L1). */
const KNOWN_GONE_MS = 2_000;

/** Nodes with production's whole membership and map, from the first seed's bootstrap on. */
function cluster(course: Course): Scenario {
  const { heartbeatIntervalMs, heartbeatTimeoutMs } = course;
  return {
    name: course.name,
    hosts: course.hosts,
    replicas: new Map(),
    strictShards: new Set([META_SHARD]),
    byHand: course.byHand,
    cluster: {
      shardCount: course.shards,
      replicaCount: 2,
      partitionMode: 'available',
      rebalanceGraceMs: 600_000,
      heartbeatIntervalMs,
      heartbeatTimeoutMs,
    },
    async play(stage) {
      await assemble(stage, course);
      await quietly(stage);
      stage.workload.start();
      for (let round = 0; round < course.rounds; round++) {
        await die(stage, 1);
        await die(stage, 2);
        await cut(stage, course.cutOff);
      }
    },
  };
}

async function assemble(stage: Stage, { hosts, shards }: Course): Promise<void> {
  const { world, watch } = stage;
  const random = world.random.fork('assembly');
  for (const host of world.hosts) world.scheduler.in(random.between(0, 2_000), undefined, () => world.start(host));
  const joined = await watch.pass(30_000, () => world.map.real?.nodes.length === hosts);
  stage.expect(joined, `${hosts} nodes in the map, not ${world.map.real?.nodes.length ?? 0}`);
  const joinedMs = world.nowMs;
  const moving = await watch.pass(FIRST_MOVE_MS, () => placement(world.map.real).some(({ length }) => length > 1));
  stage.expect(moving, `a first copy to move within ${FIRST_MOVE_MS} ms of the last join`, 'L5');
  const placed = await watch.pass(PLACED_MS, () => misplaced(world.map.real) === undefined);
  stage.expect(placed, `every copy in its place, but ${misplaced(world.map.real) ?? ''}`, 'PLACEMENT');
  stage.remark(
    `${hosts} nodes joined in ${seconds(joinedMs)}, ${shards} shards placed after ${seconds(world.nowMs)}, map epoch ${world.map.real?.epoch ?? 0}`,
  );
  await expectServing(stage, []);
}

/** Nodes come, go, restart in turn, and come back: with a load on them, and everything in its place afterwards. */
const COMES_AND_GOES: Scenario = {
  name: 'nodes-come-and-go',
  hosts: 6,
  replicas: new Map(),
  strictShards: new Set([META_SHARD]),
  cluster: {
    shardCount: 6,
    replicaCount: 2,
    partitionMode: 'available',
    rebalanceGraceMs: 600_000,
    heartbeatIntervalMs: 500,
    heartbeatTimeoutMs: 3_000,
  },
  async play(stage) {
    const { world, watch, workload } = stage;
    const late = world.hosts[5];
    for (const host of world.hosts) if (host !== late) world.start(host);
    await settle(stage, 5);
    workload.start();
    // Each in turn, in good order.
    for (const host of world.hosts.slice(0, 5)) {
      world.stop(host);
      await watch.pass(8_000, () => host.running === undefined);
      stage.expect(host.running === undefined, `${host.name} to stop`);
      world.start(host);
      await expectServing(stage, [late]);
    }
    world.start(late);
    await settle(stage, 6);
    // One is drained, stops, and serves again when it is back.
    const drained = world.hosts[1];
    await operate(stage, { kind: 'drain', node: drained.nodeUuid });
    stage.expect(copiesOn(stage, drained) === 0, `no copy on ${drained.name}`, 'PLACEMENT');
    world.stop(drained);
    await watch.pass(8_000, () => drained.running === undefined);
    world.start(drained);
    await settle(stage, 6);
    stage.expect(copiesOn(stage, drained) > 0, `copies on ${drained.name} again`, 'PLACEMENT');
    // One loses its disk, and comes under its name.
    const wiped = world.hosts[2];
    world.wipe(wiped);
    await watch.pass(2_000);
    world.start(wiped);
    await settle(stage, 6);
    // One goes for good.
    const removed = world.hosts[3];
    await operate(stage, { kind: 'remove', node: removed.nodeUuid });
    await settle(stage, 5);
    await watch.pass(5_000, () => removed.running === undefined);
    stage.expect(removed.running === undefined, `${removed.name} to end when it is removed`);
    world.retire(removed);
  },
};

export async function settle(stage: Stage, nodes: number): Promise<void> {
  const { world, watch } = stage;
  const state = (): string | undefined => {
    const serving = world.map.real?.nodes.filter(({ duty }) => duty === 'serving').length ?? 0;
    return serving === nodes ? misplaced(world.map.real) : `${serving} nodes serve`;
  };
  await watch.pass(60_000, () => state() === undefined);
  stage.expect(state() === undefined, `${nodes} nodes with every copy in its place, but ${state() ?? ''}`, 'PLACEMENT');
}

/** Begins an operation, as an operator does, and waits for its end. */
async function operate(stage: Stage, task: OperationTask): Promise<void> {
  const { world, watch } = stage;
  const id = `operation-${world.map.real?.epoch ?? 0}`;
  const primary = world.up().find((host) => leads(host, META_SHARD));
  let failed = '';
  primary?.running?.node
    ?.change?.({ kind: 'startOperation', id, task, startedMs: world.nowMs })
    .catch((error: unknown) => {
      failed = String(error);
    });
  const state = () => world.map.real?.operations.find((operation) => operation.id === id);
  await watch.pass(60_000, () => state()?.state === 'done' || failed !== '');
  stage.expect(
    state()?.state === 'done',
    `${task.kind} to be done, not ${JSON.stringify(state() ?? failed)}`,
    'PLACEMENT',
  );
}

function copiesOn({ world }: Stage, { nodeUuid }: SimHost): number {
  return placement(world.map.real).filter((nodes) => nodes.includes(nodeUuid)).length;
}

/** What membership costs while nothing happens. */
async function quietly(stage: Stage): Promise<void> {
  const { world, watch } = stage;
  await watch.pass(2_000);
  const sent = () => world.hosts.map(({ name }) => world.network.traffic.sent(name, MEMBERSHIP_KINDS));
  const before = sent();
  await watch.pass(QUIET_MS);
  const rates = sent().map(({ messages, bytes }, i) => ({
    messages: ((messages - before[i].messages) * 1_000) / QUIET_MS,
    bytes: ((bytes - before[i].bytes) * 1_000) / QUIET_MS,
  }));
  const mean = (of: 'messages' | 'bytes') => rates.reduce((sum, rate) => sum + rate[of], 0) / rates.length;
  const most = (of: 'messages' | 'bytes') => Math.max(...rates.map((rate) => rate[of]));
  stage.remark(
    `membership sends ${mean('messages').toFixed(1)} messages/s and ${(mean('bytes') / 1_000).toFixed(1)} kB/s a node (at most ${most('messages').toFixed(1)} and ${(most('bytes') / 1_000).toFixed(1)}), questions and answers`,
  );
  // A beat to everybody and its answer to everybody's, and one comparison with its answer, each interval or second; reigns
  // that are handed to their preferred primaries (5.7) are told at once.
  const { heartbeatIntervalMs } = stage.world.options.cluster ?? { heartbeatIntervalMs: 1_000 };
  const others = world.hosts.length - 1;
  const bound = (2 * others * 1_000) / heartbeatIntervalMs + (2 * 1_000) / Math.min(heartbeatIntervalMs, 1_000);
  stage.expect(
    most('messages') <= 2 * bound,
    `at most ${(2 * bound).toFixed(1)} messages/s of membership a node when nothing happens, not ${most('messages').toFixed(1)}`,
  );
}

/** Some nodes are killed at once, and come back. */
async function die(stage: Stage, count: number): Promise<void> {
  const { world, watch } = stage;
  const dead = world.random.shuffled(world.hosts).slice(0, count);
  const led = world.map.shards().filter((shard) => dead.some((host) => leads(host, shard))).length;
  for (const host of dead) world.crash(host);
  const tookMs = await expectServing(stage, dead, KNOWN_GONE_MS);
  stage.remark(`${count} killed, who led ${led} shards: each has a primary again after ${Math.round(tookMs)} ms`);
  await watch.pass(2_000);
  for (const host of dead) world.start(host);
  await expectServing(stage, []);
}

/** A group is cut off from the others for as long as it takes them to elect; then it heals. */
async function cut(stage: Stage, count: number): Promise<void> {
  const { world, watch } = stage;
  const group = world.random.shuffled(world.hosts).slice(0, count);
  world.partition(group);
  const tookMs = await expectPrimaries(stage, group);
  stage.remark(
    `${count} cut off: every shard with a copy on the other side leads there after ${Math.round(tookMs)} ms`,
  );
  await watch.pass(3_000);
  world.connect();
  const healedMs = await expectServing(stage, []);
  stage.remark(`healed: one primary for each shard after ${Math.round(healedMs)} ms`);
}

/** L1 and L2: who is left sees one view, and every shard of which a copy is left has a primary. */
async function expectServing(stage: Stage, gone: readonly SimHost[], knownMs = 0): Promise<number> {
  const { world, watch } = stage;
  const fromMs = world.nowMs;
  const equal = await watch.pass(BUDGETS.L1 + knownMs, async () => (await views(stage, gone)) === 1);
  stage.expect(equal, `one view on all nodes within ${BUDGETS.L1 + knownMs} ms, not ${await views(stage, gone)}`, 'L1');
  const equalMs = world.nowMs - fromMs;
  await expectPrimaries(stage, gone, fromMs);
  const took = world.nowMs - fromMs;
  if (gone.length === 0) stage.remark(`one view after ${Math.round(equalMs)} ms`);
  const wrong = misplaced(world.map.real);
  stage.expect(wrong === undefined, `no copy to move, but ${wrong ?? ''}`, 'PLACEMENT');
  return took;
}

async function expectPrimaries(stage: Stage, gone: readonly SimHost[], fromMs = stage.world.nowMs): Promise<number> {
  const { world, watch } = stage;
  const found = await watch.pass(fromMs + BUDGETS.L2 - world.nowMs, () => leaderless(stage, gone).length === 0);
  stage.expect(
    found,
    `a primary for each shard within ${BUDGETS.L2} ms, not for ${leaderless(stage, gone).join(' ')}`,
    'L2',
  );
  return world.nowMs - fromMs;
}

/** Shards that have a copy on a node that is left, and not exactly one primary there. */
function leaderless({ world }: Stage, gone: readonly SimHost[]): readonly number[] {
  const left = world.up().filter((host) => !gone.includes(host));
  return world.map.shards().filter((shard) => {
    const { members } = world.map.placed(shard).set;
    const holders = left.filter(({ nodeUuid }) => members.includes(nodeUuid));
    // The map is strict: without a majority of its voters it waits (9.1).
    if (holders.length === 0 || (shard === META_SHARD && 2 * holders.length <= members.length)) return false;
    return left.filter((host) => leads(host, shard)).length !== 1;
  });
}

export function leads(host: SimHost, shard: number): boolean {
  return host.running?.node?.inspect(shard)?.role === 'primary';
}

async function views({ world }: Stage, gone: readonly SimHost[]): Promise<number> {
  const left = world.up().filter((host) => !gone.includes(host));
  const texts = await Promise.resolve(left.map((host) => host.running?.node?.view()));
  return new Set(texts.map((view) => JSON.stringify(view?.filter(({ status }) => status !== 'LEFT')))).size;
}

function placement(map: ClusterMap | undefined): readonly (readonly NodeUuid[])[] {
  return map?.placement.map(({ members, learners }) => [...members, ...learners]) ?? [];
}

/** What is wrong with where the copies are, or undefined (replication 9.1, 9.4, 9.6). */
function misplaced(map: ClusterMap | undefined): string | undefined {
  if (map === undefined) return 'there is no map';
  const wanted = wantedCopies(map);
  const copies = new Map<NodeUuid, number>();
  for (const [shard, { members, learners }] of map.placement.entries()) {
    if (learners.length > 0) return `shard ${shard} has a learner`;
    if (members.length !== wanted) return `shard ${shard} has ${members.length} copies of ${wanted}`;
    if (new Set(members).size !== members.length) return `shard ${shard} has two copies on one node`;
    for (const node of members) copies.set(node, (copies.get(node) ?? 0) + 1);
  }
  const most = Math.ceil((wanted * map.shardCount) / map.nodes.filter(({ duty }) => duty === 'serving').length);
  const full = [...copies].find(([, count]) => count > most);
  if (full !== undefined) return `${full[0].slice(0, 6)} has ${full[1]} copies of at most ${most}`;
  if (map.meta.members.length !== votersWanted(map)) return `the map has ${map.meta.members.length} voters`;
  const running = map.operations.find(({ state }) => state === 'running');
  return running === undefined ? undefined : `the operation ${running.id} runs`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

const SIXTEEN = { hosts: 16, shards: 32, cutOff: 5 } as const;
const QUICK = { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 3_000 } as const;
/** What a node is configured with when nobody says otherwise. */
const DEFAULTS = { heartbeatIntervalMs: 2_000, heartbeatTimeoutMs: 10_000 } as const;

export const CLUSTERS: readonly Scenario[] = [
  COMES_AND_GOES,
  cluster({ name: 'three-nodes', hosts: 3, shards: 4, cutOff: 1, ...QUICK, rounds: 1, byHand: false }),
  cluster({ name: 'six-nodes', hosts: 6, shards: 8, cutOff: 2, ...QUICK, rounds: 1, byHand: true }),
  cluster({ name: 'sixteen-nodes', ...SIXTEEN, ...QUICK, rounds: 1, byHand: false }),
  cluster({ name: 'sixteen-nodes-default-timers', ...SIXTEEN, ...DEFAULTS, rounds: 2, byHand: true }),
  cluster({ name: 'thirty-two-nodes', hosts: 32, shards: 64, cutOff: 10, ...DEFAULTS, rounds: 1, byHand: true }),
];
