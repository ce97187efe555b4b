import { fileURLToPath } from 'node:url';
import { SpectorClient } from '../../client/index.js';
import type { Context } from '../connection.js';
import { answerLine, hitTable } from '../hit-table.js';
import { runIngest } from '../ingest/ingest-run.js';
import { openFile } from '../ingest/input.js';
import { type Exit, NodeProcess } from '../processes/node-process.js';
import { TemporaryDirectory } from '../processes/temporary-directory.js';
import { Progress } from '../progress.js';
import { duration, grouped } from '../units.js';
import { DEMO_SEARCHES, runDemoSearch } from './demo-searches.js';
import { freePort } from './free-port.js';

const CORPUS = fileURLToPath(new URL('../../../examples/wordnet/wordnet-10k.ndjson.gz', import.meta.url));
/** The documented ports, taken when they are free. */
const HTTP_PORT = 7070;
const GRPC_PORT = 9090;
const READY_TIMEOUT_MS = 60_000;
/** A node may take DRAIN_TIMEOUT (25 s) to end; then it is killed. */
const STOP_GRACE_MS = 30_000;
const POLL_INTERVAL_MS = 50;

/**
 * The main job, shown on real documents: a node in a process of its own on a fresh data directory, the corpus loaded,
 * a search of each kind; then the node stays until the user ends it. Leaves no process and no file behind.
 */
export async function runDemo(context: Context, once: boolean): Promise<void> {
  const directory = await TemporaryDirectory.make('spector-demo-');
  const nodes: NodeProcess[] = [];
  try {
    await show(context, directory, nodes, once);
  } finally {
    for (const node of nodes) await node.stop(STOP_GRACE_MS);
    await directory.remove();
  }
}

async function show(
  context: Context,
  directory: TemporaryDirectory,
  nodes: NodeProcess[],
  once: boolean,
): Promise<void> {
  const { output, host } = context;
  await tell(context, { event: 'starting', directory: directory.path }, `Starting a node on ${directory.path} …`);
  const node = await startNode(directory.path);
  nodes.push(node);
  const client = new SpectorClient({ nodes: node.url, timeoutMs: 60_000 });
  await ready(client, node, host.signal);
  await tell(context, { event: 'ready', url: node.url, pid: node.pid }, `The node is ready: ${node.url}\n`);

  const loaded = await orExit(node, load(context, client));
  await tell(
    context,
    { event: 'loaded', ...loaded },
    `Loaded ${grouped(loaded.documents)} documents in ${duration(loaded.ms)} (${grouped(loaded.rate)}/s), each durable and searchable.\n`,
  );

  for (const search of DEMO_SEARCHES) {
    const answer = await orExit(node, runDemoSearch(client, search, host.signal));
    if (answer.results.length === 0) throw new Error(`the ${search.name} search of the demo found nothing`);
    await tell(
      context,
      { event: 'search', name: search.name, answer },
      `${search.sentence}\n\n${hitTable(answer, output.columns)}\n\n${answerLine(answer)}\n`,
    );
  }
  if (once) return;
  await tell(context, { event: 'waiting', url: node.url }, nextCommands(node.url));
  await untilInterrupted(node, host.signal);
  output.note('Stopping the node …');
}

function tell({ output }: Context, event: object, text: string): Promise<void> {
  return output.result(event, () => text);
}

/** A node on the documented ports, or on others when these are taken, or are taken in the meantime. */
async function startNode(directory: string): Promise<NodeProcess> {
  const options = { directory, args: ['--node-id', 'node-1'], env: { SPECTOR_LOG_LEVEL: 'warn' } };
  const httpPort = await freePort(HTTP_PORT);
  const grpcPort = await freePort(GRPC_PORT);
  try {
    return await NodeProcess.start({ ...options, httpPort, grpcPort });
  } catch (error) {
    if ((httpPort === 0 && grpcPort === 0) || !(error instanceof Error && error.message.includes('EADDRINUSE')))
      throw error;
    return NodeProcess.start(options);
  }
}

async function ready(client: SpectorClient, node: NodeProcess, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const probe = await orExit(node, client.readyz({ signal }));
    if (probe.ok) return;
    if (performance.now() > deadline)
      throw new Error(`the node was not ready within ${duration(READY_TIMEOUT_MS)}: ${JSON.stringify(probe.body)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
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

/** The result of a step, or an error that shows what the node printed when it ended meanwhile. */
async function orExit<T>(node: NodeProcess, step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (node.exit === undefined) throw error;
    throw ended(node, node.exit);
  }
}

async function untilInterrupted(node: NodeProcess, signal: AbortSignal): Promise<void> {
  const interrupted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const exit = await Promise.race([interrupted, node.exited]);
  if (exit !== undefined && !signal.aborted) throw ended(node, exit);
}

function ended(node: NodeProcess, { code, signal }: Exit): Error {
  return new Error(`the node ended by itself (${signal ?? `exit code ${code}`}):\n${node.output.trimEnd()}`);
}

function nextCommands(url: string): string {
  const flag = url === `http://127.0.0.1:${HTTP_PORT}` ? '' : ` --url ${url}`;
  return `The node keeps running at ${url} until Ctrl-C. In another terminal, try:

  npx spector search${flag} "giant planet"
  npx spector search${flag} --like n09490547 --filter '{"must":[{"key":"pos","match":{"value":"noun"}}]}'
  npx spector search${flag} "violin" --like n10774588 --explain
  npx spector get${flag} n09490547
  npx spector status${flag}
  curl -s ${url}/api/v1/search -H 'content-type: application/json' -d '{"text":"extinct volcano","topK":3}'
  curl -s ${url}/api/v1/status

  ${url}/docs describes every call.
`;
}
