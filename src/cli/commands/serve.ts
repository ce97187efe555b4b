import type { Command } from 'commander';

/**
 * `spector serve`, for the list of commands: main.ts hands its flags to the node before they are parsed here. What comes
 * here has options of the client before it, which go nowhere: no node is started that its caller takes for another one.
 */
export function serveCommand(program: Command): void {
  const command = program
    .command('serve')
    .argument('[flags...]', "the node's own flags, e.g. --port 7070 --data-dir ./data")
    .description('run a node in this process')
    .allowUnknownOption()
    .action(() =>
      command.error(
        'error: serve must come first: it takes the flags of the node and no options of the client, as in `spector serve --port 7070`',
      ),
    );
}
