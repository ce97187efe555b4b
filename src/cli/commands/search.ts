import type { Command } from 'commander';
import type { SearchMode, SearchRequest } from '../../client/index.js';
import { wholeNumber, type Context } from '../connection.js';
import { EXIT } from '../failure.js';
import { answerLine, explanationLines, hitTable } from '../hit-table.js';
import { filterArgument, vectorArgument } from '../json-argument.js';
import type { RunCommand } from '../run-command.js';
import { UsageError } from '../usage-error.js';

const MODES: readonly SearchMode[] = ['KEYWORD', 'VECTOR', 'HYBRID'];

interface SearchFlags {
  readonly text?: string;
  readonly vector?: string;
  readonly like?: string;
  readonly mode?: string;
  readonly topK: string;
  readonly offset?: string;
  readonly filter?: string;
  readonly collection?: string;
  readonly exact?: boolean;
  readonly explain?: boolean;
}

/** `spector search` */
export function searchCommand(program: Command, run: RunCommand): void {
  program
    .command('search')
    .argument('[text]', 'short for --text')
    .description('search by text, by vector, or by both')
    .option('--text <words>', 'words to find')
    .option('--vector <json>', 'a list of numbers; @file reads it, or the vector of a document in it')
    .option('--like <id>', 'the vector of a stored document')
    .option('--mode <mode>', 'keyword, vector or hybrid (default: by what is given)')
    .option('--top-k <count>', 'how many results', '10')
    .option('--offset <count>', 'how many results to leave out first')
    .option(
      '--filter <json>',
      'condition on metadata, e.g. {"must":[{"key":"pos","match":{"value":"noun"}}]}; @file reads it',
    )
    .option('--collection <name>', 'a collection or an alias')
    .option('--exact', 'scan everything instead of walking the graph')
    .option('--explain', 'tell how each result came to its score')
    .action(run((context, flags: SearchFlags, text: string | undefined) => search(context, flags, text)));
}

async function search(context: Context, flags: SearchFlags, argument: string | undefined): Promise<number> {
  if (argument !== undefined && flags.text !== undefined)
    throw new UsageError('give the text once: as an argument or with --text');
  if (flags.vector !== undefined && flags.like !== undefined) throw new UsageError('give --vector or --like, not both');
  const text = argument ?? flags.text;
  const vector = await searchVector(context, flags);
  if (text === undefined && vector === undefined)
    throw new UsageError('nothing to search for: give a text, --vector or --like');
  const mode = searchMode(flags.mode);
  const filter = await filterArgument(flags.filter);
  const offset = flags.offset === undefined ? 0 : wholeNumber('--offset', flags.offset, 0, 10_000);
  const request: SearchRequest = {
    ...(text === undefined ? {} : { text }),
    ...(vector === undefined ? {} : { vector }),
    ...(mode === undefined ? {} : { mode }),
    topK: wholeNumber('--top-k', flags.topK, 1, 10_000),
    ...(offset === 0 ? {} : { offset }),
    ...(filter === undefined ? {} : { filter }),
    ...(flags.collection === undefined ? {} : { collection: flags.collection }),
    withContent: true,
    ...(flags.exact === true ? { params: { exact: true } } : {}),
    ...(flags.explain === true ? { explain: true } : {}),
  };
  const answer = await context.client.search(request, { signal: context.host.signal });
  await context.output.result(answer, () => {
    const parts = [hitTable(answer, context.output.columns, offset + 1), '', answerLine(answer)];
    if (flags.explain === true) parts.push('', explanationLines(answer));
    return parts.join('\n');
  });
  return EXIT.ok;
}

async function searchVector(context: Context, flags: SearchFlags): Promise<readonly number[] | undefined> {
  if (flags.vector !== undefined) return vectorArgument(flags.vector);
  if (flags.like === undefined) return undefined;
  const collection = flags.collection === undefined ? {} : { collection: flags.collection };
  const { vector } = await context.client.get(flags.like, {
    withVector: true,
    ...collection,
    signal: context.host.signal,
  });
  if (vector === undefined) throw new UsageError(`the document ${JSON.stringify(flags.like)} has no vector`);
  return vector;
}

function searchMode(text: string | undefined): SearchMode | undefined {
  if (text === undefined) return undefined;
  const mode = MODES.find((one) => one === text.toUpperCase());
  if (mode === undefined) throw new UsageError(`--mode takes keyword, vector or hybrid, not ${JSON.stringify(text)}`);
  return mode;
}
