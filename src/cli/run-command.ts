import type { Context } from './connection.js';

/**
 * Makes an action of commander out of what a command does. Its flags and arguments come after the context; it resolves
 * to the exit code, and what it throws is reported.
 */
export type RunCommand = (
  command: (context: Context, ...flagsAndArguments: never[]) => Promise<number>,
) => (...args: unknown[]) => Promise<void>;
