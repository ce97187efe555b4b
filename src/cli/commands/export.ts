import type { Command } from 'commander';
import type { Document, ShardsReport } from '../../client/index.js';
import type { Context } from '../connection.js';
import { filterArgument } from '../json-argument.js';
import { reportMissing } from '../missing-shards.js';
import { LineWriter } from '../line-writer.js';
import type { RunCommand } from '../run-command.js';
import { Progress } from '../progress.js';
import { grouped } from '../units.js';

interface ExportFlags {
  readonly output?: string;
  readonly collection?: string;
  readonly filter?: string;
  readonly vector: boolean;
  readonly withVersion?: boolean;
  readonly partial?: boolean;
}

/** `spector export` */
export function exportCommand(program: Command, run: RunCommand): void {
  program
    .command('export')
    .description('write all documents of a collection as NDJSON, as `spector ingest` reads it')
    .option('--output <file>', 'instead of stdout; compressed when it ends in .gz')
    .option('--collection <name>', 'collection to export')
    .option('--filter <json>', 'only documents that match; @file reads it')
    .option('--no-vector', 'without vectors')
    .option('--with-version', 'with versions; such lines cannot be ingested as they are')
    .option('--partial', 'go on without shards that do not answer; they are named, and the exit code is 1')
    .action(run(exportDocuments));
}

async function exportDocuments(context: Context, flags: ExportFlags): Promise<number> {
  const filter = await filterArgument(flags.filter);
  const options = {
    ...(flags.collection === undefined ? {} : { collection: flags.collection }),
    signal: context.host.signal,
  };
  const missing: ShardsReport['failed'][number][] = [];
  const documents = context.client.scroll(
    {
      limit: 500,
      withTitle: true,
      withContent: true,
      withMetadata: true,
      withVector: flags.vector,
      ...(filter === undefined ? {} : { filter }),
    },
    { ...options, ...(flags.partial === true ? { missing: (failed) => void missing.push(...failed) } : {}) },
  );
  const line = (document: Document): string =>
    JSON.stringify(flags.withVersion === true ? document : withoutVersion(document));
  if (flags.output === undefined) {
    for await (const document of documents) await context.output.raw(`${line(document)}\n`);
    return reportMissing(missing, context);
  }
  const { count: total } = await context.client.count(filter, options);
  const progress = new Progress(context.host.stderr, 'export');
  const writer = new LineWriter(flags.output, flags.output.endsWith('.gz'), 'w');
  let written = 0;
  try {
    for await (const document of documents) {
      await writer.write(line(document));
      progress.update(++written, total === 0 ? 1 : Math.min(1, written / total));
    }
    await writer.close();
    progress.stop(true);
  } catch (error) {
    progress.stop(false);
    await writer.abandon();
    throw error;
  }
  await context.output.result(
    { documents: written, file: flags.output },
    () => `${grouped(written)} documents in ${flags.output}`,
  );
  return reportMissing(missing, context);
}

/** A document as it can be stored again. */
export function withoutVersion(document: Document): Omit<Document, 'version'> {
  const { version: _version, ...rest } = document;
  return rest;
}
