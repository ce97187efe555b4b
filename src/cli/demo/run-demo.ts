import { fileURLToPath } from 'node:url';
import type { SpectorClient } from '../../client/index.js';
import { statusText } from '../commands/status.js';
import type { Context } from '../connection.js';
import { answerLine, hitTable } from '../hit-table.js';
import { runIngest } from '../ingest/ingest-run.js';
import { openFile } from '../ingest/input.js';
import { TemporaryDirectory } from '../processes/temporary-directory.js';
import { Progress } from '../progress.js';
import { duration, grouped } from '../units.js';
import { DemoCluster, REPLICAS, SHARDS, type DemoNode } from './demo-cluster.js';
import { DEMO_SEARCHES, runDemoSearch } from './demo-searches.js';
import { showFailure } from './failure-show.js';

const CORPUS = fileURLToPath(new URL('../../../examples/wordnet/wordnet-10k.ndjson.gz', import.meta.url));
const DEFAULT_URL = 'http://127.0.0.1:7070';

/**
 * The main job, shown on real documents: three nodes in processes of their own on fresh data directories, the corpus
 * loaded through one and searched through another, one killed and back; then the cluster stays until the user ends it.
 * Leaves no process and no file behind.
 */
export async function runDemo(context: Context, once: boolean): Promise<void> {
  const directory = await TemporaryDirectory.make('spector-demo-');
  let cluster: DemoCluster | undefined;
  try {
    await tell(
      context,
      { event: 'starting', directory: directory.path },
      `Starting three nodes on ${directory.path} …`,
    );
    const startedMs = performance.now();
    cluster = await DemoCluster.start(directory.path);
    await show(context, cluster, startedMs, once);
  } finally {
    await cluster?.stop();
    await directory.remove();
  }
}

async function show(context: Context, cluster: DemoCluster, startedMs: number, once: boolean): Promise<void> {
  const { output, host } = context;
  const status = await cluster.whole(host.signal);
  const [first, second] = cluster.nodes;
  await tell(
    context,
    { event: 'ready', nodes: cluster.nodes.map(({ id, url, pid }) => ({ id, url, pid })) },
    `One cluster after ${duration(performance.now() - startedMs)}: ${SHARDS} shards, each with a primary and ${REPLICAS} replicas, all in sync.\n\n${statusText(status)}\n`,
  );

  const loaded = await cluster.guard(load(context, first.client));
  await tell(
    context,
    { event: 'loaded', through: first.id, ...loaded },
    `Loaded ${grouped(loaded.documents)} documents through ${first.id} in ${duration(loaded.ms)} (${grouped(loaded.rate)}/s), each acknowledged by a majority of its copies.\n`,
  );
  await cluster.whole(host.signal);

  for (const search of DEMO_SEARCHES) {
    const answer = await cluster.guard(runDemoSearch(second.client, search, host.signal));
    if (answer.results.length === 0) throw new Error(`the ${search.name} search of the demo found nothing`);
    await tell(
      context,
      { event: 'search', name: search.name, through: second.id, answer },
      `${search.sentence} (asked ${second.id})\n\n${hitTable(answer, output.columns)}\n\n${answerLine(answer)}\n`,
    );
  }

  const { writesLost } = await showFailure(context, cluster);
  if (writesLost > 0) throw new Error(`${writesLost} acknowledged writes are not in the cluster any more`);
  if (once) return;
  await tell(context, { event: 'waiting', urls: cluster.nodes.map(({ url }) => url) }, nextCommands(cluster.nodes));
  await untilInterrupted(cluster, host.signal);
  output.note('Stopping the nodes …');
}

function tell({ output }: Context, event: object, text: string): Promise<void> {
  return output.result(event, () => text);
}

async function load(
  { host }: Context,
  client: SpectorClient,
): Promise<{ documents: number; ms: number; rate: number }> {
  const input = await openFile(CORPUS, 0);
  const progress = new Progress(host.stderr, 'Loading WordNet');
  const startedMs = performance.now();
  let documents = 0;
  try {
    await runIngest({
      client,
      chunks: input.chunks,
      collection: undefined,
      batch: 250,
      concurrency: 2,
      run: 'demo',
      start: { line: 0, offset: 0 },
      signal: host.signal,
      settled: ({ success, failures }) => {
        documents = success;
        progress.update(success, input.fraction());
        if (failures.length === 0) return Promise.resolve();
        return Promise.reject(
          new Error(`line ${failures[0].line} of the corpus was refused: ${failures[0].code}: ${failures[0].detail}`),
        );
      },
    });
    progress.stop(true);
  } catch (error) {
    progress.stop(false);
    throw error;
  } finally {
    input.close();
  }
  const ms = performance.now() - startedMs;
  return { documents, ms: Math.round(ms), rate: Math.round((documents / ms) * 1_000) };
}

async function untilInterrupted(cluster: DemoCluster, signal: AbortSignal): Promise<void> {
  const interrupted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([interrupted, cluster.watch()]);
}

function nextCommands(nodes: readonly DemoNode[]): string {
  const [first, second, third] = nodes;
  const flag = first.url === DEFAULT_URL ? '' : ` --url ${first.url}`;
  return `The cluster keeps running until Ctrl-C:
${nodes.map(({ id, url, pid }) => `  ${id}  ${url}  (pid ${pid})`).join('\n')}

In another terminal, try:

  npx spector status${flag}
  npx spector search${flag} "giant planet"
  npx spector search --url ${second.url} --like n09490547 --filter '{"must":[{"key":"pos","match":{"value":"noun"}}]}'
  npx spector search --url ${third.url} "violin" --like n10774588 --explain
  npx spector move-primary${flag} 0 ${second.id}
  npx spector cluster${flag}
  npx spector shards${flag} --digest
  curl -s ${first.url}/api/v1/search -H 'content-type: application/json' -d '{"text":"extinct volcano","topK":3}'
  curl -sN ${first.url}/api/v1/events?filter=cluster

  ${first.url}/docs describes every call.
`;
}
