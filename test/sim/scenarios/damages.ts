import { META_SHARD } from '../../../src/kernel/ids.js';
import { RECORD_NAMES } from '../../../src/modules/log/core/log-records.js';
import { COUNTERS_ROW } from '../../../src/modules/replication/core/replica-log.js';
import type { SimHost } from '../world/host.js';
import type { Scenario, Stage } from '../world/run.js';
import { leads, settle } from './clusters.js';

/** A copy is healed within this: it is tried at once, and after 2 s and 4 s. */
const HEALED_MS = 12_000;
const SHARD = 0;

const COPIES: Pick<Scenario, 'hosts' | 'replicas' | 'strictShards' | 'cluster'> = {
  hosts: 3,
  replicas: new Map(),
  strictShards: new Set([META_SHARD]),
  cluster: {
    shardCount: 2,
    replicaCount: 2,
    partitionMode: 'available',
    rebalanceGraceMs: 600_000,
    heartbeatIntervalMs: 500,
    heartbeatTimeoutMs: 3_000,
  },
};

/** One more copy was healed than before. */
async function expectHealed({ world, watch, expect }: Stage, before: number, what: string): Promise<void> {
  const healed = (): number => world.counters.get('copy healed') ?? 0;
  await watch.pass(HEALED_MS, () => healed() > before);
  expect(healed() > before, `${what} to be healed`);
}

function copyOf({ world }: Stage, shard: number, primary: boolean): SimHost {
  const found = world.up().find((host) => {
    const role = host.running?.node?.inspect(shard)?.role;
    return primary ? leads(host, shard) : role === 'replica';
  });
  return found ?? world.hosts[0];
}

/** What is stored beside entries, and the log of the map: healed from the other copies, whichever copy it is (replication 2.12). */
export const DAMAGES: readonly Scenario[] = [
  {
    name: 'damaged-rows-and-map',
    ...COPIES,
    async play(stage) {
      const { world, watch, workload, expect } = stage;
      for (const host of world.hosts) world.start(host);
      await settle(stage, 3);
      workload.start();
      await watch.pass(4_000);
      const healed = (): number => world.counters.get('copy healed') ?? 0;
      for (const primary of [false, true]) {
        const host = copyOf(stage, SHARD, primary);
        const before = healed();
        expect((await host.disk.flipRows(SHARD)) > 0, `${host.name} to have rows`);
        // Damage is found when it is read.
        for (const id of ['a', 'b', 'c', 'd', 'e']) void workload.write(copyOf(stage, SHARD, true), SHARD, 'one', id);
        await expectHealed(stage, before, `the rows of ${primary ? 'a primary' : 'a replica'}`);
        await watch.pass(2_000);
      }
      for (const damage of ['a record', 'an entry of the map']) {
        const host = copyOf(stage, damage === 'a record' ? SHARD : META_SHARD, false);
        const before = healed();
        world.crash(host);
        await watch.pass(1_000);
        const done =
          damage === 'a record'
            ? host.disk.flipRecord(SHARD, COUNTERS_ROW)
            : host.disk.flipEntry(META_SHARD, (host.disk.logState(META_SHARD)?.tail ?? 0) - 1, 50);
        expect(done, `${damage} of ${host.name} to be there`);
        world.start(host);
        await expectHealed(stage, before, `${damage} of ${host.name}`);
        await watch.pass(3_000);
      }
    },
  },
  {
    name: 'damaged-records-of-a-branch',
    ...COPIES,
    async play(stage) {
      const { world, watch, workload, expect } = stage;
      for (const host of world.hosts) world.start(host);
      await settle(stage, 3);
      for (const record of [COUNTERS_ROW, RECORD_NAMES.tail]) {
        const alone = copyOf(stage, SHARD, true);
        // What only this copy has is not in the snapshot that heals it.
        const answers: string[] = [];
        world.partition([alone]);
        for (const id of ['a', 'b', 'c'])
          void workload.write(alone, SHARD, 'one', id).then(({ kind }) => answers.push(kind));
        await watch.pass(500);
        expect(answers.includes('acknowledged'), `a write on the side of one, not ${answers.join(' ')}`);
        world.crash(alone);
        const before = world.counters.get('copy healed') ?? 0;
        expect(alone.disk.flipRecord(SHARD, record), `a record "${record}" of ${alone.name}`);
        world.connect();
        world.start(alone);
        await expectHealed(stage, before, `the record "${record}" of ${alone.name}`);
        await settle(stage, 3);
        await watch.pass(3_000);
      }
    },
  },
];
