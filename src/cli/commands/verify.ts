import type { Command } from 'commander';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import type { Host } from '../host.js';
import { isSound, type ShardVerification, type VerifyProgress, type VerifyReport } from '../offline/verify-report.js';
import type { RunCommand } from '../run-command.js';
import { table } from '../table.js';
import { byteSize, duration, grouped } from '../units.js';

const LINE_INTERVAL_MS = 2_000;
const DAMAGES_SHOWN_MAX = 20;

/** `spector verify <data directory>`; exit code 1 when anything is wrong */
export function verifyCommand(program: Command, run: RunCommand): void {
  program
    .command('verify')
    .argument('<directory>', 'data directory of a stopped node')
    .description('walk log and indexes of a stopped node and report damage')
    .option('--rebuild', 'make the indexes anew from the log alone and compare')
    .action(
      run((context, flags: { rebuild?: boolean }, directory: string) =>
        verify(context, flags.rebuild === true, directory),
      ),
    );
}

async function verify(context: Context, rebuild: boolean, directory: string): Promise<number> {
  // Loaded only here: no other command needs the database and the indexes.
  const { verifyDataDirectory } = await import('../offline/verify-data-directory.js');
  const report = await verifyDataDirectory({ directory, rebuild, onProgress: progressLines(context.host) });
  await context.output.result({ ok: isSound(report), ...report }, () => reportText(report));
  return isSound(report) ? EXIT.ok : EXIT.failed;
}

/** The report for people. */
export function reportText(report: VerifyReport): string {
  const lines = [`${report.directory}${report.nodeId === undefined ? '' : ` (node ${report.nodeId})`}`, ''];
  lines.push(
    table(
      [
        { head: 'shard', align: 'right' },
        { head: 'entries', align: 'right' },
        { head: 'size', align: 'right' },
        { head: 'from', align: 'right' },
        { head: 'to', align: 'right' },
        { head: 'documents', align: 'right' },
        { head: 'log' },
        { head: 'indexes' },
      ],
      report.shards.map((shard) => [
        shard.shard,
        grouped(shard.entries),
        byteSize(shard.bytes),
        shard.start + 1,
        shard.tail,
        grouped(shard.documents),
        logText(shard),
        indexText(shard),
      ]),
    ),
  );
  for (const problem of report.problems) lines.push(`problem: ${problem}`);
  for (const { shard, damages, rebuild } of report.shards) {
    for (const { offset, problem } of damages.slice(0, DAMAGES_SHOWN_MAX))
      lines.push(`shard ${shard}, offset ${offset}: ${problem}`);
    if (damages.length > DAMAGES_SHOWN_MAX)
      lines.push(`shard ${shard}: … and ${damages.length - DAMAGES_SHOWN_MAX} more`);
    for (const difference of rebuild?.differences ?? []) lines.push(`shard ${shard}: ${difference}`);
  }
  lines.push(
    '',
    isSound(report)
      ? 'sound'
      : 'DAMAGED: restore a backup into an empty node, or start the node and delete or store again what is damaged',
  );
  return lines.join('\n');
}

function logText({ damages }: ShardVerification): string {
  return damages.length === 0 ? 'whole' : `${damages.length} DAMAGED`;
}

function indexText({ rebuild }: ShardVerification): string {
  if (rebuild === undefined) return 'not compared';
  if (rebuild.differences.length > 0) return `${rebuild.differences.length} DIFFERENCES`;
  return `equal (${grouped(rebuild.documents)} documents, ${rebuild.searches} searches, ${duration(rebuild.ms)})`;
}

/** A line now and then: the work has no rate that a bar could show. */
function progressLines(host: Host): (progress: VerifyProgress) => void {
  let lastMs = performance.now();
  return ({ shard, phase, done, total }) => {
    if (performance.now() - lastMs < LINE_INTERVAL_MS) return;
    lastMs = performance.now();
    host.stderr.write(`verify: shard ${shard}, ${phase}: ${grouped(done)} of ${grouped(total)} entries\n`);
  };
}
