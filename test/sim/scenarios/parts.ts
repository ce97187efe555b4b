import { META_SHARD } from '../../../src/kernel/ids.js';
import type { SimHost } from '../world/host.js';
import type { Scenario, Stage } from '../world/run.js';

/** Hosts and shards of a scenario: one shard of so many copies that is available, one that is strict. */
export const copiesOf = (copies: number, hosts = copies): Pick<Scenario, 'hosts' | 'replicas' | 'strictShards'> => ({
  hosts,
  replicas: new Map([
    [0, copies],
    [META_SHARD, 3],
  ]),
  strictShards: new Set([META_SHARD]),
});
export const THREE = copiesOf(3);
export const FIVE = copiesOf(3, 5);

/** A shard's primary is replaced within this after a crash: detection about 1 s, fence at most 3 s, and some slack for slow disks. */
export const CRASH_MS = 5_000;
/** And within this when it is merely silent (replication, table of promises). */
export const SILENT_MS = 10_000;

export function reigns(host: SimHost, shard = 0): boolean {
  return host.running?.process.paused !== true && host.running?.node?.inspect(shard)?.role === 'primary';
}

export function primaryOf({ world }: Stage, shard: number, but?: SimHost): SimHost | undefined {
  return world.up().find((host) => host !== but && reigns(host, shard));
}

export function mustLead(stage: Stage, shard: number): SimHost {
  const primary = primaryOf(stage, shard);
  stage.expect(primary !== undefined, `a primary of shard ${shard}`);
  return primary ?? stage.world.hosts[0];
}

/** Another host than the old primary reigns within `ms`. */
export async function expectSuccessor(stage: Stage, shard: number, old: SimHost, ms: number): Promise<void> {
  const found = await stage.watch.pass(ms, () => primaryOf(stage, shard, old) !== undefined);
  stage.expect(found, `another primary of shard ${shard} than ${old.name} within ${ms} ms`);
}

/** Writes, one after the other, through the given hosts. */
export async function writes(
  { workload, watch }: Stage,
  through: readonly SimHost[],
  shard: number,
  level: 'one' | 'quorum' | 'all',
  count: number,
): Promise<number> {
  let acknowledged = 0;
  let pending = count;
  for (let i = 0; i < count; i++)
    void workload.write(through[i % through.length], shard, level).then((outcome) => {
      pending--;
      if (outcome.kind === 'acknowledged') acknowledged++;
    });
  await watch.pass(8_000, () => pending === 0);
  return acknowledged;
}
