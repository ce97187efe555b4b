import type { Readable, Writable } from 'node:stream';

/** A stream to print to, and what is known of the terminal behind it. */
export type Printer = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** The process as commands see it, so that a test can run a command without one. */
export interface Host {
  readonly stdin: Readable;
  readonly stdout: Printer;
  readonly stderr: Printer;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted when the user wants the command to end (SIGINT, SIGTERM, SIGHUP). */
  readonly signal: AbortSignal;
}
