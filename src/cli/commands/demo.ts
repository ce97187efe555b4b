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
      'start three nodes on a temporary directory, load and search the WordNet corpus, kill one and let it return, and keep the cluster until Ctrl-C',
    )
    .option('--once', 'end after that instead of waiting')
    .action(run((context, flags: { once?: boolean }) => demo(context, flags.once === true)));
}

async function demo(context: Context, once: boolean): Promise<number> {
  await runDemo(context, once);
  return EXIT.ok;
}
