import type { Command } from 'commander';
import type { Context } from '../connection.js';
import { runDemo } from '../demo/run-demo.js';
import { EXIT } from '../failure.js';
import type { RunCommand } from '../run-command.js';

/** `spector demo` */
export function demoCommand(program: Command, run: RunCommand): void {
  program
    .command('demo')
    .description(
      'start a node on a temporary directory, load the WordNet corpus, search it, and keep the node until Ctrl-C',
    )
    .option('--once', 'end after the searches')
    .action(run((context, flags: { once?: boolean }) => demo(context, flags.once === true)));
}

async function demo(context: Context, once: boolean): Promise<number> {
  await runDemo(context, once);
  return EXIT.ok;
}
