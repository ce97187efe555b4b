/**
 * Tells where the logs in a data directory end, as JSON: `node bench/lib/log-ends.mjs <build> <data directory>`. Of a
 * node that does not run, and in a process of its own, so that the database is let go whatever happens.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/**
 * @typedef {{ shard: number, tail: number, bytes: number }} LogEnd
 * @param {string} main the node's main file @param {string} dataDirectory
 * @returns {Promise<LogEnd[]>} without the map's
 */
export function logEnds(main, dataDirectory) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), dirname(main), dataDirectory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`the log could not be read: ${code}`)),
    );
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , build, dataDirectory] = process.argv;
  const load = (/** @type {string} */ file) => import(pathToFileURL(join(build, file)).href);
  const { LevelLogStore } = await load('modules/log/adapters/level-log-store.js');
  const { nodeHasher } = await load('platform/crypto/node-hasher.js');
  const { META_SHARD } = await load('kernel/ids.js');
  const log = await LevelLogStore.open({
    directory: join(dataDirectory, 'log'),
    fsync: { kind: 'os' },
    hasher: nodeHasher,
    regressed: 'report',
    onFailure: (/** @type {Error} */ error) => console.error(error.message),
    onWarning: (/** @type {string} */ message) => console.error(message),
  });
  const ends = log
    .shards()
    .filter((/** @type {number} */ shard) => shard !== META_SHARD)
    .map((/** @type {number} */ shard) => {
      const { tail, bytes } = log.state(shard);
      return { shard, tail, bytes };
    });
  await log.close();
  console.log(JSON.stringify(ends));
}
