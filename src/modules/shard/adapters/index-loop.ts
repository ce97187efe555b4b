import { unreachable } from '../../../kernel/assert.js';
import type { Clock } from '../../../kernel/clock.js';
import {
  CheckpointDamagedError,
  ShardNotOpenError,
  type CheckpointRef,
  type IndexHost,
  type WrittenCheckpoint,
} from '../core/index-host.js';
import type { IndexFailure, IndexReply, IndexRequest, ReplyMessage, RequestMessage } from '../core/index-messages.js';
import { SearchAnswerWriter } from '../core/search-answer-writer.js';
import { unpackSearches } from '../core/packed-searches.js';
import { decodeSearch } from '../core/search-wire.js';
import { EntryRefusedError } from '../core/shard-index.js';

/** Milliseconds a turn gives to reading, to applying or to rebuilding, before it looks for new messages. */
const SLICE_MS = 2;
/** A shard is far behind when more bytes of entries than these wait for its index: about half a second of work. */
const FAR_BYTES = 1024 * 1024;
/** Of so many turns that another shard could use one is kept. */
const TURNS_KEPT = 4;

type ReadRequest = Extract<IndexRequest, { kind: 'search' | 'statistics' | 'count' | 'scroll' | 'keys' }>;
type ApplyRequest = Extract<IndexRequest, { kind: 'apply' }>;
type CheckRequest = Extract<IndexRequest, { kind: 'check' }>;

/**
 * The loop of an index thread over its host. Reads go first and in order; then one slice of applying or, when graphs
 * are to be rebuilt, of that (two of it for each of applying, so that the rebuild ends however fast new labels come).
 * A saturating load of reads leaves half of the time to the slices. Checks of loaded shards take the turns that nothing
 * else needs. Between turns new messages come in.
 *
 * Shards take turns to apply. Of those that are far behind the one nearest to its end gets three of four turns of the
 * others: copies that are built at once are in sync one after the other, not all of them last, and none waits for good.
 *
 * Order per shard is kept: frames are applied in the order they came. While a checkpoint of a shard is written its
 * frames wait.
 */
export class IndexLoop {
  readonly #host: IndexHost;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #reply: (message: ReplyMessage) => void;
  readonly #reads = new Map<number, ReadRequest>();
  readonly #applies = new Map<number, ApplyQueue>();
  /** By shard. */
  readonly #checks = new Map<number, CheckRequest>();
  readonly #saving = new Set<number>();
  #replies: IndexReply[] = [];
  /** Answered since the last message left, and where the answer of each ends among those written. */
  #searches: number[] = [];
  #ends: number[] = [];
  readonly #answers = new SearchAnswerWriter();
  #scheduled: NodeJS.Immediate | undefined;
  #slices = 0;
  /** Turns of shards far behind that another one could use. */
  #lent = 0;
  #closed = false;

  constructor(host: IndexHost, clock: Pick<Clock, 'monotonicMs'>, reply: (message: ReplyMessage) => void) {
    this.#host = host;
    this.#clock = clock;
    this.#reply = reply;
  }

  deliver({ requests, cancelled, searches }: RequestMessage): void {
    for (const request of requests) this.#accept(request);
    if (searches !== undefined) for (const request of unpackSearches(searches)) this.#accept(request);
    for (const id of cancelled) this.#reads.delete(id);
    this.#schedule();
  }

  /** Stops; what is queued stays unanswered. */
  close(): void {
    this.#closed = true;
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    this.#reads.clear();
    this.#applies.clear();
    this.#checks.clear();
    this.#host.close();
  }

