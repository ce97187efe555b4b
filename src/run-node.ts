import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { helpText } from './platform/config/describe-config.js';
import { ConfigurationError, loadConfig } from './platform/config/load-config.js';
import { systemMachine } from './platform/config/machine.js';
import type { NodeConfig } from './platform/config/node-config.js';
import { exitCodeOf, packageVersion, startNode, type RunningNode } from './start.js';

/** Exit code of a configuration that is not valid (api.md, Processes). */
export const EXIT_CONFIGURATION = 78;

/**
 * With fewer cores, the engine's threads that help to collect young objects cost more, in waiting for each other beside
 * busy index threads, than they spare: a tenth of a search.
 */
const PARALLEL_SCAVENGE_CORES_MIN = 8;

/**
 * A heap is collected as a whole when it has grown by this much since the last time, in per cent. By itself the engine
 * makes that 30 once a process was idle for some seconds, and never more again while the heap stays small: a node under
 * load then does it twice a second, at a tenth of all it does. What piles up in between goes back when the node rests, see
 * `IdleMemory`.
 */
const HEAP_GROWTH_PERCENT = 100;

/**
 * Runs a node in this process until a signal ends it: exit 0 after SIGTERM or SIGINT, at once after a second one; 78 for
 * a bad configuration, 74 for failed storage, 1 for anything else.
 */
export async function runNode(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help')) {
    process.stdout.write(helpText());
    return;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`${packageVersion()}\n`);
    return;
  }
  const config = readConfig(argv);
  if (config === undefined) return;
  if (availableParallelism() < PARALLEL_SCAVENGE_CORES_MIN) setFlagsFromString('--no-parallel-scavenge');
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  const fatal = (exitCode: number, error: Error): never => {
    process.stderr.write(`spector-node: ${error.message}\n`);
    process.exit(exitCode);
  };
  process.on('uncaughtException', (error) => fatal(exitCodeOf(error), describe(error)));
  process.on('unhandledRejection', (reason) => fatal(exitCodeOf(reason), describe(reason)));
  let node: RunningNode | undefined;
  let signals = 0;
  const onSignal = (): void => {
    if (++signals > 1) process.exit(1);
    if (node === undefined) process.exit(0);
    node.stop().then(
      () => process.exit(0),
      (error: unknown) => fatal(exitCodeOf(error), describe(error)),
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('SIGHUP', () => {
    try {
      node?.reloadCertificates();
    } catch (error) {
      process.stderr.write(`spector-node: the old certificates stay: ${describe(error).message}\n`);
    }
  });
  try {
    node = await startNode(config, packageVersion(), fatal);
  } catch (error) {
    fatal(exitCodeOf(error), error instanceof Error ? error : new Error(String(error)));
  }
}

function readConfig(argv: readonly string[]): NodeConfig | undefined {
  try {
    return loadConfig({
      argv,
      env: process.env,
      readFile: (path) => readFileSync(path, 'utf8'),
      machine: systemMachine,
    });
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT_CONFIGURATION;
    return undefined;
  }
}

/** An unexpected error with its stack, since nobody will see it again. */
function describe(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  return error.stack === undefined ? error : new Error(error.stack, { cause: error });
}
