import { parentPort } from 'node:worker_threads';
import { assert } from '../../../kernel/assert.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { IdleMemory, threadMemory } from '../../../platform/resources/idle-memory.js';
import type { IndexReply, ReplyMessage, RequestMessage } from '../core/index-messages.js';
import type { ShardSearchAnswer } from '../core/search.js';
import { SearchPacker } from '../core/search-columns.js';
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
const packer = new SearchPacker();
const host = new LocalIndexHost({ hasher: nodeHasher, clock, indexes: vectorIndexes });
const loop = new IndexLoop(host, clock, (replies) => {
  const others: IndexReply[] = [];
  const searches: number[] = [];
  for (const reply of replies) {
    if ('answer' in reply && reply.kind === 'search') {
      searches.push(reply.id);
      packer.add(reply.answer as readonly ShardSearchAnswer[]);
    } else {
      others.push(reply);
    }
  }
  const packed = searches.length === 0 ? undefined : packer.take();
  const message: ReplyMessage = { replies: others, searches, packed };
  port.postMessage(message, packed === undefined ? [] : [packed.numbers.buffer]);
});
new IdleMemory(threadMemory(trimMemory)).start();
port.on('message', (message: RequestMessage) => loop.deliver(message));
