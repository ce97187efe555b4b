import type { Command } from 'commander';
import type { ShardDigest } from '../../client/index.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import type { RunCommand } from '../run-command.js';
import { table } from '../table.js';
import { shardTable } from './status.js';

/** `spector shards` */
export function shardsCommand(program: Command, run: RunCommand): void {
  program
    .command('shards')
    .description('show shards and their copies')
    .option('--digest', 'compare position and content digest of all copies; exit code 1 when they differ at one offset')
    .action(run((context, flags: { digest?: boolean }) => shards(context, flags.digest === true)));
}

async function shards(context: Context, digest: boolean): Promise<number> {
  const status = await context.client.status({ signal: context.host.signal });
  if (!digest) {
    await context.output.result(status.shards, () => shardTable(status));
    return EXIT.ok;
  }
  const digests: (ShardDigest & { shard: number })[] = [];
  for (const { shard } of status.shards)
    digests.push({ ...(await context.client.digest(shard, { signal: context.host.signal })), shard });
  await context.output.result(digests, () => digestTable(digests));
  return digests.every(agree) ? EXIT.ok : EXIT.failed;
}

function digestTable(digests: readonly (ShardDigest & { shard: number })[]): string {
  const rows = digests.flatMap((digest) =>
    digest.replicas.map((replica) => [
      digest.shard,
      replica.node,
      replica.offset,
      replica.live,
      replica.chain,
      agree(digest) ? 'ok' : 'DIFFERS',
    ]),
  );
  return table(
    [
      { head: 'shard', align: 'right' },
      { head: 'node' },
      { head: 'offset', align: 'right' },
      { head: 'live digest' },
      { head: 'chain' },
      { head: '' },
    ],
    rows,
  );
}

/** Copies at different offsets cannot be compared; at one offset they must be equal. */
function agree(digest: ShardDigest): boolean {
  return digest.replicas.every((a) =>
    digest.replicas.every((b) => a.offset !== b.offset || (a.live === b.live && a.chain === b.chain)),
  );
}
