#!/usr/bin/env node
import type { Host } from './host.js';
import { serve } from './serve.js';
import { runCli } from './program.js';

// A reader that goes away (`spector export | head`) ends the command, quietly.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
}

const argv = process.argv.slice(2);
if (argv[0] === 'serve') await serve(argv.slice(1));
else {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interrupted.signal.aborted) process.exit(1);
      interrupted.abort(new Error(`ended by ${signal}`));
    });
  }
  const { stdout, stderr, env } = process;
  const host: Host = {
    get stdin() {
      return process.stdin; // Opened only by the command that reads it.
    },
    stdout,
    stderr,
    env,
    signal: interrupted.signal,
  };
  process.exitCode = await runCli(argv, host);
}
