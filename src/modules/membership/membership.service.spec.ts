import { describe, expect, it } from '@jest/globals';
import { VirtualCluster, type VirtualNode } from './testing/virtual-cluster.js';

/** What the published promise leaves for one view after a change (replication, promises). */
const CONVERGED_MS = 2_500;
const SETTLE_MS = 60_000;

async function until(cluster: VirtualCluster, condition: () => boolean, maxMs = SETTLE_MS): Promise<number> {
  return cluster.time.pass(maxMs, condition);
}

function others(nodes: readonly VirtualNode[], without: VirtualNode): readonly VirtualNode[] {
  return nodes.filter((node) => node !== without);
}

describe('a cluster in virtual time', () => {
  it.each([1, 2, 3, 16])('of %i nodes comes to one view, and stays quiet', async (count) => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(count);
    expect(nodes.map((node) => node.up().length)).toEqual(nodes.map(() => count));
    expect(cluster.agree(nodes)).toBe(true);
    expect(cluster.maps.size).toBe(1);

    cluster.network.sent.clear();
    for (const node of nodes) node.events.length = 0;
    await cluster.time.pass(60_000);
    expect(nodes.flatMap((node) => node.events)).toEqual([]);
    const perSecond = nodes.map((node) =>
      [...(cluster.network.sent.get(node.address)?.values() ?? [])].reduce((sum, calls) => sum + calls / 60, 0),
    );
    // Of each: every other once an interval, and one comparison a second.
    const expected = (count - 1) / 2 + (count > 1 ? 1 : 0);
    for (const rate of perSecond) expect(Math.abs(rate - expected)).toBeLessThanOrEqual(0.1 * expected);
  });

  it('serves through the first seed before the others exist', async () => {
    const cluster = new VirtualCluster();
    const node = cluster.node('n1');
    node.start(['n1', 'n2', 'n3']);
    await cluster.time.pass(100);
    expect(node.service.self.status).toBe('ACTIVE');
    const late = cluster.node('n2');
    late.start(['n1', 'n2', 'n3']);
    expect(await until(cluster, () => node.statusOf(late) === 'ACTIVE')).toBeLessThan(CONVERGED_MS);
  });

  it('waits for the first seed, whichever starts first', async () => {
    const cluster = new VirtualCluster();
    const [first, second] = [cluster.node('n1'), cluster.node('n2')];
    second.start(['n1', 'n2']);
    await cluster.time.pass(10_000);
    expect(second.service.clusterId).toBe('');
    first.start(['n1', 'n2']);
    expect(await until(cluster, () => first.statusOf(second) === 'ACTIVE')).toBeLessThan(3_000);
    expect(second.service.clusterId).toBe(first.service.clusterId);
  });

  it('knows a newcomer within the promise, on every node', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(15);
    const late = cluster.node('n16');
    late.start(['n1', 'n2']);
    await until(cluster, () => late.service.self.status === 'ACTIVE');
    const all = [...nodes, late];
    const took = await until(
      cluster,
      () => cluster.agree(all) && all.every((node) => node.statusOf(late) === 'ACTIVE'),
    );
    expect(took).toBeLessThanOrEqual(CONVERGED_MS);
  });

  it('knows who left in good order within the promise, and does not call it a failure', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(16);
    const [leaver] = nodes;
    const rest = others(nodes, leaver);
    for (const node of rest) node.events.length = 0;
    await leaver.stop();
    expect(await until(cluster, () => rest.every((node) => node.statusOf(leaver) === 'LEFT'))).toBeLessThan(100);
    await cluster.time.pass(20_000);
    for (const node of rest) expect(node.events).toEqual(['n1 LEAVING', 'n1 LEFT', 'n1 refused']);
    leaver.start();
    expect(await until(cluster, () => nodes.every((node) => node.statusOf(leaver) === 'ACTIVE'))).toBeLessThan(
      CONVERGED_MS,
    );
  });
});

