import { PeerError } from '../../../src/kernel/peer.js';
import type { Link, LinkEvents } from '../../../src/kernel/link.js';
import { carry } from './carry.js';
import type { Path } from './paths.js';
import type { SimProcess } from './process.js';
import type { Scheduler } from './scheduler.js';

/** What a stream tells the network it runs on. */
export interface StreamHost {
  readonly scheduler: Scheduler;
  /** Beyond so many bytes under way `send` says to hold back. */
  readonly windowBytes: number;
  /** A lost packet is sent again after about this. */
  readonly retransmitMs: number;
  /** A message arrived. */
  delivered(stream: SimStream, lane: Lane, message: unknown, hash: string): void;
  /** More is buffered than a sender that heeds `send` could cause. */
  overrun(stream: SimStream, from: SimProcess, bytes: number): void;
  reset(stream: SimStream): void;
  over(stream: SimStream): void;
}

interface UnderWay {
  readonly kind: 'message' | 'end';
  readonly message: unknown;
  readonly bytes: number;
  readonly hash: string;
}

/** A sender that holds back when told never has more than this under way. */
const OVERRUN_BYTES = 4 * 1024 * 1024;

/**
 * One ordered connection between two processes. Each direction keeps order whatever the path does: a blocked path holds
 * the messages back (TCP sends them again) until it opens or the connection is given up. Each end learns of the end by
 * itself, in its own time.
 */
export class SimStream {
  readonly opener: Lane;
  readonly acceptor: Lane;
  #broken = false;

  constructor(
    readonly shard: number,
    readonly host: StreamHost,
    opener: SimProcess,
    acceptor: SimProcess,
    paths: { readonly there: Path; readonly back: Path },
  ) {
    this.opener = new Lane(this, opener, acceptor, paths.there);
    this.acceptor = new Lane(this, acceptor, opener, paths.back);
  }

  get broken(): boolean {
    return this.#broken;
  }

  /** Who is at either end. */
  involves(process: SimProcess): boolean {
    return this.opener.sender === process || this.acceptor.sender === process;
  }

  uses(path: Path): boolean {
    return this.opener.path === path || this.acceptor.path === path;
  }

  /** The lane on which the other end of `lane` speaks. */
  other(lane: Lane): Lane {
    return lane === this.opener ? this.acceptor : this.opener;
  }

  /** The connection is lost: nothing under way arrives any more, and each end is told after its own delay. */
  break(reason: string, openerMs: number, acceptorMs: number): void {
    if (this.#broken) return;
    this.#broken = true;
    for (const [lane, ms] of [
      [this.opener, openerMs],
      [this.acceptor, acceptorMs],
    ] as const)
      this.host.scheduler.in(ms, lane.sender, () => lane.lost(new PeerError('RESET', reason)));
    this.host.over(this);
  }
}

/** One direction of a stream, and its sending end. */
export class Lane implements Link<unknown> {
  /** What the sender of this lane is told of the other lane. */
  events: LinkEvents<unknown> | undefined;
  readonly #waiting: (() => void)[] = [];
  /** Arrived at a blockade, in order. */
  #stalled: UnderWay[] = [];
  #bufferedBytes = 0;
  #lastArrivalUs = 0;
  #ended = false;

  constructor(
    private readonly stream: SimStream,
    readonly sender: SimProcess,
    readonly receiver: SimProcess,
    readonly path: Path,
  ) {}

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  send(message: unknown): boolean {
    const { host } = this.stream;
    if (this.#ended) return true;
    const carried = carry(message);
    this.#bufferedBytes += carried.bytes;
    if (this.#bufferedBytes > OVERRUN_BYTES) host.overrun(this.stream, this.sender, this.#bufferedBytes);
    this.dispatch({ kind: 'message', ...carried });
    return this.#bufferedBytes <= host.windowBytes;
  }

  drained(): Promise<void> {
    if (this.#ended || this.#bufferedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    if (this.#ended) return;
    this.dispatch({ kind: 'end', message: undefined, bytes: 0, hash: '' });
    this.finish();
  }

  /** The sending end learns that the connection is gone. */
  lost(error: Error): void {
    if (this.#ended) return;
    this.finish();
    this.events?.ended(error);
  }

  /** The path opened again: what was held back goes on. */
  release(): void {
    const stalled = this.#stalled;
    this.#stalled = [];
    for (const item of stalled) this.dispatch(item);
  }

  /** The sending process died: what is under way may still arrive, then the other end learns of it. */
  get lastArrivalUs(): number {
    return this.#lastArrivalUs;
  }

  private dispatch(item: UnderWay): void {
    const { host } = this.stream;
    const passage = this.path.passage();
    if (passage.reset && !this.stream.broken) {
      host.reset(this.stream);
      return;
    }
    const delayMs = passage.delayMs + (passage.dropped ? host.retransmitMs : 0);
    this.#lastArrivalUs = Math.max(this.#lastArrivalUs + 1, Math.round(host.scheduler.nowUs + delayMs * 1_000));
    host.scheduler.at(this.#lastArrivalUs, this.receiver, () => this.arrive(item));
  }

  private arrive(item: UnderWay): void {
    if (this.stream.broken) return;
    if (this.path.faults.blocked || this.#stalled.length > 0) {
      this.#stalled.push(item);
      return;
    }
    this.#bufferedBytes -= item.bytes;
    if (this.#bufferedBytes === 0 && this.#waiting.length > 0) {
      const waiting = this.#waiting.splice(0);
      this.stream.host.scheduler.in(0, this.sender, () => {
        for (const resolve of waiting) resolve();
      });
    }
    const receiving = this.stream.other(this);
    if (receiving.#ended) return;
    if (item.kind === 'message') {
      this.stream.host.delivered(this.stream, this, item.message, item.hash);
      receiving.events?.message(item.message);
      return;
    }
    receiving.finish();
    this.stream.host.over(this.stream);
    receiving.events?.ended(undefined);
  }

  private finish(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
