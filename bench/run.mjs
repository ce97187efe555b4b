import { catchUp } from './benches/catch-up.mjs';
import { clusterIngest } from './benches/cluster-ingest.mjs';
import { clusterSearch } from './benches/cluster-search.mjs';
import { failover } from './benches/failover.mjs';
import { ingest } from './benches/ingest.mjs';
import { ingestLatency } from './benches/ingest-latency.mjs';
import { memory } from './benches/memory.mjs';
import { micro } from './benches/micro.mjs';
import { rebalance } from './benches/rebalance.mjs';
import { recall } from './benches/recall.mjs';
import { restart } from './benches/restart.mjs';
import { scaling } from './benches/scaling.mjs';
import { search } from './benches/search.mjs';
import { slowNode } from './benches/slow-node.mjs';
import { dropCache } from './lib/corpus.mjs';
import { cleanUp } from './lib/node.mjs';
import { parseOptions, USAGE } from './lib/options.mjs';
import { quietMachine } from './lib/process-stats.mjs';
import { machine, machineText, save, table } from './lib/report.mjs';

/**
 * @typedef {object} Context
 * @property {import('./lib/options.mjs').Options} options
 * @property {Set<string>} given names of the options that were given
 * @property {(text: string) => void} progress
 * @property {(text: string) => void} print
 * @property {() => Promise<void>} quiet waits for a quiet machine, as long as --wait says
 */

/** @type {Record<string, { run: (context: Context) => Promise<import('./lib/report.mjs').Row[]>, what: string }>} */
const BENCHES = {
  micro: { run: micro, what: 'limits of the machine without the node: HNSW in one thread, bare HTTP, a synced write' },
  ingest: { run: ingest, what: 'durable, searchable NDJSON bulk ingest' },
  search: { run: search, what: 'every kind of search under load, with recall' },
  'ingest-latency': { run: ingestLatency, what: "one client's searches during ingest at full speed" },
  restart: { run: restart, what: 'from spawn to the first right answer' },
  memory: { run: memory, what: 'resident bytes a document' },
  recall: { run: recall, what: 'recall@10 at defaults for several shard counts, clustered and WordNet' },
  'cluster-search': { run: clusterSearch, what: 'hybrid search of three nodes, with recall and CPU a query and node' },
  'cluster-ingest': {
    run: clusterIngest,
    what: 'bulk ingest at quorum, and when a write is in the index of every copy',
  },
  failover: {
    run: failover,
    what: 'a primary killed again and again under load: promotion, losses, bytes of the return',
  },
  'catch-up': { run: catchUp, what: 'a node that was away during many writes: its stream, its snapshot' },
  rebalance: { run: rebalance, what: 'a node joins and is drained under load: copies moved, nothing lost or doubled' },
  'slow-node': { run: slowNode, what: 'one of three nodes stops and goes: memory and queues of the others' },
  scaling: { run: scaling, what: 'search of one, two and three nodes beside a straight line' },
};

const { name, options, given } = parseOptions(process.argv.slice(2));
if (name === 'clean') {
  dropCache();
} else if (name === undefined || (name !== 'all' && BENCHES[name] === undefined)) {
  console.log(`${USAGE}\nNames:`);
  for (const [known, { what }] of Object.entries(BENCHES)) console.log(`  ${known.padEnd(15)} ${what}`);
  console.log(`  ${'all'.padEnd(15)} each of them\n  ${'clean'.padEnd(15)} remove the cached corpora`);
  process.exitCode = name === undefined ? 0 : 2;
} else {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, () => {
      cleanUp();
      process.exit(130);
    });
  }
  /** @type {Context} */
  const context = {
    options,
    given,
    progress: (text) => {
      if (!options.quiet) console.error(`· ${text}`);
    },
    print: (text) => console.log(text),
    quiet: async () => {
      if (!(await quietMachine(options.wait)))
        context.progress('the machine is busy with other things; measuring all the same');
    },
  };
  try {
    for (const chosen of name === 'all' ? Object.keys(BENCHES) : [name]) await runOne(chosen, context);
  } finally {
    cleanUp();
  }
}

/** @param {string} chosen @param {Context} context */
async function runOne(chosen, context) {
  const before = machine();
  const startedAt = new Date().toISOString();
  const rows = await BENCHES[chosen].run(context);
  const after = machine();
  const file = save(chosen, {
    bench: chosen,
    startedAt,
    options: context.options,
    machine: before,
    loadAverageAfter: after.loadAverage,
    rows,
  });
  console.log(`\n${chosen}: ${BENCHES[chosen].what}`);
  console.log(`${machineText(before)} before, ${after.loadAverage.join(' ')} after`);
  console.log(`${table(rows)}\n${file}\n`);
}
