import { toHex } from '../../../src/kernel/bytes.js';
import { shardKey } from '../../../src/modules/log/core/keys.js';
import { decodeBranches } from '../../../src/modules/replication/core/branch-epochs.js';
import { BRANCHES_ROW } from '../../../src/modules/replication/core/replica-log.js';
import type { SimHost } from '../world/host.js';
import type { Scenario, Stage } from '../world/run.js';
import { copiesOf, mustLead, primaryOf, reigns, SILENT_MS, THREE, writes } from './parts.js';

/** Two sides that wrote, of which a majority is one: `lone` is the first of the other, and reigns there. */
interface Sides {
  readonly lone: SimHost;
  readonly primary: SimHost;
  /** Of the majority, without its primary. */
  readonly others: readonly SimHost[];
}

/** Cuts the last `count` copies off and has both sides write. */
async function part(stage: Stage, count = 1): Promise<Sides> {
  const { world, watch } = stage;
  await writes(stage, world.hosts, 0, 'quorum', 3);
  const primary = mustLead(stage, 0);
  const followers = world.hosts.filter((host) => host !== primary);
  const cut = followers.slice(-count);
  world.partition(cut);
  const parted = await watch.pass(SILENT_MS, () => cut.some((host) => reigns(host)));
  stage.expect(parted, `one of ${cut.map(({ name }) => name).join(', ')} to reign`);
  const lone = cut.find((host) => reigns(host)) ?? cut[0];
  const alone = await writes(stage, [lone], 0, 'one', 5);
  const agreed = await writes(stage, [primary], 0, 'quorum', 20);
  stage.expect(alone > 0 && agreed > 0, `writes on both sides (${alone} and ${agreed})`);
  await watch.pass(1_000);
  return { lone, primary, others: followers.slice(0, -count) };
}

/** The same, and a follower of the majority starts again: it knows nothing of what is agreed when the sides meet `ms` later. */
async function partAndRestart(stage: Stage, ms: number): Promise<Pick<Sides, 'lone'> & { readonly follower: SimHost }> {
  const { lone, others } = await part(stage);
  const [follower] = others;
  stage.world.crash(follower);
  stage.world.start(follower);
  await stage.watch.pass(ms);
  return { lone, follower };
}

/** Every log has the branches of these hosts merged into it, and of no others: what a majority had was cut off nowhere. */
function expectMergedOf({ world, expect }: Stage, hosts: readonly SimHost[]): void {
  const wanted = hosts.map(({ nodeUuid }) => nodeUuid).sort();
  for (const { name, disk } of world.hosts) {
    const { merged } = decodeBranches(disk.value(shardKey(0, BRANCHES_ROW)));
    const found = [...new Set(merged.map(({ epoch }) => toHex(epoch.uuid)))].sort();
    expect(
      found.join() === wanted.join(),
      `${name} to have branches of ${wanted.join()} merged, not of ${found.join()}`,
    );
  }
}

/** How long at most nobody reigned in the next `ms`. */
async function longestWithout(stage: Stage, ms: number): Promise<number> {
  const untilMs = stage.world.nowMs + ms;
  let longest = 0;
  while (stage.world.nowMs < untilMs) {
    const sinceMs = stage.world.nowMs;
    await stage.watch.pass(untilMs - sinceMs, () => primaryOf(stage, 0) !== undefined);
    longest = Math.max(longest, stage.world.nowMs - sinceMs);
    await stage.watch.pass(20);
  }
  return longest;
}

/** What becomes of branches of which a majority had one (docs/adr, what is agreed stays). */
export const BRANCHES: readonly Scenario[] = [
  {
    name: 'lone-follower-after-a-partition',
    ...THREE,
    async play(stage) {
      const { lone } = await part(stage);
      stage.world.connect();
      await stage.watch.pass(6_000);
      expectMergedOf(stage, [lone]);
    },
  },
  {
    name: 'lone-follower-meets-the-last-of-a-majority',
    ...THREE,
    async play(stage) {
      const { world, watch } = stage;
      const { lone, primary } = await part(stage);
      world.crash(primary);
      world.connect();
      await watch.pass(6_000);
      mustLead(stage, 0);
      world.start(primary);
      await watch.pass(4_000);
      expectMergedOf(stage, [lone]);
    },
  },
  {
    name: 'one-of-a-majority-restarts-before-it-meets',
    ...THREE,
    async play(stage) {
      const { world, watch } = stage;
      // It would be the majority of the branch it meets first.
      const { lone } = await partAndRestart(stage, world.random.between(0, 300));
      world.connect();
      await watch.pass(6_000);
      expectMergedOf(stage, [lone]);
    },
  },
  {
    name: 'a-copy-is-cut-for-long',
    ...THREE,
    async play(stage) {
      const { world, watch } = stage;
      const { lone, follower } = await partAndRestart(stage, world.random.between(20, 150));
      Object.assign(follower.disk.faults, { minMs: 700, maxMs: 900 });
      world.connect();
      const withoutMs = await longestWithout(stage, 8_000);
      stage.expect(withoutMs <= 2_000, `a primary within 2 s, whatever its disk takes (${withoutMs} ms)`);
      Object.assign(follower.disk.faults, { minMs: 0.5, maxMs: 3 });
      await watch.pass(4_000);
      expectMergedOf(stage, [lone]);
    },
  },
  {
    name: 'the-base-is-compacted-beyond-every-fork',
    ...copiesOf(5),
    async play(stage) {
      const { world, watch } = stage;
      const {
        primary,
        others: [behind, base],
      } = await part(stage, 2);
      for (const other of [primary, base]) {
        world.block(behind, other);
        world.block(other, behind);
      }
      await writes(stage, [primary], 0, 'one', 12);
      await watch.pass(600);
      for (const host of [primary, base]) world.compact(host, 0);
      await watch.pass(400);
      world.crash(primary);
      world.connect();
      // Each of the others leaves the reign to the one whose log only a snapshot would bring, and that one is let through.
      const withoutMs = await longestWithout(stage, 20_000);
      stage.expect(withoutMs <= 2_500, `a primary within 2.5 s (${withoutMs} ms)`);
      world.start(primary);
      await watch.pass(3_000);
    },
  },
  {
    name: 'streams-break-while-an-index-is-behind',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      const primary = mustLead(stage, 0);
      const follower = world.hosts.find((host) => host !== primary) ?? primary;
      Object.assign(follower.slowness, { minMs: 40, maxMs: 200 });
      primary.disk.faults.maxMs = 300;
      workload.start();
      const paths = [world.network.path(primary.name, follower.name), world.network.path(follower.name, primary.name)];
      for (const path of paths) Object.assign(path.faults, { delayMaxMs: 10, resetRate: 0.03 });
      await watch.pass(5_000);
      for (const path of paths) Object.assign(path.faults, { resetRate: 0 });
      await watch.pass(4_000);
      follower.slowness.minMs = 0.1;
    },
  },
];