  #accept(request: IndexRequest): void {
    switch (request.kind) {
      case 'search':
      case 'statistics':
      case 'count':
      case 'scroll':
      case 'keys':
        this.#reads.set(request.id, request);
        return;
      case 'apply':
        this.#enqueue(request);
        return;
      case 'check':
        this.#checks.set(request.shard, request);
        return;
      case 'checkpoint':
        void this.#checkpoint(request);
        return;
      case 'define':
        this.#answer(request, () => this.#host.defineCollections(request.collections));
        return;
      case 'drop':
        this.#answer(request, () => this.#host.dropCollection(request.collectionId));
        return;
      case 'open':
        this.#answer(request, () => this.#host.openShard(request.shard, request.checkpoint));
        return;
      case 'close':
        this.#close(request.shard);
        this.#answer(request, () => this.#host.closeShard(request.shard));
        return;
      case 'hold':
        this.#refuse(request.shard, this.#applies.get(request.shard)?.requests);
        this.#applies.delete(request.shard);
        this.#answer(request, () => this.#host.abandon(request.shard));
        return;
      case 'rewind':
        this.#answer(request, () => {
          this.#host.rewind(request.shard, request.offset);
          return this.#host.applied(request.shard);
        });
        return;
      case 'forget':
        this.#answer(request, () => this.#host.forget(request.shard, request.documents));
        return;
      case 'size':
        this.#answer(request, () => this.#host.checkpointBytes(request.shard));
        return;
      case 'digest':
        this.#answer(request, () => ({
          offset: this.#host.applied(request.shard),
          digest: this.#host.digest(request.shard, request.recompute),
        }));
        return;
      case 'inspect':
        this.#answer(request, () => this.#host.statistics().shards);
        return;
      default:
        unreachable(request);
    }
  }

  #turn(): void {
    this.#scheduled = undefined;
    const end = this.#clock.monotonicMs() + SLICE_MS;
    for (const [id, request] of this.#reads) {
      this.#reads.delete(id);
      if (request.kind === 'search') this.#search(request);
      else this.#answer(request, () => this.#read(request));
      if (this.#clock.monotonicMs() >= end) break;
    }
    // Answers leave before the slice, so that nobody waits for it.
    this.#flush();
    const applying = this.#nextApply();
    const rebuilding = this.#host.needsWork;
    if (applying !== undefined && (!rebuilding || this.#slices++ % 3 === 0)) this.#applySlice(applying);
    else if (rebuilding) this.#host.work(SLICE_MS);
    else if (this.#reads.size === 0) this.#checkSlice();
    this.#flush();
    const waiting = this.#reads.size + this.#checks.size;
    if (waiting > 0 || this.#nextApply() !== undefined || this.#host.needsWork) this.#schedule();
  }

  #schedule(): void {
    if (!this.#closed) this.#scheduled ??= setImmediate(() => this.#turn());
  }

  #search({ id, shards, search }: Extract<ReadRequest, { kind: 'search' }>): void {
    const before = this.#answers.length;
    try {
      this.#host.search({ ...decodeSearch(search), shards }, this.#answers);
      this.#searches.push(id);
      this.#ends.push(this.#answers.length);
    } catch (error) {
      this.#answers.backTo(before);
      this.#replies.push({ id, error: failureOf(error) });
    }
  }

  #read(request: Exclude<ReadRequest, { kind: 'search' }>): unknown {
    const host = this.#host;
    switch (request.kind) {
      case 'statistics':
        return host.keywordStatistics(request.shard, request.collectionId, request.terms);
      case 'count':
        return host.count(request.shard, request.collectionId, request.filter);
      case 'scroll':
        return host.scroll(request.shard, request.collectionId, request.filter, request.after, request.limit);
      case 'keys':
        return host.attributeKeys(request.shard, request.collectionId);
      default:
        return unreachable(request);
    }
  }

  #enqueue(request: ApplyRequest): void {
    let queue = this.#applies.get(request.shard);
    if (queue === undefined) {
      queue = { requests: [], begun: false, bytes: 0, behind: 0 };
      this.#applies.set(request.shard, queue);
    }
    queue.requests.push(request);
    queue.bytes += request.frames.length;
    queue.behind = request.behind ?? 0;
  }

  /** The shard whose turn it is to apply: the first that can. A shard goes to the back after its slice. */
  #nextApply(): number | undefined {
    for (const shard of this.#applies.keys()) if (!this.#saving.has(shard)) return shard;
    return undefined;
  }

  /** The shard that gets the turn of one that is far behind: mostly the one of those that is nearest to its end. */
  #heirOf(turn: number, owner: ApplyQueue): number {
    let [nearest, least] = [turn, backlogOf(owner)];
    for (const [shard, queue] of least > FAR_BYTES ? this.#applies : []) {
      const backlog = backlogOf(queue);
      if (backlog > FAR_BYTES && backlog < least && !this.#saving.has(shard)) [nearest, least] = [shard, backlog];
    }
    return nearest === turn || ++this.#lent % TURNS_KEPT === 0 ? turn : nearest;
  }

  #applySlice(turn: number): void {
    const owner = this.#applies.get(turn);
    if (owner === undefined) return;
    // Who had its turn goes to the back, whoever used it.
    this.#applies.delete(turn);
    this.#applies.set(turn, owner);
    const shard = this.#heirOf(turn, owner);
    const queue = this.#applies.get(shard) ?? owner;
    const end = this.#clock.monotonicMs() + SLICE_MS;
    for (let left = SLICE_MS; queue.requests.length > 0 && left > 0; left = end - this.#clock.monotonicMs()) {
      const [request] = queue.requests;
      try {
        const done = queue.begun
          ? this.#host.continueApply(shard, left)
          : this.#host.apply(shard, request.frames, left, request.loose);
        queue.begun = !done;
        if (!done) break;
        shift(queue);
        this.#replies.push({ id: request.id, kind: 'apply', answer: this.#host.applied(shard) });
      } catch (error) {
        queue.begun = false;
        shift(queue);
        this.#replies.push({ id: request.id, error: failureOf(error) });
      }
    }
    if (queue.requests.length === 0) this.#applies.delete(shard);
  }

  #checkSlice(): void {
    for (const [shard, request] of this.#checks) {
      try {
        const answer = this.#host.check(shard, SLICE_MS);
        if (answer === undefined) return;
        this.#replies.push({ id: request.id, kind: 'check', answer });
      } catch (error) {
        this.#replies.push({ id: request.id, error: failureOf(error) });
      }
      this.#checks.delete(shard);
      return;
    }
  }

  async #checkpoint(request: Extract<IndexRequest, { kind: 'checkpoint' }>): Promise<void> {
    const { id, shard, directory, previous } = request;
    try {
      const { seal } = await this.#written(shard, directory, previous);
      const manifest = await seal();
      this.#replies.push({ id, kind: 'checkpoint', answer: manifest });
    } catch (error) {
      this.#replies.push({ id, error: failureOf(error) });
    } finally {
      this.#schedule();
    }
  }

  /** What is to be applied to the shard waits until then. */
  async #written(shard: number, directory: string, previous: CheckpointRef | undefined): Promise<WrittenCheckpoint> {
    this.#saving.add(shard);
    try {
      return await this.#host.checkpoint(shard, directory, previous);
    } finally {
      this.#saving.delete(shard);
      this.#schedule();
    }
  }

  #close(shard: number): void {
    const queue = this.#applies.get(shard);
    this.#applies.delete(shard);
    const check = this.#checks.get(shard);
    this.#checks.delete(shard);
    this.#refuse(shard, queue?.requests);
    this.#refuse(shard, check && [check]);
  }

  #refuse(shard: number, requests: readonly IndexRequest[] = []): void {
    for (const { id } of requests) this.#replies.push({ id, error: failureOf(new ShardNotOpenError(shard)) });
  }

  #answer(request: IndexRequest, act: () => unknown): void {
    try {
      this.#replies.push({ id: request.id, kind: request.kind, answer: act() });
    } catch (error) {
      this.#replies.push({ id: request.id, error: failureOf(error) });
    }
  }

  #flush(): void {
    if (this.#replies.length === 0 && this.#searches.length === 0) return;
    const message: ReplyMessage = {
      replies: this.#replies,
      searches: this.#searches,
      ends: this.#ends,
      bytes: this.#searches.length === 0 ? undefined : this.#answers.take(),
    };
    this.#replies = [];
    this.#searches = [];
    this.#ends = [];
    this.#reply(message);
  }
}

interface ApplyQueue {
  readonly requests: ApplyRequest[];
  /** Whether the host has begun the first. */
  begun: boolean;
  /** Of their frames. */
  bytes: number;
  /** Bytes of entries that come after these. */
  behind: number;
}

/** The first is done. */
function shift(queue: ApplyQueue): void {
  queue.bytes -= queue.requests.shift()?.frames.length ?? 0;
}

function backlogOf({ bytes, behind }: ApplyQueue): number {
  return bytes + behind;
}

function failureOf(error: unknown): IndexFailure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CheckpointDamagedError) return { reason: 'CHECKPOINT_DAMAGED', message: withCause(error) };
  if (error instanceof EntryRefusedError) return { reason: 'ENTRY_REFUSED', message, offset: error.offset };
  if (error instanceof ShardNotOpenError) return { reason: 'NOT_OPEN', message };
  return { reason: 'FAILED', message: error instanceof Error ? (error.stack ?? message) : message };
}

function withCause(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
