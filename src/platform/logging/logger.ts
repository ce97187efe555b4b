import type { DestinationStream, Logger as PinoLogger } from 'pino';
import { pino, stdSerializers } from 'pino';
import pretty from 'pino-pretty';

/** A structured logger; `child({ module: 'log' })` names who speaks. */
export type Logger = PinoLogger;

export interface LoggerOptions {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly format: 'json' | 'pretty';
  /** On every line. */
  readonly nodeId: string;
  /** Standard error by default: standard output belongs to commands. Lines are written at once, so that none is lost. */
  readonly destination?: DestinationStream;
}

/** Injection token of the node's Logger. */
export const LOGGER = Symbol('LOGGER');

/** Names of members that never reach a log, wherever they are passed. */
const SECRETS = ['apiKey', 'apiKeys', 'clusterSecret', 'authorization', '["x-api-key"]'];

/** The root logger of a node. */
export function createLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level: options.level,
      base: { node: options.nodeId },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: stdSerializers.errWithCause, err: stdSerializers.errWithCause },
      redact: {
        paths: SECRETS.flatMap((name) => (name.startsWith('[') ? [name, `*${name}`] : [name, `*.${name}`])),
        censor: '***',
      },
    },
    options.format === 'json'
      ? destination
      : pretty({
          destination,
          colorize: options.destination === undefined && process.stderr.isTTY,
          ignore: 'node,module',
          messageFormat: '{if module}[{module}] {end}{msg}',
          sync: true,
        }),
  );
}