describe('a node that fails', () => {
  it.each([2, 3, 16])('among %i by a crash is suspected as soon as two probes are refused', async (count) => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(count);
    const victim = nodes[1];
    const rest = others(nodes, victim);
    victim.kill();
    // The broken replication stream says so.
    for (const node of rest) node.service.doubt(victim.uuid);
    expect(await until(cluster, () => rest.every((node) => node.statusOf(victim) === 'SUSPECT'))).toBeLessThan(1_000);
    await cluster.time.pass(300);
    expect(rest.every((node) => node.events.includes('n2 refused'))).toBe(true);
    expect(await until(cluster, () => rest.every((node) => node.statusOf(victim) === 'UNAVAILABLE'))).toBeLessThan(
      7_500,
    );
    expect(cluster.agree(rest)).toBe(true);
  });

  it('by a crash nobody tells of is noticed with the next heartbeat', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    nodes[2].kill();
    const rest = others(nodes, nodes[2]);
    expect(await until(cluster, () => rest.every((node) => node.statusOf(nodes[2]) === 'SUSPECT'))).toBeLessThan(2_600);
  });

  it.each([2, 3, 16])(
    'among %i by silence is SUSPECT after failoverAfter, UNAVAILABLE after the timeout',
    async (count) => {
      const cluster = new VirtualCluster();
      const nodes = await cluster.start(count);
      const victim = nodes[0];
      const rest = others(nodes, victim);
      victim.process.pause();
      const suspected = await until(cluster, () => rest.some((node) => node.statusOf(victim) === 'SUSPECT'));
      // It was heard up to one interval before.
      expect(suspected).toBeGreaterThan(6_000 - 2_000 - 250);
      expect(suspected).toBeLessThanOrEqual(6_250);
      expect(await until(cluster, () => rest.every((node) => node.statusOf(victim) === 'SUSPECT'))).toBeLessThan(
        CONVERGED_MS,
      );
      const gone =
        suspected + (await until(cluster, () => rest.every((node) => node.statusOf(victim) === 'UNAVAILABLE')));
      expect(gone).toBeGreaterThan(10_000 - 2_000 - 250);
      expect(gone).toBeLessThanOrEqual(10_250);
      expect(cluster.agree(rest)).toBe(true);

      for (const node of rest) node.events.length = 0;
      victim.process.resume();
      expect(
        await until(cluster, () => cluster.agree(nodes) && nodes.every((node) => node.up().length === count)),
      ).toBeLessThan(CONVERGED_MS);
      // It judged nobody by its own absence.
      expect(victim.events).toContain('paused');
      expect(victim.events.filter((event) => /SUSPECT|UNAVAILABLE/.test(event))).toEqual([]);
      for (const node of rest) expect(node.events).toEqual(['n1 ACTIVE']);
    },
  );

  it('and comes back on its disk has a higher incarnation and one record', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const before = nodes[0].service.record(nodes[2].uuid)!.incarnation;
    nodes[2].kill();
    await cluster.time.pass(20_000);
    expect(nodes[0].statusOf(nodes[2])).toBe('UNAVAILABLE');
    nodes[2].start();
    expect(await until(cluster, () => nodes.every((node) => node.statusOf(nodes[2]) === 'ACTIVE'))).toBeLessThan(
      CONVERGED_MS,
    );
    expect(nodes[0].service.record(nodes[2].uuid)!.incarnation).toBeGreaterThan(before);
    await cluster.time.pass(3_000);
    expect(cluster.agree(nodes)).toBe(true);
    expect(nodes[0].service.view()).toHaveLength(3);
  });

  it('again and again flaps', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    for (let i = 0; i < 2; i++) {
      nodes[2].kill();
      nodes[0].service.doubt(nodes[2].uuid);
      await cluster.time.pass(2_000);
      nodes[2].start();
      await cluster.time.pass(3_000);
    }
    expect(nodes[0].service.factsOf(nodes[2].uuid)!.flapping).toBe(true);
    await cluster.time.pass(60_000);
    expect(nodes[0].service.factsOf(nodes[2].uuid)!.flapping).toBe(false);
  });
});

describe('a broken network', () => {
  it('one link in one direction makes nobody fail among three: the third hears both', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    cluster.network.cut(nodes[0].address, nodes[1].address);
    for (const node of nodes) node.events.length = 0;
    await cluster.time.pass(120_000);
    expect(nodes.flatMap((node) => node.events)).toEqual([]);
    expect(nodes[0].service.factsOf(nodes[1].uuid)!.reachable).toBe(false);
    expect(nodes[1].service.factsOf(nodes[0].uuid)!.reachable).toBe(false);
    expect(nodes[2].service.factsOf(nodes[0].uuid)!.reachable).toBe(true);
  });

  it('one link in one direction between two makes each fail for the other: heard means answered', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    cluster.network.cut(nodes[0].address, nodes[1].address);
    const took = await until(
      cluster,
      () => nodes[0].statusOf(nodes[1]) === 'UNAVAILABLE' && nodes[1].statusOf(nodes[0]) === 'UNAVAILABLE',
    );
    expect(took).toBeLessThanOrEqual(12_500);
    await cluster.time.pass(30_000);
    cluster.network.heal();
    expect(await until(cluster, () => cluster.agree(nodes) && nodes[0].up().length === 2)).toBeLessThan(CONVERGED_MS);
  });

  it('halves agree among themselves, and with each other after healing; nobody believes the dead of the other side', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(6);
    const [left, right] = [nodes.slice(0, 3), nodes.slice(3)];
    for (const a of left) {
      for (const b of right) {
        cluster.network.cut(a.address, b.address);
        cluster.network.cut(b.address, a.address);
      }
    }
    await cluster.time.pass(30_000);
    for (const side of [left, right]) {
      expect(cluster.agree(side)).toBe(true);
      expect(side[0].up()).toHaveLength(3);
    }
    for (const node of nodes) node.events.length = 0;
    cluster.network.heal();
    expect(
      await until(cluster, () => cluster.agree(nodes) && nodes.every((node) => node.up().length === 6)),
    ).toBeLessThan(CONVERGED_MS);
    await cluster.time.pass(5_000);
    for (const node of nodes) expect(node.events.filter((event) => /SUSPECT|UNAVAILABLE/.test(event))).toEqual([]);
  });
});

