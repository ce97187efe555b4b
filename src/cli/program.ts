import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { backupCommand } from './commands/backup.js';
import { clusterCommand } from './commands/cluster.js';
import { collectionsCommand } from './commands/collections.js';
import { demoCommand } from './commands/demo.js';
import { documentCommands } from './commands/documents.js';
import { exportCommand } from './commands/export.js';
import { ingestCommand } from './commands/ingest.js';
import { operationCommands } from './commands/operations.js';
import { restoreCommand } from './commands/restore.js';
import { searchCommand } from './commands/search.js';
import { serveCommand } from './commands/serve.js';
import { shardsCommand } from './commands/shards.js';
import { statusCommand } from './commands/status.js';
import { verifyCommand } from './commands/verify.js';
import { connect, type GlobalOptions } from './connection.js';
import { EXIT, reportFailure } from './failure.js';
import type { Host } from './host.js';
import { Output } from './output.js';
import type { RunCommand } from './run-command.js';
import { UsageError } from './usage-error.js';

/** Runs one command line (without `node` and the script) and resolves to its exit code: 0, 1, or 2 for a wrong call. */
export async function runCli(argv: readonly string[], host: Host): Promise<number> {
  let exitCode: number = EXIT.ok;
  // Also of a line that cannot be read any further than this.
  const json = argv.includes('--json');
  const run: RunCommand =
    (command) =>
    async (...all) => {
      const self = all.at(-1) as Command;
      const flags = self.optsWithGlobals<GlobalOptions>();
      try {
        const context = connect(host, flags);
        exitCode = await command(context, ...([flags, ...all.slice(0, -2)] as never[]));
      } catch (error) {
        exitCode = reportFailure(error, new Output(host, flags.json === true), host.signal.aborted);
      }
    };
  try {
    await buildProgram(host, run, json).parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.ok;
    if (!json) return EXIT.usage;
    return reportFailure(new UsageError(error.message.replace(/^error: /, '')), new Output(host, true), false);
  }
  return exitCode;
}

function buildProgram(host: Host, run: RunCommand, json: boolean): Command {
  const program = new Command('spector')
    .description('the command line of a Spector node')
    .version(packageVersion(), '--version', 'print the version')
    .option(
      '--url <url>',
      'a node to ask; repeat it for several (SPECTOR_URL, default http://127.0.0.1:7070)',
      collected,
    )
    .option('--node <url>', 'the same as --url', collected)
    .option('--api-key <key>', 'key to show the node (SPECTOR_API_KEY)')
    .option('--timeout <ms>', 'milliseconds for one request, retries included (default 30000)')
    .option('--json', 'JSON on stdout and nothing else: one object, or one a line')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => json || host.stderr.write(text),
    })
    .showHelpAfterError('(spector help <command> tells more)')
    .exitOverride();
  for (const command of COMMANDS) command(program, run);
  return program;
}

const COMMANDS = [
  serveCommand,
  ingestCommand,
  searchCommand,
  documentCommands,
  statusCommand,
  collectionsCommand,
  exportCommand,
  backupCommand,
  restoreCommand,
  verifyCommand,
  clusterCommand,
  shardsCommand,
  operationCommands,
  demoCommand,
];

function collected(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
