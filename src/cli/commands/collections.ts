import type { Command } from 'commander';
import type { Collection, CollectionSettings, Similarity } from '../../client/index.js';
import { wholeNumber, type Context } from '../connection.js';
import { EXIT } from '../failure.js';
import type { RunCommand } from '../run-command.js';
import { table } from '../table.js';
import { grouped } from '../units.js';
import { UsageError } from '../usage-error.js';

interface CreateFlags {
  readonly dimensions?: string;
  readonly similarity?: string;
  readonly m?: string;
  readonly efConstruction?: string;
  readonly efSearch?: string;
}

/** `spector collections [list|create|drop]` */
export function collectionsCommand(program: Command, run: RunCommand): void {
  const collections = program.command('collections').description('show, make and drop collections');
  collections.command('list', { isDefault: true }).description('show all collections').action(run(list));
  collections
    .command('create')
    .argument('<name>')
    .description('make a collection; equal settings are no error')
    .option('--dimensions <count>', 'of its vectors (default: those of the first one)')
    .option('--similarity <kind>', 'cosine, dot or euclidean')
    .option('--m <links>', 'links per node of the vector index, 4-64')
    .option('--ef-construction <width>', 'search width while building, 16-800')
    .option('--ef-search <width>', 'default search width, 10-1000')
    .action(run((context, flags: CreateFlags, name: string) => create(context, flags, name)));
  collections
    .command('drop')
    .argument('<name>')
    .description('drop a collection with all its documents')
    .action(run((context, _flags: object, name: string) => drop(context, name)));
}

async function list(context: Context): Promise<number> {
  const all = await context.client.collections.list({ signal: context.host.signal });
  await context.output.result(all, () => collectionTable(all));
  return EXIT.ok;
}

async function create(context: Context, flags: CreateFlags, name: string): Promise<number> {
  const collection = await context.client.collections.put(name, settings(flags), { signal: context.host.signal });
  await context.output.result(collection, () => collectionTable([collection]));
  return EXIT.ok;
}

async function drop(context: Context, name: string): Promise<number> {
  await context.client.collections.delete(name, { signal: context.host.signal });
  await context.output.result({ name, dropped: true }, () => `dropped ${name}`);
  return EXIT.ok;
}

function settings(flags: CreateFlags): CollectionSettings {
  const hnsw = {
    ...(flags.m === undefined ? {} : { m: wholeNumber('--m', flags.m, 4, 64) }),
    ...(flags.efConstruction === undefined
      ? {}
      : { efConstruction: wholeNumber('--ef-construction', flags.efConstruction, 16, 800) }),
    ...(flags.efSearch === undefined ? {} : { efSearch: wholeNumber('--ef-search', flags.efSearch, 10, 1_000) }),
  };
  return {
    ...(flags.dimensions === undefined ? {} : { dimensions: wholeNumber('--dimensions', flags.dimensions, 1, 4_096) }),
    ...(flags.similarity === undefined ? {} : { similarity: similarity(flags.similarity) }),
    ...(Object.keys(hnsw).length === 0 ? {} : { hnsw }),
  };
}

function similarity(text: string): Similarity {
  if (text === 'cosine' || text === 'dot' || text === 'euclidean') return text;
  throw new UsageError(`--similarity takes cosine, dot or euclidean, not ${JSON.stringify(text)}`);
}

function collectionTable(all: readonly Collection[]): string {
  return table(
    [
      { head: 'name', widthMax: 63 },
      { head: 'documents', align: 'right' },
      { head: 'dimensions', align: 'right' },
      { head: 'similarity' },
      { head: 'index' },
    ],
    all.map(({ name, documents, missingShards, dimensions, similarity: kind, hnsw }) => [
      name,
      missingShards === undefined
        ? grouped(documents)
        : `${grouped(documents)} without shard ${missingShards.join(', ')}`,
      dimensions ?? '-',
      kind,
      `m ${hnsw.m}, efConstruction ${hnsw.efConstruction}, efSearch ${hnsw.efSearch}`,
    ]),
  );
}
