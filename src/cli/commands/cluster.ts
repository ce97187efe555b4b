import type { Command } from 'commander';
import type { Cluster } from '../../client/index.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import type { RunCommand } from '../run-command.js';
import { table } from '../table.js';
import { byteSize, duration } from '../units.js';

/** `spector cluster` */
export function clusterCommand(program: Command, run: RunCommand): void {
  program
    .command('cluster')
    .description('show the members of the cluster, their addresses, lag and disks, and the settings they agreed on')
    .action(run(cluster));
}

async function cluster(context: Context): Promise<number> {
  const answer = await context.client.cluster({ signal: context.host.signal });
  await context.output.result(answer, () => clusterText(answer));
  return EXIT.ok;
}

function clusterText(answer: Cluster): string {
  const { clusterId, mapEpoch, viewDigest, failoverPromiseMs, mapVoters, settings, members } = answer;
  const { replicaCount, writeConsistency, partitionMode, rebalanceGrace } = settings;
  const rows = members.map((member) => [
    member.nodeId,
    member.status,
    member.addresses.http,
    member.addresses.grpc,
    duration(member.lagMs),
    `${byteSize(member.disk.freeBytes)} of ${byteSize(member.disk.totalBytes)}`,
    member.version,
    member.incarnation,
    member.nodeUuid.slice(0, 8),
  ]);
  return [
    `cluster ${clusterId}, map epoch ${mapEpoch}, view ${viewDigest}`,
    `a silent primary is replaced within ${duration(failoverPromiseMs)}; ${replicaCount} replicas, writes ${writeConsistency}, ${partitionMode}, rebalanced ${rebalanceGrace} after a node died`,
    `the map changes when a majority of ${mapVoters.join(', ')} agrees`,
    '',
    table(
      [
        { head: 'node' },
        { head: 'status' },
        { head: 'http' },
        { head: 'grpc' },
        { head: 'lag', align: 'right' },
        { head: 'disk free' },
        { head: 'version' },
        { head: 'incarnation', align: 'right' },
        { head: 'uuid' },
      ],
      rows,
    ),
  ].join('\n');
}
