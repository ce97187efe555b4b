import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { VirtualCluster, type VirtualNode } from './testing/virtual-cluster.js';

type Fault =
  | { readonly kind: 'kill' | 'pause' | 'resume' | 'restart' | 'wipe' | 'stop'; readonly node: number }
  | { readonly kind: 'cut'; readonly from: number; readonly to: number }
  | { readonly kind: 'jump'; readonly node: number; readonly ms: number }
  | { readonly kind: 'heal' };

/** More of them, and others, by hand: MEMBERSHIP_RUNS=1000 MEMBERSHIP_SEED=7. */
const RUNS = Number(process.env['MEMBERSHIP_RUNS'] ?? 20);
const NODES = 5;
const node = fc.nat(NODES - 1);
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({
    kind: fc.constantFrom<'kill' | 'pause' | 'resume' | 'restart' | 'wipe' | 'stop'>(
      'kill',
      'pause',
      'resume',
      'restart',
      'wipe',
      'stop',
    ),
    node,
  }),
  fc.record({ kind: fc.constant('cut' as const), from: node, to: node }),
  fc.record({ kind: fc.constant('jump' as const), node, ms: fc.integer({ min: -5_000, max: 5_000 }) }),
  fc.record({ kind: fc.constant('heal' as const) }),
);
const schedule = fc.array(fc.tuple(fault, fc.integer({ min: 1, max: 12_000 })), { minLength: 1, maxLength: 12 });

async function befall(cluster: VirtualCluster, nodes: readonly VirtualNode[], what: Fault): Promise<void> {
  switch (what.kind) {
    case 'heal':
      cluster.network.heal();
      return;
    case 'cut':
      cluster.network.cut(nodes[what.from].address, nodes[what.to].address);
      return;
    case 'jump':
      nodes[what.node].process.wallOffsetMs += what.ms;
      return;
    case 'kill':
      nodes[what.node].kill();
      return;
    case 'pause':
      nodes[what.node].process.pause();
      return;
    case 'resume':
      nodes[what.node].process.resume();
      return;
    case 'restart':
      nodes[what.node].kill();
      nodes[what.node].start();
      return;
    case 'wipe':
      // Not the last one that knows of the cluster.
      if (nodes.filter(({ disk }) => disk.clusterId !== '').length <= 2) return;
      nodes[what.node].kill();
      nodes[what.node].wipe();
      nodes[what.node].start();
      return;
    case 'stop':
      if (nodes[what.node].process.alive && !nodes[what.node].process.paused) await nodes[what.node].stop();
  }
}

describe('whatever befalls a cluster', () => {
  it(
    'five seconds after it ended all nodes share one view, and it is true',
    async () => {
      await fc.assert(
        fc.asyncProperty(schedule, async (faults) => {
          const cluster = new VirtualCluster();
          const nodes = await cluster.start(NODES);
          const { clusterId } = nodes[0].service;
          for (const [what, afterMs] of faults) {
            await befall(cluster, nodes, what);
            await cluster.time.pass(afterMs);
          }
          cluster.network.heal();
          for (const each of nodes) {
            each.process.resume();
            if (!each.process.alive || each.refused !== undefined) each.start();
          }
          // Rounds of a node that looks for its cluster, and of a silent one that is probed, come before.
          const settled = (): boolean =>
            cluster.agree(nodes) &&
            nodes.every((each) => each.up().length === NODES && each.service.self.status === 'ACTIVE');
          const tookMs = await cluster.time.pass(30_000, settled);
          expect({ tookMs, settled: settled() }).toEqual({ tookMs: expect.any(Number), settled: true });
          expect(tookMs).toBeLessThanOrEqual(5_000);
          expect(nodes.map((each) => each.service.clusterId)).toEqual(nodes.map(() => clusterId));
          await cluster.time.pass(10_000);
          expect(settled()).toBe(true);
        }),
        { numRuns: RUNS, ...seedOf(process.env['MEMBERSHIP_SEED']) },
      );
    },
    60_000 + RUNS * 1_000,
  );
});

function seedOf(text: string | undefined): { readonly seed?: number } {
  return text === undefined ? {} : { seed: Number(text) };
}