describe('identity', () => {
  it('a wiped disk is another node under the same name; the old one has left once it is registered', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const old = nodes[2].uuid;
    nodes[2].kill();
    nodes[2].wipe();
    nodes[2].start();
    expect(await until(cluster, () => nodes.every((node) => node.statusOf(nodes[2]) === 'ACTIVE'))).toBeLessThan(3_000);
    await cluster.time.pass(CONVERGED_MS);
    expect(nodes[0].service.record(old)!.status).toBe('LEFT');
    expect(nodes[1].service.record(old)!.status).toBe('LEFT');
    expect(cluster.agree(nodes)).toBe(true);
    expect(nodes[0].up()).toHaveLength(3);
    expect(cluster.maps.get(nodes[0].service.clusterId)!.members.map(({ nodeUuid }) => nodeUuid)).not.toContain(old);
  });

  it('a wiped first seed joins the cluster that is there', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const { clusterId } = nodes[1].service;
    nodes[0].kill();
    nodes[0].wipe();
    nodes[0].start();
    await until(cluster, () => nodes.every((node) => node.statusOf(nodes[0]) === 'ACTIVE'));
    expect(nodes[0].service.clusterId).toBe(clusterId);
    expect(cluster.maps.size).toBe(1);
  });

  it('a wiped first seed that found nobody gives its provisional cluster up when the older one comes back', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const { clusterId } = nodes[1].service;
    for (const node of nodes) node.kill();
    nodes[0].wipe();
    nodes[0].start();
    await cluster.time.pass(5_000);
    expect(nodes[0].service.clusterId).not.toBe(clusterId);
    nodes[1].start();
    nodes[2].start();
    expect(
      await until(cluster, () => nodes.every((node) => node.service.clusterId === clusterId && node.up().length === 3)),
    ).toBeLessThan(5_000);
    // It is one of them, and not on its way in.
    const isActive = () => nodes.every((node) => node.statusOf(nodes[0]) === 'ACTIVE');
    expect(await until(cluster, isActive)).toBeLessThan(5_000);
  });

  it('nodes that all come back at other addresses find each other by their seeds', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    for (const node of nodes) node.kill();
    const hosts = nodes.map((_, i) => `m${i + 1}`);
    for (const [i, node] of nodes.entries()) {
      node.moveTo(hosts[i]);
      node.start(hosts);
    }
    expect(await until(cluster, () => nodes.every((node) => node.up().length === 3))).toBeLessThan(5_000);
    expect(cluster.maps.size).toBe(1);
  });

  it('a second node of a name is refused while the first answers, and says why', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    const copy = cluster.node('n3');
    copy.start(['n1', 'n2'], 'n2');
    await until(cluster, () => copy.refused !== undefined);
    expect(copy.refused).toMatchObject({ reason: 'DUPLICATE_NODE_ID', message: expect.stringContaining('n2:9090') });
    await cluster.time.pass(5_000);
    expect(nodes.map((node) => node.up().length)).toEqual([2, 2]);
  });

  it('a second node of a name takes it over from one that does not answer, who is refused when it returns', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    nodes[1].process.pause();
    const taker = cluster.node('n3');
    taker.start(['n1', 'n2'], 'n2');
    await until(cluster, () => nodes[0].statusOf(taker) === 'ACTIVE');
    expect(nodes[0].statusOf(nodes[1])).toBe('LEFT');
    nodes[1].process.resume();
    await until(cluster, () => nodes[1].refused !== undefined);
    expect(nodes[1].refused).toMatchObject({ reason: 'DUPLICATE_NODE_ID' });
    expect(nodes[0].statusOf(nodes[1])).toBe('LEFT');
  });

  it('a copied data directory is refused or told of', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    const copy = cluster.node('n3');
    Object.assign(copy.disk, nodes[1].disk);
    copy.start(['n1', 'n2'], 'n2');
    await cluster.time.pass(10_000);
    expect([...nodes, copy].flatMap((node) => node.logged).join('\n')).toContain('its data directory was copied');
  });

  it('a node whose protocol has nothing in common is told both versions', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    const record = { ...nodes[1].service.self, nodeUuid: 'f'.repeat(32), nodeId: 'n9', protocolMin: 7, protocolMax: 8 };
    const answer = nodes[0].service.onJoin({ record: { ...record, version: '9.0.0' }, bootCount: 1 });
    await cluster.time.pass(10);
    expect(await answer).toMatchObject({
      kind: 'refused',
      reason: 'PROTOCOL',
      detail: expect.stringMatching(/1\.0\.0.*9\.0\.0/),
    });
  });

  it('another cluster is not listened to', async () => {
    const cluster = new VirtualCluster();
    const [a] = await cluster.start(1);
    const b = cluster.node('m1');
    b.start(['m1']);
    await cluster.time.pass(100);
    expect(() => a.service.onExchange({ clusterId: 'x', from: b.uuid, viewDigest: '', records: [] })).toThrow(
      'cluster',
    );
    expect(a.service.clusterId).not.toBe(b.service.clusterId);
    // Both have a second node, so neither is provisional.
    cluster.changeMap(a.service.clusterId, (members) => [
      ...members,
      { nodeUuid: 'a'.repeat(32), nodeId: 'x', address: 'x:1' },
    ]);
    cluster.changeMap(b.service.clusterId, (members) => [
      ...members,
      { nodeUuid: 'b'.repeat(32), nodeId: 'y', address: 'y:1' },
    ]);
    a.service.onIntroduce(b.service.onIntroduce(a.service.onIntroduce(b.service.onIntroduce({} as never))));
    expect(a.logged.join()).toContain('another cluster');
    expect(a.up()).toHaveLength(1);
  });

  it('joins wait while the map cannot change', async () => {
    const cluster = new VirtualCluster();
    await cluster.start(1);
    cluster.frozen = true;
    const late = cluster.node('n2');
    late.start(['n1']);
    await cluster.time.pass(5_000);
    expect(late.service.clusterId).toBe('');
    cluster.frozen = false;
    expect(await until(cluster, () => late.service.self.status === 'ACTIVE')).toBeLessThan(1_500);
  });

  it('a node taken out of the map has left and joins again when it still runs', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const { clusterId } = nodes[0].service;
    cluster.changeMap(clusterId, (members) => members.filter(({ nodeUuid }) => nodeUuid !== nodes[2].uuid));
    expect(await until(cluster, () => nodes[0].events.includes('n3 LEFT'))).toBeLessThan(10);
    expect(await until(cluster, () => cluster.agree(nodes) && nodes[0].up().length === 3)).toBeLessThan(5_000);
    expect(cluster.maps.get(clusterId)!.members).toHaveLength(3);
  });
});

