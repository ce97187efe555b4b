import { NO_EPOCH, sameEpoch, type Epoch } from '../../../src/kernel/epoch.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import { shardKey } from '../../../src/modules/log/core/keys.js';
import { decodeBranches } from '../../../src/modules/replication/core/branch-epochs.js';
import { BRANCHES_ROW } from '../../../src/modules/replication/core/replica-log.js';
import { encodeDocument } from '../../../src/modules/shard/core/document-codec.js';
import type { SimHost } from '../world/host.js';
import type { Scenario, Stage } from '../world/run.js';
import { BRANCHES } from './branches.js';
import { CLUSTERS } from './clusters.js';
import { DAMAGES } from './damages.js';
import { CRASH_MS, FIVE, THREE, SILENT_MS, expectSuccessor, mustLead, primaryOf, writes } from './parts.js';

/** The epoch a shard is led in. */
function reignOf(stage: Stage, shard: number): Epoch {
  return mustLead(stage, shard).running?.node?.inspect(shard)?.epoch ?? NO_EPOCH;
}

/** No other reign took the place of that one. */
function expectReign(stage: Stage, shard: number, reign: Epoch): void {
  const now = reignOf(stage, shard);
  stage.expect(
    sameEpoch(now, reign),
    `the reign in epoch ${reign.num} of shard ${shard} to go on, not one in ${now.num}`,
  );
}

