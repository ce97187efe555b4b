import type { Command } from 'commander';
import { runBackup } from '../backup/backup-run.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { Progress } from '../progress.js';
import type { RunCommand } from '../run-command.js';
import { grouped } from '../units.js';

/** `spector backup <directory>` */
export function backupCommand(program: Command, run: RunCommand): void {
  program
    .command('backup')
    .argument('<directory>', 'made, or empty')
    .description(
      'copy all documents and the settings of their collections, consistent though writes go on; aliases are not part of it',
    )
    .action(run((context, _flags: object, directory: string) => backup(context, directory)));
}

async function backup(context: Context, directory: string): Promise<number> {
  const { client, host, output } = context;
  const progress = new Progress(host.stderr, 'backup');
  let complete = false;
  try {
    const manifest = await runBackup({
      client,
      directory,
      signal: host.signal,
      progress: (done, total) => progress.update(done, total === 0 ? 1 : done / total),
    });
    complete = true;
    progress.stop(true);
    await output.result({ directory, ...manifest }, () =>
      [
        `${grouped(manifest.documents)} documents of ${manifest.collections.length} collections in ${directory}`,
        `content digest ${manifest.digest}`,
        ...manifest.positions.map(
          ({ shard, offset, live }) =>
            `  shard ${shard} at offset ${offset}${live === null ? '' : `, live digest ${live}`}`,
        ),
      ].join('\n'),
    );
    return EXIT.ok;
  } finally {
    if (!complete) progress.stop(false);
  }
}
