import { META_SHARD } from '../../../src/kernel/ids.js';
import { breakRules } from '../bugs/bugs.js';
import { checkSurvival } from '../checkers/acknowledged.js';
import { BUDGETS, checkIndexed, checkUnion, missing } from '../checkers/convergence.js';
import type { Goal } from '../checkers/convergence.js';
import { checkInvented } from '../checkers/invented.js';
import { checkStrictOrder } from '../checkers/reigns.js';
import { checkSessions } from '../checkers/sessions.js';
import type { Rule, Violation } from '../checkers/violation.js';
import { Chaos } from './chaos.js';
import type { Fault } from './chaos.js';
import { MapChanges } from './map-changes.js';
import { ClusterNode } from './cluster-node.js';
import type { ClusterShape, NodeFactory } from './node.js';
import { SeededRandom } from './seeded-random.js';
import { Watch } from './watch.js';
import { Workload } from './workload.js';
import { World } from './world.js';

/** What a run is made from. */
export interface RunOptions {
  readonly seed: number;
  readonly factory: NodeFactory;
  readonly bugs?: ReadonlySet<string>;
  readonly faults?: readonly Fault[];
  readonly print?: ((line: string) => void) | undefined;
  /** A named course of events instead of the random one. */
  readonly scenario?: Scenario;
}

/** A named course of events. */
export interface Scenario {
  readonly name: string;
  readonly hosts: number;
  readonly replicas: ReadonlyMap<number, number>;
  readonly strictShards: ReadonlySet<number>;
  /** Of these nodes, which make their map themselves, instead of the subject. */
  readonly cluster?: ClusterShape;
  /** Too long for every run of the tests: played when it is asked for by its name. */
  readonly byHand?: boolean;
  /** Plays between the start of the cluster and its convergence; the stage runs time. */
  readonly play: (stage: Stage) => Promise<void>;
}

/** What a scenario works with. */
export interface Stage {
  readonly world: World;
  readonly watch: Watch;
  readonly workload: Workload;
  readonly changes: MapChanges;
  /** The scenario expected something else. */
  readonly expect: (condition: boolean, detail: string, rule?: Rule) => void;
  /** Something measured, for who reads the report. */
  readonly remark: (text: string) => void;
}

export interface RunReport {
  readonly seed: number;
  readonly digest: string;
  readonly lines: readonly string[];
  readonly violations: readonly Violation[];
  readonly counters: ReadonlyMap<string, number>;
  readonly remarks: readonly string[];
  readonly tasks: number;
  readonly virtualMs: number;
}

/** How long the cluster may take to come up before anything is done to it. */
const START_MS = 12_000;

/** Plays one seed: a cluster comes up, things go wrong, everything heals and must converge. */
export async function runSeed(options: RunOptions): Promise<RunReport> {
  const repair = breakRules(options.bugs ?? new Set());
  try {
    return await play(options);
  } finally {
    repair();
  }
}

async function play(options: RunOptions): Promise<RunReport> {
  const random = new SeededRandom(options.seed, 'shape');
  const { scenario } = options;
  const hosts = scenario?.hosts ?? 3 + random.below(3);
  const cluster = scenario?.cluster;
  const remarks: string[] = [];
  const world = new World({
    seed: options.seed,
    hosts,
    replicas:
      scenario?.replicas ??
      new Map([
        [0, 1 + random.below(3)],
        [META_SHARD, Math.min(3, hosts)],
      ]),
    strictShards: scenario?.strictShards ?? new Set([META_SHARD]),
    factory: cluster === undefined ? options.factory : (ports) => new ClusterNode(ports, cluster),
    cluster,
    bugs: options.bugs ?? new Set(),
    print: options.print,
  });
  const changes = new MapChanges(world);
  const stage: Stage = {
    world,
    watch: new Watch(world),
    workload: new Workload(world),
    changes,
    expect: (condition, detail, rule = 'INVARIANT') => {
      if (!condition) world.report([{ rule, detail: `the scenario expects ${detail}` }]);
    },
    remark: (text) => {
      remarks.push(text);
      world.note('#', text);
    },
  };
  const chaos = new Chaos(world, changes, options.faults);
  if (cluster === undefined) {
    for (const host of world.hosts) world.start(host);
    changes.start();
  }
  if (scenario === undefined) {
    await stage.watch.pass(random.between(0, 4_000));
    stage.workload.start();
    chaos.start();
    await stage.watch.pass(random.between(3_000, 12_000));
  } else {
    // A cluster with a map of its own is put together by the scenario.
    if (cluster === undefined) await stage.watch.pass(START_MS, () => converged(stage, new Map()));
    await scenario.play(stage);
  }
  chaos.heal();
  await converge(stage);
  return {
    seed: options.seed,
    digest: world.trace.digest(),
    lines: world.trace.lines,
    violations: world.violations,
    counters: world.counters,
    remarks,
    tasks: world.scheduler.tasks,
    virtualMs: world.nowMs,
  };
}