/** The log says of a branch that it is merged. */
function expectMerged({ world, expect }: Stage): void {
  for (const { name, disk } of world.hosts) {
    const { merged } = decodeBranches(disk.value(shardKey(0, BRANCHES_ROW)));
    expect(merged.length > 0, `${name} to know of a merged branch`);
  }
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'primary-crash-under-load',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      for (let round = 0; round < 3; round++) {
        await watch.pass(1_500);
        for (const shard of world.map.shards()) {
          const primary = mustLead(stage, shard);
          world.crash(primary);
          await expectSuccessor(stage, shard, primary, CRASH_MS);
          world.start(primary);
          await watch.pass(2_000);
        }
      }
    },
  },
  {
    name: 'silent-primary',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      await watch.pass(1_000);
      const primary = mustLead(stage, 0);
      world.partition([primary]);
      await expectSuccessor(stage, 0, primary, SILENT_MS);
      await watch.pass(2_000);
    },
  },
  {
    name: 'one-way-link',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      await watch.pass(1_000);
      const primary = mustLead(stage, 0);
      const deaf = world.hosts.find((host) => host !== primary) ?? primary;
      world.block(primary, deaf);
      await watch.pass(9_000);
      world.connect();
      await watch.pass(2_000);
      world.block(deaf, mustLead(stage, 0));
      await watch.pass(9_000);
    },
  },
  {
    name: 'partition-with-writes-on-both-sides',
    ...FIVE,
    async play(stage) {
      const { world, watch } = stage;
      const primary = mustLead(stage, 0);
      const members = world.hosts.filter(({ nodeUuid }) => world.map.placed(0).set.members.includes(nodeUuid));
      const other = members.filter((host) => host !== primary);
      const side = [primary, ...world.hosts.filter((host) => !members.includes(host)).slice(0, 1)];
      world.partition(side);
      await expectSuccessor(stage, 0, primary, SILENT_MS);
      const here = await writes(stage, [primary], 0, 'one', 10);
      const there = await writes(stage, other, 0, 'one', 10);
      stage.expect(here > 0 && there > 0, `writes at one on both sides (${here} and ${there})`);
      await watch.pass(1_000);
      const primaryThere = primaryOf(stage, 0, primary) ?? primary;
      const reign = primaryThere.running?.node?.inspect(0)?.epoch ?? NO_EPOCH;
      world.connect();
      await watch.pass(4_000);
      expectReign(stage, 0, reign);
    },
  },
  {
    name: 'crash-during-adoption',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      for (let round = 0; round < 4; round++) {
        await watch.pass(1_500);
        const primary = mustLead(stage, 0);
        world.crash(primary);
        const isCandidate = (host: SimHost) => host.running?.node?.inspect(0)?.role === 'candidate';
        const untilMs = world.nowMs + CRASH_MS;
        // Looked for at every single task: the moment is short.
        await world.scheduler.run(untilMs, () => world.hosts.some(isCandidate));
        const candidate = world.hosts.find(isCandidate);
        if (candidate !== undefined) {
          world.count('candidate killed');
          world.crash(candidate);
        }
        world.start(primary);
        await watch.pass(1_000);
        for (const host of world.hosts) world.start(host);
        await watch.pass(6_000);
      }
    },
  },
  {
    name: 'wiped-disk',
    ...FIVE,
    async play(stage) {
      const { world, watch, workload, changes } = stage;
      workload.start();
      await watch.pass(2_000);
      const victim = world.hosts.find(({ nodeUuid }) => world.map.placed(0).set.members.includes(nodeUuid));
      if (victim === undefined) return;
      const old = victim.nodeUuid;
      world.wipe(victim);
      changes.replace(old, victim);
      await watch.pass(1_000);
      world.start(victim);
      await watch.pass(10_000);
    },
  },
  {
    name: 'set-change-during-partition',
    ...FIVE,
    async play(stage) {
      const { world, watch, workload, changes } = stage;
      workload.start();
      await watch.pass(1_000);
      const primary = mustLead(stage, 0);
      const { members } = world.map.placed(0).set;
      const cut = world.hosts.find((host) => host !== primary && members.includes(host.nodeUuid)) ?? primary;
      const free = world.hosts.find(({ nodeUuid }) => !members.includes(nodeUuid));
      world.partition([cut]);
      await watch.pass(500);
      changes.want({ shard: 0, add: free?.nodeUuid, remove: cut.nodeUuid });
      await watch.pass(12_000);
      world.connect();
      await watch.pass(1_000);
    },
  },
  {
    name: 'meta-majority-lost',
    ...FIVE,
    async play(stage) {
      const { world, watch, workload, changes } = stage;
      workload.start();
      await watch.pass(1_000);
      changes.frozen = true;
      changes.wantAny();
      const primary = mustLead(stage, 0);
      world.crash(primary);
      // Failover needs no map.
      await expectSuccessor(stage, 0, primary, CRASH_MS);
      await watch.pass(2_000);
      changes.frozen = false;
      world.start(primary);
      await watch.pass(4_000);
    },
  },
  {
    name: 'slow-follower',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      const primary = mustLead(stage, 0);
      const slow = world.hosts.find((host) => host !== primary) ?? primary;
      slow.disk.faults.maxMs = 800;
      slow.slowness.maxMs = 800;
      workload.start();
      await watch.pass(10_000);
      const acknowledged = await writes(stage, world.hosts, 0, 'quorum', 10);
      stage.expect(acknowledged > 0, 'writes at quorum beside a slow follower');
    },
  },
  {
    name: 'zombie-primary',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      await watch.pass(1_500);
      for (const shard of world.map.shards()) {
        const primary = mustLead(stage, shard);
        world.pause(primary);
        await expectSuccessor(stage, shard, primary, SILENT_MS);
        await watch.pass(2_000);
        const reign = reignOf(stage, shard);
        world.resume(primary);
        await watch.pass(4_000);
        // 6.2: the reign above its own lives and is the base; it gives way and follows.
        expectReign(stage, shard, reign);
      }
    },
  },
  {
    name: 'zombie-that-cannot-reach-its-successor',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      await watch.pass(1_500);
      const primary = mustLead(stage, 0);
      world.pause(primary);
      await expectSuccessor(stage, 0, primary, SILENT_MS);
      await watch.pass(2_000);
      const reign = reignOf(stage, 0);
      const successor = mustLead(stage, 0);
      world.block(primary, successor);
      world.block(successor, primary);
      world.resume(primary);
      await watch.pass(9_000);
      // The third copy follows the successor: its reign lives.
      expectReign(stage, 0, reign);
      world.connect();
      await watch.pass(1_000);
    },
  },
  {
    name: 'follower-comes-after-the-promotion',
    ...THREE,
    async play(stage) {
      const { world, watch } = stage;
      const primary = mustLead(stage, 0);
      const [late, next] = world.hosts.filter((host) => host !== primary);
      world.pause(late);
      world.crash(primary);
      await expectSuccessor(stage, 0, primary, CRASH_MS);
      const acknowledged = writes(stage, [next], 0, 'quorum', 5);
      await watch.pass(100);
      world.resume(late);
      stage.expect((await acknowledged) === 5, 'writes at quorum to wait for the follower that comes back');
      world.start(primary);
      await watch.pass(1_000);
    },
  },
  {
    name: 'flapping',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      const flapping = mustLead(stage, 0);
      for (let round = 0; round < 12; round++) {
        world.partition([flapping]);
        await watch.pass(400 + 250 * (round % 5));
        world.connect();
        await watch.pass(300 + 200 * (round % 3));
      }
    },
  },
  {
    name: 'everything-restarts',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      for (let round = 0; round < 3; round++) {
        await watch.pass(2_000);
        for (const host of world.hosts) world.crash(host);
        for (const host of world.random.shuffled(world.hosts)) {
          await watch.pass(world.random.between(50, 1_500));
          world.start(host);
        }
        await watch.pass(6_000);
      }
    },
  },
  {
    name: 'failed-sync-of-the-primary',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      await watch.pass(1_500);
      const primary = mustLead(stage, 0);
      primary.disk.faults.failNext = true;
      const exited = await watch.pass(3_000, () => primary.running === undefined);
      stage.expect(exited, `${primary.name} to end when its sync fails`);
      await expectSuccessor(stage, 0, primary, CRASH_MS);
      world.start(primary);
      await watch.pass(3_000);
    },
  },
  {
    name: 'rewritten-log',
    ...THREE,
    async play(stage) {
      const { world, watch } = stage;
      const primary = mustLead(stage, 0);
      const other = world.hosts.find((host) => host !== primary) ?? primary;
      await writes(stage, [primary], 0, 'all', 5);
      await watch.pass(1_000);
      world.crash(other);
      const payload = encodeDocument({ vector: new Float32Array(2), content: 'of another life' });
      stage.expect(await other.disk.rewriteLast(0, payload), `${other.name} to have a document at the end of its log`);
      world.start(other);
      await watch.pass(3_000);
      await writes(stage, [primary], 0, 'quorum', 5);
    },
  },
  {
    name: 'behind-a-compacted-log',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      workload.start();
      for (let round = 0; round < 2; round++) {
        await watch.pass(1_500);
        const primary = mustLead(stage, 0);
        const late = world.hosts.find((host) => host !== primary) ?? primary;
        world.partition([late]);
        // On its side it takes over; what is written there is loose when it comes back to a log without those offsets.
        await watch.pass(6_000);
        await writes(stage, [late], 0, 'one', 5);
        for (const host of world.hosts) if (host !== late) world.compact(host, 0);
        await watch.pass(1_000);
        world.connect();
        await watch.pass(4_000);
      }
    },
  },
  {
    name: 'one-key-on-both-sides',
    ...FIVE,
    async play(stage) {
      const { world, watch, workload } = stage;
      const primary = mustLead(stage, 0);
      world.partition([primary]);
      await expectSuccessor(stage, 0, primary, SILENT_MS);
      const other = primaryOf(stage, 0, primary) ?? primary;
      const answers: string[] = [];
      // The higher version is made on the side that loses: what is known of the key there must not hide it.
      void workload.write(other, 0, 'one', 'a').then(({ kind }) => answers.push(kind));
      await watch.pass(1_500);
      void workload.repeatLast(primary, 'one').then(({ kind }) => answers.push(kind));
      await watch.pass(1_000);
      stage.expect(
        answers.join(' ') === 'acknowledged acknowledged',
        `both sides to execute it (${answers.join(' ')})`,
      );
      world.connect();
    },
  },
  {
    name: 'two-reigns-from-one-log',
    ...THREE,
    async play(stage) {
      const { world, watch, workload } = stage;
      const primary = mustLead(stage, 0);
      for (const id of ['a', 'b']) void workload.write(primary, 0, 'all', id);
      await watch.pass(2_000);
      world.crash(primary);
      const [left, right] = world.hosts.filter((host) => host !== primary);
      world.partition([left]);
      const reigns = (host: SimHost): boolean => host.running?.node?.inspect(0)?.role === 'primary';
      const both = await watch.pass(SILENT_MS, () => reigns(left) && reigns(right));
      stage.expect(both, 'a primary on each of the two sides');
      // Each side supersedes what both had: nothing is lost, whichever of them is the branch (replication 6.4).
      const answers: string[] = [];
      void workload.write(left, 0, 'one', 'a').then(({ kind }) => answers.push(kind));
      void workload.write(right, 0, 'one', 'b').then(({ kind }) => answers.push(kind));
      await watch.pass(1_000);
      stage.expect(answers.join(' ') === 'acknowledged acknowledged', `a write on each side (${answers.join(' ')})`);
      world.connect();
      world.start(primary);
      await watch.pass(6_000);
      for (const { name, disk } of world.hosts) {
        const conflicts = await disk.conflicts(0);
        stage.expect(conflicts.length === 0, `no conflict on ${name}: ${JSON.stringify(conflicts)}`);
      }
      expectMerged(stage);
    },
  },
  {
    name: 'adopts-its-own-removal',
    ...FIVE,
    async play(stage) {
      const { world, watch, changes } = stage;
      const primary = mustLead(stage, META_SHARD);
      const { members } = world.map.placed(META_SHARD).set;
      const leaving = world.hosts.find((host) => host !== primary && members.includes(host.nodeUuid)) ?? primary;
      const coming = world.hosts.find(({ nodeUuid }) => !members.includes(nodeUuid));
      world.partition([leaving]);
      changes.want({ shard: META_SHARD, add: coming?.nodeUuid, remove: leaving.nodeUuid });
      const out = await watch.pass(15_000, () => {
        const { mapEpoch, members: now } = world.map.placed(META_SHARD).set;
        const seen = primary.running?.node?.inspect(META_SHARD);
        return !now.includes(leaving.nodeUuid) && seen?.set.mapEpoch === mapEpoch && seen.highWaterMark > 0;
      });
      stage.expect(out, `${leaving.name} to be taken out of the set of the map`);
      await watch.pass(500);
      // Of those that know it only the one that cannot reign by itself can be reached.
      world.crash(primary);
      world.connect();
      world.partition([primary, leaving]);
      world.start(primary);
      await watch.pass(12_000);
    },
  },
  ...BRANCHES,
  ...CLUSTERS,
  ...DAMAGES,
];
