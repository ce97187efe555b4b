import type { Command } from 'commander';
import type { Operation, OperationAccepted } from '../../client/index.js';
import { wholeNumber, type Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { LiveLine } from '../live-line.js';
import type { RunCommand } from '../run-command.js';
import { duration } from '../units.js';

const POLL_INTERVAL_MS = 250;
/** Highest shard number of the largest cluster. */
const SHARD_MAX = 255;

interface WaitFlags {
  /** False with `--no-wait`. */
  readonly wait: boolean;
}

/** `spector drain`, `remove`, `move-primary`, `force`, `force-map`, `reshard` and `operation`: long changes of the cluster */
export function operationCommands(program: Command, run: RunCommand): void {
  const long = (name: string, description: string): Command =>
    program.command(name).description(description).option('--no-wait', 'print the id of the operation and end');
  long('drain', 'move everything off a node, and wait until it holds nothing')
    .argument('<node>', 'id of the node')
    .action(
      run((context, flags: WaitFlags, node: string) =>
        begin(context, flags, context.client.drain(node, { signal: context.host.signal })),
      ),
    );
  long('remove', 'move everything off a node, and take it out of the cluster; also one that is dead')
    .argument('<node>', 'id of the node')
    .action(
      run((context, flags: WaitFlags, node: string) =>
        begin(context, flags, context.client.remove(node, { signal: context.host.signal })),
      ),
    );
  long('move-primary', 'make a node the primary of a shard of which it has a copy in sync')
    .argument('<shard>', 'number of the shard')
    .argument('<node>', 'id of the node')
    .action(
      run((context, flags: WaitFlags, shard: string, node: string) => {
        const number = wholeNumber('<shard>', shard, 0, SHARD_MAX);
        return begin(context, flags, context.client.shards.movePrimary(number, node, { signal: context.host.signal }));
      }),
    );
  program
    .command('force')
    .description('name the copy a shard goes on from when every disk of its set is gone, or begin an empty one')
    .argument('<shard>', 'number of the shard')
    .argument('<node>', 'id of the node where it goes on')
    .option('--empty', 'begin anew, without documents: the node has no copy')
    .requiredOption('--accept-data-loss', 'what only the lost disks had is gone, unless one of them comes back')
    .action(
      run((context, { empty = false }: { empty?: boolean }, shard: string, node: string) => {
        const number = wholeNumber('<shard>', shard, 0, SHARD_MAX);
        const options = { empty, signal: context.host.signal };
        return begin(context, { wait: true }, context.client.shards.force(number, node, options));
      }),
    );
  program
    .command('force-map')
    .description('go on with the map from one copy when a majority of its voters is gone; --url names that node')
    .argument('<node>', 'id of the node that is asked')
    .requiredOption('--accept-data-loss', 'changes of the map that only the lost voters had are gone')
    .action(
      run((context, _flags: object, node: string) =>
        begin(context, { wait: true }, context.client.forceMap(node, { signal: context.host.signal })),
      ),
    );
  long('reshard', 'change the number of shards while the cluster works; nodes of this version refuse it')
    .argument('<count>', 'the new number of shards, 1-256')
    .action(
      run((context, flags: WaitFlags, count: string) => {
        const number = wholeNumber('<count>', count, 1, SHARD_MAX + 1);
        return begin(context, flags, context.client.shards.reshard(number, { signal: context.host.signal }));
      }),
    );
  program
    .command('operation')
    .argument('<id>')
    .description('follow an operation until it ends')
    .option('--abort', 'take it back first; what has moved stays where it is')
    .action(run((context, flags: { abort?: boolean }, id: string) => follow(context, id, flags.abort === true)));
}

async function begin(context: Context, { wait }: WaitFlags, accepted: Promise<OperationAccepted>): Promise<number> {
  const { operation } = await accepted;
  if (wait) return watch(context, operation);
  await context.output.result({ operation }, () => `accepted as operation ${operation}`);
  return EXIT.ok;
}

async function follow(context: Context, id: string, abort: boolean): Promise<number> {
  if (abort) await context.client.operations.abort(id, { signal: context.host.signal });
  return watch(context, id);
}

/** Shows how far an operation is until it ends; exit code 1 when it did not reach its end. */
async function watch({ client, host, output }: Context, id: string): Promise<number> {
  const { signal, stderr } = host;
  let operation: Operation | undefined;
  let told = '';
  const live = new LiveLine(stderr, () => (operation === undefined ? '' : progressText(operation)));
  if (!output.json) output.note(`operation ${id}`);
  try {
    for (;;) {
      operation = await client.operations.get(id, { signal });
      if (operation.state !== 'running') break;
      const text = progressText(operation);
      if (stderr.isTTY !== true && !output.json && text !== told) output.note(text);
      told = text;
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
    }
  } catch (error) {
    live.clear();
    if (signal.aborted) output.note(`It goes on without you. To follow it again: spector operation ${id}`);
    throw error;
  } finally {
    live.stop();
  }
  const ended = operation;
  await output.result(ended, () => endText(ended));
  return ended.state === 'done' ? EXIT.ok : EXIT.failed;
}

function progressText(operation: Operation): string {
  const { progress, detail } = operation;
  const waits = detail === undefined ? '' : `, waits: ${detail}`;
  return `${taskText(operation)}: ${progress.done} of ${progress.total} copies moved${waits}`;
}

function endText(operation: Operation): string {
  const { state, startedMs, endedMs, progress, detail } = operation;
  const took = endedMs === undefined ? '' : ` after ${duration(Math.max(0, endedMs - startedMs))}`;
  const why = detail === undefined ? '' : `: ${detail}`;
  return `${taskText(operation)}: ${state}${took}, ${progress.done} of ${progress.total} copies moved${why}`;
}

function taskText({ kind, node, shard }: Operation): string {
  switch (kind) {
    case 'drain':
      return `drain ${node ?? ''}`;
    case 'remove':
      return `remove ${node ?? ''}`;
    case 'movePrimary':
      return `make ${node ?? ''} primary of shard ${shard ?? ''}`;
    case 'force':
      return `force shard ${shard ?? ''} on ${node ?? ''}`;
    case 'forceMap':
      return `force the map on ${node ?? ''}`;
    case 'rebalance':
      return 'rebalance';
  }
}
