import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { Command } from 'commander';
import { wholeNumber, type Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { type FailedLine, type IngestProgress, runIngest } from '../ingest/ingest-run.js';
import { fileIdentity, openFile, openStream } from '../ingest/input.js';
import { type IngestState, readState, removeState, statePath, writeState } from '../ingest/ingest-state.js';
import type { RunCommand } from '../run-command.js';
import { Progress } from '../progress.js';
import { duration, grouped } from '../units.js';
import { UsageError } from '../usage-error.js';

/** Between two writes of the state file. */
const STATE_INTERVAL_MS = 1_000;
/** Failed lines kept for the summary; `--errors` takes all. */
const SUMMARY_ERRORS_MAX = 20;

interface IngestFlags {
  readonly batch: string;
  readonly concurrency: string;
  readonly collection?: string;
  readonly resume?: boolean;
  readonly errors?: string;
}

interface Run {
  readonly state: IngestState;
  /** Undefined for stdin, which cannot be gone on with. */
  readonly file: string | undefined;
  readonly resumed: boolean;
}

/** `spector ingest <file|->` */
export function ingestCommand(program: Command, run: RunCommand): void {
  program
    .command('ingest')
    .argument('<file>', 'NDJSON, one document or operation a line; gzip is recognised; - for stdin')
    .description('store documents from a file or stdin')
    .option('--batch <lines>', 'lines a request, 1-1000', '500')
    .option('--concurrency <requests>', 'requests under way at once, 1-64', '2')
    .option('--collection <name>', 'collection to store into (default: default)')
    .option('--resume', 'go on where an earlier run of the same file stopped')
    .option('--errors <file>', 'write every line that failed there, as NDJSON')
    .action(run((context, flags: IngestFlags, file: string) => ingest(context, flags, file)));
}

async function ingest(context: Context, flags: IngestFlags, source: string): Promise<number> {
  const concurrency = wholeNumber('--concurrency', flags.concurrency, 1, 64);
  const job = await begin(context, flags, source);
  const { state, file } = job;
  const input = file === undefined ? openStream(context.host.stdin) : await openFile(file, state.position.offset);
  const errors =
    flags.errors === undefined ? undefined : createWriteStream(flags.errors, { flags: job.resumed ? 'a' : 'w' });
  const opened =
    errors === undefined
      ? undefined
      : new Promise((resolve, reject) => errors.once('open', resolve).once('error', reject));
  await opened;
  const startedMs = performance.now();
  const progress = new Progress(context.host.stderr, 'ingest', input.fraction() ?? 0);
  const kept: FailedLine[] = [];
  let latest = state;
  let written = 0;
  let complete = false;
  try {
    await runIngest({
      client: context.client,
      chunks: input.chunks,
      collection: flags.collection,
      batch: state.batch,
      concurrency,
      run: state.run,
      start: state.position,
      signal: context.host.signal,
      settled: async (done) => {
        latest = advanced(state, done);
        progress.update(done.success + done.failed, input.fraction());
        kept.push(...done.failures.slice(0, SUMMARY_ERRORS_MAX - kept.length));
        if (errors !== undefined) for (const failure of done.failures) errors.write(`${JSON.stringify(failure)}\n`);
        if (file === undefined || performance.now() - written < STATE_INTERVAL_MS) return;
        written = performance.now();
        await writeState(file, latest);
      },
    });
    complete = true;
  } catch (error) {
    if (file !== undefined) {
      await writeState(file, latest);
      context.output.note(`stopped after line ${latest.position.line}; go on with: spector ingest --resume ${file}`);
    }
    throw error;
  } finally {
    progress.stop(complete);
    input.close();
    if (errors !== undefined) await finished(errors.end());
  }
  if (file !== undefined) await removeState(file);
  return summary(context, job, latest, kept, performance.now() - startedMs, flags.errors);
}

async function begin(context: Context, flags: IngestFlags, source: string): Promise<Run> {
  const batch = wholeNumber('--batch', flags.batch, 1, 1_000);
  const run = randomBytes(8).toString('hex');
  const collection = flags.collection ?? null;
  const fresh = { format: 1, run, batch, collection, position: { line: 0, offset: 0 }, success: 0, failed: 0 } as const;
  if (source === '-') {
    if (flags.resume === true) throw new UsageError('--resume needs a file: what came from stdin cannot be read again');
    return { state: { ...fresh, identity: 'stdin' }, file: undefined, resumed: false };
  }
  const identity = await fileIdentity(source);
  const earlier = flags.resume === true ? await readState(source, identity) : undefined;
  if (earlier === undefined) {
    const state = { ...fresh, identity, run: `${identity.slice(0, 16)}${run}` };
    await writeState(source, state).catch((cause: unknown) => {
      throw new UsageError(
        `cannot keep ${statePath(source)}, which makes an interrupted run resumable; give the file on stdin instead: spector ingest - < ${source}`,
        { cause },
      );
    });
    return { state, file: source, resumed: false };
  }
  if (earlier.collection !== collection)
    throw new UsageError(
      `the earlier run went into ${earlier.collection ?? 'the default collection'}; name the same --collection`,
    );
  context.output.note(`going on after line ${earlier.position.line}`);
  return { state: earlier, file: source, resumed: true };
}

function advanced(state: IngestState, done: IngestProgress): IngestState {
  return {
    ...state,
    position: done.position,
    success: state.success + done.success,
    failed: state.failed + done.failed,
  };
}

async function summary(
  context: Context,
  job: Run,
  end: IngestState,
  kept: readonly FailedLine[],
  ms: number,
  errorsFile: string | undefined,
): Promise<number> {
  const sent = end.success + end.failed - job.state.success - job.state.failed;
  const rate = ms > 0 ? Math.round((sent / ms) * 1_000) : 0;
  const result = {
    total: end.success + end.failed,
    success: end.success,
    failed: end.failed,
    lines: end.position.line,
    ms: Math.round(ms),
    rate,
    resumed: job.resumed,
    errors: kept,
  };
  await context.output.result(result, () => {
    const lines = [
      `${grouped(end.success)} stored, ${grouped(end.failed)} failed, in ${duration(ms)} (${grouped(rate)}/s)`,
    ];
    for (const { line, id, code, detail } of kept)
      lines.push(`  line ${line}${id === null ? '' : ` (${id})`}: ${code}: ${detail}`);
    const more = end.failed - kept.length;
    if (more > 0)
      lines.push(
        `  … and ${grouped(more)} more${errorsFile === undefined ? '; list all with --errors <file>' : `; all in ${errorsFile}`}`,
      );
    return lines.join('\n');
  });
  return end.failed === 0 ? EXIT.ok : EXIT.failed;
}
