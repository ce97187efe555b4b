import type { Command } from 'commander';
import { readManifest } from '../backup/manifest.js';
import { runRestore } from '../backup/restore-run.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { Progress } from '../progress.js';
import type { RunCommand } from '../run-command.js';
import { grouped } from '../units.js';

/** `spector restore <directory>`; exit code 1 when the copy differs from the manifest */
export function restoreCommand(program: Command, run: RunCommand): void {
  program
    .command('restore')
    .argument('<directory>', 'a backup')
    .description('store a backup into an empty node, of any shard count, and compare the result with it')
    .action(run((context, _flags: object, directory: string) => restore(context, directory)));
}

async function restore(context: Context, directory: string): Promise<number> {
  const { client, host, output } = context;
  const manifest = await readManifest(directory);
  let phase: 'store' | 'compare' = 'store';
  let progress = new Progress(host.stderr, 'restore');
  let complete = false;
  try {
    const report = await runRestore({
      client,
      directory,
      manifest,
      signal: host.signal,
      progress: (now, done) => {
        if (now !== phase) {
          progress.stop(true);
          phase = now;
          progress = new Progress(host.stderr, 'compare');
        }
        progress.update(done, manifest.documents === 0 ? 1 : done / manifest.documents);
      },
    });
    complete = true;
    progress.stop(true);
    const equal = report.differences.length === 0;
    await output.result({ directory, equal, ...report }, () =>
      equal
        ? `${grouped(report.documents)} documents restored; count and content digest ${report.digest} equal the backup`
        : ['THE COPY DIFFERS FROM THE BACKUP:', ...report.differences.map((difference) => `  ${difference}`)].join(
            '\n',
          ),
    );
    return equal ? EXIT.ok : EXIT.failed;
  } finally {
    if (!complete) progress.stop(false);
  }
}
