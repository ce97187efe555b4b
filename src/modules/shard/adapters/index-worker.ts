import { parentPort } from 'node:worker_threads';
import { assert } from '../../../kernel/assert.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { IdleMemory, threadMemory } from '../../../platform/resources/idle-memory.js';
import type { RequestMessage } from '../core/index-messages.js';
import { trimMemory } from './native-vector-index.js';
import { vectorIndexes } from './vector-indexes.js';
import { IndexLoop } from './index-loop.js';
import { LocalIndexHost } from './local-index-host.js';

/**
 * The entry point of an index thread: a host, its loop, and the port to the main thread. An error nobody expected ends
 * the thread; the main thread starts another one, which reloads from checkpoint and log.
 */
const port = parentPort;
assert(port !== null, 'index-worker runs in a worker thread');

const clock = { monotonicMs: () => performance.now() };
const host = new LocalIndexHost({ hasher: nodeHasher, clock, indexes: vectorIndexes });
const loop = new IndexLoop(host, clock, (message) =>
  port.postMessage(message, message.bytes === undefined ? [] : [message.bytes.buffer]),
);
new IdleMemory(threadMemory(trimMemory)).start();
port.on('message', (message: RequestMessage) => loop.deliver(message));