async function converge(stage: Stage): Promise<void> {
  const { world, watch, workload, changes } = stage;
  workload.stop();
  if (world.violations.length > 0) return;
  const healedMs = world.nowMs;
  const union = await survivingUnion(world);
  const first = new Map<string, number>();
  const done = await watch.pass(BUDGETS.L4, async () => {
    const left = await whatIsMissing(world, union);
    for (const rule of ['L1', 'L2'] as const) {
      if (left.some((violation) => violation.rule === rule)) {
        first.delete(rule);
        const overdue = left.filter((violation) => violation.rule === rule);
        if (world.nowMs - healedMs > BUDGETS[rule]) world.report(overdue.slice(0, 1));
      } else first.set(rule, world.nowMs - healedMs);
    }
    return left.length === 0 && changes.pending === 0 && world.stopping.size === 0;
  });
  if (!done) {
    for (const line of await world.describe()) world.note('?', line);
    if (world.violations.length === 0) world.report((await whatIsMissing(world, union)).slice(0, 5));
    if (world.violations.length === 0)
      world.report([{ rule: 'L7', detail: `${changes.pending} changes of a set are not finished` }]);
    return;
  }
  world.count(`converged in ${Math.ceil((world.nowMs - healedMs) / 5_000) * 5} s`);
  await useful(stage);
  await judge(stage, union);
}

/** Answers that a client would not try again: the write is not wanted, not impossible. */
const JUDGED = new Set(['VERSION_CONFLICT', 'OPERATION_CONFLICT']);

/** A converged cluster takes writes at every level, and applies them everywhere in time. */
async function useful({ world, watch, workload }: Stage): Promise<void> {
  const untilMs = world.nowMs + BUDGETS.L3;
  let waiting = 0;
  const write = async (shard: number, level: 'one' | 'quorum' | 'all'): Promise<void> => {
    waiting++;
    for (;;) {
      const outcome = await workload.write(world.random.pick(world.hosts), shard, level);
      if (outcome.kind === 'acknowledged' || (outcome.kind === 'refused' && JUDGED.has(outcome.code))) break;
      if (outcome.kind === 'unknown' || world.nowMs > untilMs) {
        const detail = `a healed cluster answers a write to shard ${shard} at ${level} with ${JSON.stringify(outcome)}`;
        world.report([{ rule: 'L2', detail }]);
        for (const line of await world.describe()) world.note('?', line);
        break;
      }
      // Refused for now: a stream is being made anew, say.
      await world.scheduler.sleep(100);
    }
    waiting--;
  };
  for (const shard of world.map.shards())
    for (const level of ['one', 'quorum', 'all'] as const) void write(shard, level);
  await watch.pass(BUDGETS.L3 + 6_000, () => waiting === 0);
  if (waiting > 0) world.report([{ rule: 'L8', detail: `${waiting} writes to a healed cluster are not answered` }]);
  await watch.pass(BUDGETS.L3, async () => (await whatIsMissing(world, new Map())).length === 0);
}

async function judge({ world }: Stage, union: ReadonlyMap<string, string>): Promise<void> {
  const goal = goalOf(world, union);
  const observation = await world.observe(true);
  const members = observation.copies.filter(({ shard, nodeUuid }) => goal.sets.get(shard)?.includes(nodeUuid) === true);
  world.report(missing(observation, goal).slice(0, 5));
  world.report(checkIndexed(members));
  world.report(checkUnion(members, union));
  world.report(checkSurvival(world.acknowledgements, members, world.destroyed));
  world.report(checkSessions(world.acknowledgements, members, world.destroyed).slice(0, 5));
  world.report(checkInvented(observation.copies, world.operations));
  world.report(checkStrictOrder(world.acknowledgements));
}

async function converged(stage: Stage, union: ReadonlyMap<string, string>): Promise<boolean> {
  return (await whatIsMissing(stage.world, union)).length === 0;
}

async function whatIsMissing(world: World, union: ReadonlyMap<string, string>): Promise<readonly Violation[]> {
  const goal = goalOf(world, union);
  const cheap = missing(await world.observe(false), goal);
  return cheap.length > 0 ? cheap : missing(await world.observe(true), goal);
}

function goalOf(world: World, union: ReadonlyMap<string, string>): Goal {
  return {
    sets: new Map(world.map.shards().map((shard) => [shard, world.map.placed(shard).set.members])),
    union,
  };
}

/** The highest version of each document on any disk that is left; in a strict shard an unacknowledged suffix may go. */
async function survivingUnion(world: World): Promise<ReadonlyMap<string, string>> {
  const union = new Map<string, string>();
  for (const { shard, documents, inspection } of (await world.observe(true)).copies) {
    if (world.map.isStrict(shard) || inspection?.faulted === true) continue;
    for (const { document, version } of documents) {
      const key = `${shard}|${document}`;
      const held = union.get(key);
      if (held === undefined || version > held) union.set(key, version);
    }
  }
  return union;
}
