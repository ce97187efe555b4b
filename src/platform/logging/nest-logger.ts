import type { LoggerService } from '@nestjs/common';
import type { Logger } from './logger.js';

/**
 * Lets Nest speak through the node's logger. Nest passes a message and then optional stack and context, all strings;
 * what it tells while wiring modules is of use only when debugging.
 */
export class NestLogger implements LoggerService {
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  log(message: unknown, ...rest: unknown[]): void {
    this.#write('debug', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.#write('error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.#write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.#write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.#write('trace', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.#write('fatal', message, rest);
  }

  #write(level: 'trace' | 'debug' | 'warn' | 'error' | 'fatal', message: unknown, rest: readonly unknown[]): void {
    const context = rest.length > 0 ? rest.at(-1) : undefined;
    const fields: Record<string, unknown> = { module: typeof context === 'string' ? `nest/${context}` : 'nest' };
    if (message instanceof Error) fields['error'] = message;
    else if (rest.length > 1 && typeof rest[0] === 'string') fields['stack'] = rest[0];
    this.#log[level](fields, message instanceof Error ? message.message : String(message));
  }
}
