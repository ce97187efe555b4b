import { SpectorClient } from '../client/index.js';
import type { Host } from './host.js';
import { Output } from './output.js';
import { UsageError } from './usage-error.js';

/** Options every command takes. */
export interface GlobalOptions {
  readonly url?: readonly string[];
  /** As `url`. */
  readonly node?: readonly string[];
  readonly apiKey?: string;
  readonly json?: boolean;
  /** Milliseconds, as text. */
  readonly timeout?: string;
}

/** What a command works with. */
export interface Context {
  readonly host: Host;
  readonly output: Output;
  readonly client: SpectorClient;
  /** Base URLs the client asks. */
  readonly nodes: readonly string[];
}

const DEFAULT_NODE = 'http://127.0.0.1:7070';

/** The nodes, the key and the output a command's options and environment name. */
export function connect(host: Host, options: GlobalOptions): Context {
  const named = [...(options.url ?? []), ...(options.node ?? [])];
  const nodes = named.length > 0 ? named : (listed(host.env.SPECTOR_URL) ?? [DEFAULT_NODE]);
  const apiKey = options.apiKey ?? host.env.SPECTOR_API_KEY;
  const timeoutMs =
    options.timeout === undefined ? undefined : wholeNumber('--timeout', options.timeout, 1, 86_400_000);
  try {
    const client = new SpectorClient({
      nodes,
      ...(apiKey === undefined || apiKey === '' ? {} : { apiKey }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    return { host, output: new Output(host, options.json === true), client, nodes };
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function listed(text: string | undefined): readonly string[] | undefined {
  const parts = (text ?? '').split(',').map((part) => part.trim());
  const named = parts.filter((part) => part !== '');
  return named.length === 0 ? undefined : named;
}

/** The whole number an option's text means; throws UsageError naming the option and its range. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new UsageError(`${option} takes a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
  }
  return value;
}
