import type { Command } from 'commander';

/** `spector serve`: for the list of commands only; main.ts hands its flags to the node before they are parsed here. */
export function serveCommand(program: Command): void {
  program
    .command('serve')
    .argument('[flags...]', "the node's own flags, e.g. --port 7070 --data-dir ./data")
    .description('run a node in this process')
    .allowUnknownOption();
}
