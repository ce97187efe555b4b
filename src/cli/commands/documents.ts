import type { Command } from 'commander';
import type { Document } from '../../client/index.js';
import type { Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { filterArgument } from '../json-argument.js';
import { reportMissing } from '../missing-shards.js';
import type { RunCommand } from '../run-command.js';
import { shortened } from '../table.js';
import { grouped } from '../units.js';
import { UsageError } from '../usage-error.js';

/** Ids of one request (api: documents/get and documents/delete). */
const IDS_MAX = 1_000;

interface CollectionFlags {
  readonly collection?: string;
}

/** `spector get`, `count` and `delete` */
export function documentCommands(program: Command, run: RunCommand): void {
  program
    .command('get')
    .argument('<id...>', 'ids of documents')
    .description('print documents')
    .option('--with-vector', 'with their vectors')
    .option('--collection <name>', 'collection they are in')
    .action(
      run((context, flags: CollectionFlags & { withVector?: boolean }, ids: readonly string[]) =>
        get(context, flags, ids),
      ),
    );
  program
    .command('count')
    .description('count documents')
    .option('--filter <json>', 'only those that match; @file reads it')
    .option('--collection <name>', 'collection to count in')
    .action(run((context, flags: CollectionFlags & { filter?: string }) => count(context, flags)));
  program
    .command('delete')
    .argument('[id...]', 'ids of documents')
    .description('delete documents, by id or by filter')
    .option('--filter <json>', 'all that match; @file reads it')
    .option('--collection <name>', 'collection they are in')
    .action(
      run((context, flags: CollectionFlags & { filter?: string }, ids: readonly string[]) =>
        deleteDocuments(context, flags, ids),
      ),
    );
}

async function get(
  context: Context,
  flags: CollectionFlags & { withVector?: boolean },
  ids: readonly string[],
): Promise<number> {
  const missing: string[] = [];
  for (let at = 0; at < ids.length; at += IDS_MAX) {
    const options = { ...collectionOf(flags), withVector: flags.withVector === true, signal: context.host.signal };
    const answer = await context.client.getMany(ids.slice(at, at + IDS_MAX), options);
    missing.push(...answer.missing);
    for (const document of answer.documents)
      await context.output.result(document, () => documentText(document, context.output.columns));
  }
  for (const id of missing)
    context.output.note(
      context.output.json
        ? JSON.stringify({ error: { code: 'DOCUMENT_NOT_FOUND', id } })
        : `no document ${JSON.stringify(id)}`,
    );
  return missing.length === 0 ? EXIT.ok : EXIT.failed;
}

function documentText(document: Document, columns: number): string {
  const fields: [string, string][] = [['id', document.id]];
  if (document.title !== undefined) fields.push(['title', document.title]);
  if (document.content !== undefined) fields.push(['content', document.content]);
  if (document.metadata !== undefined) fields.push(['metadata', JSON.stringify(document.metadata)]);
  if (document.vector !== undefined) fields.push(['vector', JSON.stringify(document.vector)]);
  fields.push(['version', document.version]);
  return fields
    .map(([name, value]) => `${name.padEnd(10)}${name === 'vector' ? shortened(value, columns - 10) : value}`)
    .join('\n');
}

async function count(context: Context, flags: CollectionFlags & { filter?: string }): Promise<number> {
  const answer = await context.client.count(await filterArgument(flags.filter), {
    ...collectionOf(flags),
    signal: context.host.signal,
  });
  await context.output.result(answer, () => grouped(answer.count));
  return reportMissing(answer.shards.failed, context);
}

async function deleteDocuments(
  context: Context,
  flags: CollectionFlags & { filter?: string },
  ids: readonly string[],
): Promise<number> {
  const filter = await filterArgument(flags.filter);
  if ((ids.length === 0) === (filter === undefined)) throw new UsageError('say what to delete: ids, or --filter');
  const options = { ...collectionOf(flags), signal: context.host.signal };
  const total = { deleted: 0, failed: 0, errors: [] as { id: string; code: string; detail: string }[] };
  const answers =
    filter === undefined ? deleteIds(context, ids, options) : [await context.client.deleteByFilter(filter, options)];
  for await (const answer of answers) {
    total.deleted += answer.deleted;
    total.failed += answer.failed;
    total.errors.push(...answer.errors.slice(0, IDS_MAX - total.errors.length));
  }
  await context.output.result(total, () =>
    [
      `${grouped(total.deleted)} deleted, ${grouped(total.failed)} failed`,
      ...total.errors.map(({ id, code, detail }) => `  ${id}: ${code}: ${detail}`),
    ].join('\n'),
  );
  return total.failed === 0 ? EXIT.ok : EXIT.failed;
}

async function* deleteIds(
  context: Context,
  ids: readonly string[],
  options: CollectionFlags & { signal: AbortSignal },
) {
  for (let at = 0; at < ids.length; at += IDS_MAX)
    yield await context.client.deleteMany(ids.slice(at, at + IDS_MAX), options);
}

function collectionOf(flags: CollectionFlags): CollectionFlags {
  return flags.collection === undefined ? {} : { collection: flags.collection };
}
