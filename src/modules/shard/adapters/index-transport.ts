import { Worker } from 'node:worker_threads';
import type { IndexReply, ReplyMessage, RequestMessage } from '../core/index-messages.js';
import { answersIn } from '../core/search-answer.js';
import { IndexLoop } from './index-loop.js';
import { LocalIndexHost, type LocalIndexHostPorts } from './local-index-host.js';

/**
 * What an index keeps lies outside of the engine's heap, and what a search leaves behind is small: a larger nursery would
 * only be memory that is touched once.
 */
const YOUNG_GENERATION_MB = 12;

/** The way to an index thread and back. */
export interface IndexTransport {
  /** Memory in `transfer` changes hands. */
  post(message: RequestMessage, transfer: readonly ArrayBuffer[]): void;
  /** Ends the thread; nothing is replied any more. */
  close(): Promise<void>;
}

export interface IndexTransportEvents {
  replies(replies: readonly IndexReply[]): void;
  /** The thread ended by itself. */
  died(error: Error): void;
}

export type OpenIndexTransport = (events: IndexTransportEvents) => IndexTransport;

/** INDEX_THREADS=0: the loop runs in this thread. */
export function inlineTransport(ports: LocalIndexHostPorts): OpenIndexTransport {
  return (events) => {
    const loop = new IndexLoop(new LocalIndexHost(ports), ports.clock, (message) => events.replies(unpack(message)));
    return {
      post: (message) => loop.deliver(message),
      close: () => {
        loop.close();
        return Promise.resolve();
      },
    };
  };
}

/** A worker thread of its own. */
export function workerTransport(name: string): OpenIndexTransport {
  return (events) => {
    const worker = new Worker(new URL('./index-worker.js', import.meta.url), {
      name,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    let ended = false;
    const die = (error: Error): void => {
      if (ended) return;
      ended = true;
      events.died(error);
    };
    worker.on('message', (message: ReplyMessage) => events.replies(unpack(message)));
    worker.on('messageerror', (error) => {
      die(error);
      void worker.terminate();
    });
    worker.on('error', (error) => die(error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', (code) => die(new Error(`${name} ended with code ${code}`)));
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      close: async () => {
        ended = true;
        await worker.terminate();
      },
    };
  };
}

function unpack({ replies, searches, ends, bytes }: ReplyMessage): readonly IndexReply[] {
  if (bytes === undefined) return replies;
  const view = new DataView(bytes.buffer);
  const all = [...replies];
  for (let i = 0; i < searches.length; i++)
    all.push({ id: searches[i], kind: 'search', answer: answersIn(view, i === 0 ? 0 : ends[i - 1], ends[i]) });
  return all;
}