describe('what heartbeats carry', () => {
  it('positions reach everybody with the next heartbeat, or at once', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(3);
    const seen = (node: VirtualNode): number | undefined => node.service.positionsOf(nodes[0].uuid)?.bytes.at(0);
    nodes[0].service.setPositions(Uint8Array.of(7));
    expect(await until(cluster, () => nodes.every((node) => seen(node) === 7))).toBeLessThanOrEqual(2_100);
    nodes[0].service.setPositions(Uint8Array.of(8));
    nodes[0].service.pushNow();
    expect(await until(cluster, () => nodes.every((node) => seen(node) === 8))).toBeLessThan(10);
    nodes[0].service.setDisk(5, 10);
    nodes[0].service.pushNow();
    await cluster.time.pass(200);
    expect(nodes[1].service.loadOf(nodes[0].uuid)).toMatchObject({ diskFreeBytes: 5, diskTotalBytes: 10 });
  });

  it('pushes that come fast are told together', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    cluster.network.sent.clear();
    for (let i = 0; i < 100; i++) {
      nodes[0].service.setPositions(Uint8Array.of(i));
      nodes[0].service.pushNow();
      await cluster.time.pass(5);
    }
    await cluster.time.pass(200);
    expect(cluster.network.sent.get(nodes[0].address)!.get('heartbeat')).toBeLessThan(15);
    expect(nodes[1].service.positionsOf(nodes[0].uuid)!.bytes.at(0)).toBe(99);
  });

  it('a wall clock off the median of its peers raises an alarm on every node', async () => {
    const cluster = new VirtualCluster();
    cluster.node('n3').wallOffsetMs = 700;
    const nodes = await cluster.start(3);
    for (const node of nodes) {
      expect(node.service.factsOf(nodes[2].uuid)!.skewMs).toBeCloseTo(700, -1);
      expect(node.service.factsOf(nodes[0].uuid)!.skewMs).toBeCloseTo(-350, -1);
      expect(node.logged.join()).toContain('500 ms off');
    }
  });

  it('a jump of the wall clock is a pause', async () => {
    const cluster = new VirtualCluster();
    const nodes = await cluster.start(2);
    nodes[0].process.wallOffsetMs += 5_000;
    await cluster.time.pass(200);
    expect(nodes[0].events).toContain('paused');
  });
});
