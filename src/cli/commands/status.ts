import type { Command } from 'commander';
import type { Status } from '../../client/index.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import type { RunCommand } from '../run-command.js';
import { table } from '../table.js';
import { duration, grouped } from '../units.js';

/** `spector status`; exit code 1 while the cluster is not RUNNING */
export function statusCommand(program: Command, run: RunCommand): void {
  program
    .command('status')
    .description('show nodes, primaries, replicas and their lag; exit code 1 while not RUNNING')
    .action(run(status));
}

async function status(context: Context): Promise<number> {
  const answer = await context.client.status({ signal: context.host.signal });
  await context.output.result(answer, () => statusText(answer));
  return answer.status === 'RUNNING' ? EXIT.ok : EXIT.failed;
}

/** The topology for people. */
export function statusText(status: Status): string {
  const head = [
    `${status.status}: ${grouped(status.documents)} documents, ${status.shardCount} shards, ${status.replicaCount} replicas each, ${status.activeNodes} active ${status.activeNodes === 1 ? 'node' : 'nodes'}`,
    `asked ${status.nodeId} (version ${status.version}, up ${duration(status.uptimeMs)}), cluster ${status.clusterId}, map epoch ${status.mapEpoch}`,
  ];
  if (status.insecure) head.push('insecure: neither certificates nor a secret protect the ports between nodes');
  return [...head, '', nodeTable(status), '', shardTable(status)].join('\n');
}

/** One row a node: what it leads, follows and learns (on its way in or out), and how far behind its slowest replica is. */
function nodeTable({ topology, shards }: Status): string {
  return table(
    [
      { head: 'node' },
      { head: 'status' },
      { head: 'primary of' },
      { head: 'replica of' },
      { head: 'learner of' },
      { head: 'not in sync' },
      { head: 'lag', align: 'right' },
    ],
    Object.entries(topology).map(([node, { status }]) => {
      const copies = shards.flatMap(({ shard, replicas }) =>
        replicas.filter((copy) => copy.node === node).map((copy) => ({ ...copy, shard })),
      );
      const numbers = (wanted: readonly { readonly shard: number }[]): string =>
        wanted.length === 0 ? '-' : wanted.map(({ shard }) => shard).join(', ');
      const led = copies.filter(({ role }) => role === 'primary');
      const followed = copies.filter(({ role }) => role === 'replica');
      return [
        node,
        status,
        numbers(led),
        numbers(followed),
        numbers(copies.filter(({ role }) => role === 'learner')),
        numbers(followed.filter(({ inSync }) => !inSync)),
        followed.length === 0 ? '-' : duration(Math.max(...followed.map(({ lagMs }) => lagMs))),
      ];
    }),
  );
}

/** One row a shard, with all its copies. */
export function shardTable(status: Status): string {
  return table(
    [
      { head: 'shard', align: 'right' },
      { head: 'epoch', align: 'right' },
      { head: 'primary' },
      { head: 'documents', align: 'right' },
      { head: 'offset', align: 'right' },
      { head: 'copies' },
    ],
    status.shards.map((shard) => [
      shard.shard,
      shard.epoch,
      shard.primary ?? 'NONE',
      grouped(shard.documents),
      grouped(shard.offset),
      shard.replicas.map(copyText).join(', '),
    ]),
  );
}

function copyText(replica: Status['shards'][number]['replicas'][number]): string {
  const lag = replica.role === 'primary' ? '' : ` ${replica.lagMs} ms`;
  const reason = replica.held === 'DISK_FULL' ? ' (disk full)' : '';
  const doubt = replica.inSync || replica.role === 'learner' ? reason : ` NOT IN SYNC${reason}`;
  return `${replica.node} ${replica.role}${doubt}${lag}`;
}
