import { bytesIn } from '../../kernel/bytes.js';
import { NodeError } from '../../kernel/errors.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import { entryShard, verifyEntry } from '../log/core/entry-codec.js';
import { LogDamagedError, type AppendEntry } from '../log/log-store.js';
import type { ReplicaEffect } from './core/effects.js';
import type { ReplicaInput } from './core/inputs.js';
import type { Ack, FollowerMessage, Hello, HelloAnswer, Offer, PrimaryMessage } from './core/protocol.js';
import { documentProblem } from './core/received-documents.js';
import { FollowerFeed, type FeedSource } from './follower-feed.js';
import type { ReplicaDrive } from './replica-drive.js';
import type { Link, LinkEvents } from '../../kernel/link.js';
import type { ReplicaPorts } from './replica-ports.js';
import { SnapshotSender } from './snapshot-sender.js';
import { SnapshotSource } from './snapshot-source.js';
import { storedChain, storedRows } from './stored-copy.js';

/** What an earlier snapshot lacks is looked for so long: well within the time a follower waits for the answer to its hello. */
const RESUME_MS = 500;

/** A stream to one follower, seen from the primary. */
interface FollowerLink {
  readonly node: NodeUuid;
  readonly link: Link<PrimaryMessage>;
  feed: FollowerFeed | undefined;
  snapshot: SnapshotSender | undefined;
  hello: Hello | undefined;
  /** Entry bytes it offered that are settled. */
  taken: number;
}

type LinksPorts = Pick<ReplicaPorts, 'log' | 'hasher' | 'clock' | 'timers' | 'bulk' | 'moves' | 'report'>;

/** The streams to the followers of one copy (4.1, 4.2): what comes on them goes to the machine, what it answers feeds them. */
export class FollowerLinks {
  readonly #shard: number;
  readonly #ports: LinksPorts;
  readonly #drive: ReplicaDrive;
  readonly #damaged: (error: LogDamagedError) => void;
  readonly #written: () => Promise<void>;
  readonly #links = new Map<number, FollowerLink>();
  #nextTicket = 1;

  /**
   * @param damaged the log could not be read: the copy is to fail
   * @param written resolves when all that the copy has to write is on the disk, as the fsync policy has it
   */
  constructor(
    shard: number,
    ports: LinksPorts,
    drive: ReplicaDrive,
    damaged: (error: LogDamagedError) => void,
    written: () => Promise<void>,
  ) {
    this.#shard = shard;
    this.#ports = ports;
    this.#drive = drive;
    this.#damaged = damaged;
    this.#written = written;
  }

  /** Bytes of entries that wait in memory, beside what the streams buffer. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const { feed } of this.#links.values()) bytes += feed?.waitingBytes ?? 0;
    return bytes;
  }

  open(from: NodeUuid, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    const ticket = this.#nextTicket++;
    const follower: FollowerLink = {
      node: from,
      link,
      feed: undefined,
      snapshot: undefined,
      hello: undefined,
      taken: 0,
    };
    this.#links.set(ticket, follower);
    return {
      message: (message) => this.#received(ticket, follower, message),
      ended: (error) => {
        if (error !== undefined && this.#links.has(ticket)) this.#ports.report.broken(from);
        this.#drop(ticket);
      },
    };
  }

  /** The primary logged entries: they may travel while the local sync runs. */
  logged(entries: readonly AppendEntry[]): void {
    for (const { feed } of this.#links.values()) feed?.logged(entries);
  }

  /**
   * Steps the machine with what may move the high-water mark. What is agreed takes effect on the others when they hear of it:
   * the map does not wait for a keep-alive (9.1).
   */
  advance(input: ReplicaInput): void {
    const { replica } = this.#drive;
    const before = replica.highWaterMark;
    this.#drive.step(input);
    if (this.#shard !== META_SHARD || replica.highWaterMark <= before) return;
    for (const { feed } of this.#links.values()) feed?.tell();
  }

  /** Entries became durable here. */
  pump(): void {
    for (const { feed } of this.#links.values()) feed?.pump();
  }

  tick(): void {
    for (const { feed } of this.#links.values()) feed?.tick();
  }

  /** Begins what the machine answers a hello. */
  welcome({ link: ticket, answer }: Extract<ReplicaEffect, { kind: 'welcome' }>): void {
    const follower = this.#links.get(ticket);
    if (follower?.hello === undefined) return;
    const { hello } = follower;
    if (answer.kind === 'snapshot') {
      this.#drive.guard(this.#sendSnapshot(ticket, follower, hello, answer));
      return;
    }
    follower.link.send({ kind: 'answer', answer });
    if (answer.kind !== 'accept') return;
    const source = this.#source(ticket, follower, hello.nodeUuid);
    follower.feed = new FollowerFeed(follower.link, source, answer.from, hello.chain);
  }

  /** Asks a follower to take over (5.7). */
  handOver(to: NodeUuid): void {
    const { epoch } = this.#drive.replica;
    for (const { node, link } of this.#links.values()) if (node === to) link.send({ kind: 'handOver', epoch });
  }

  /** The reign ended. */
  dismiss(): void {
    for (const ticket of [...this.#links.keys()]) this.#drop(ticket, true);
  }

  /** Ends all streams; the machine hears no more of them. */
  close(): void {
    for (const { link, feed, snapshot } of this.#links.values()) {
      feed?.close();
      snapshot?.close();
      link.close();
    }
    this.#links.clear();
  }

  #received(ticket: number, follower: FollowerLink, message: FollowerMessage): void {
    switch (message.kind) {
      case 'hello':
        follower.hello = message.hello;
        this.#drive.guard(this.#hello(ticket, message.hello));
        return;
      case 'ack':
        this.#acked(ticket, message.ack);
        follower.feed?.credit(message.ack.creditBytes);
        follower.snapshot?.credit(message.ack.creditBytes);
        return;
      case 'offer':
        this.#drive.attempt(() => this.#offered(ticket, follower, message.offer));
        return;
    }
  }

  async #hello(link: number, hello: Hello): Promise<void> {
    const { log } = this.#ports;
    const copy = this.#drive.replica.log;
    // The follower has entries whose sync still runs here: in a moment they can be compared.
    if (hello.lastOffset > copy.durable && hello.lastOffset <= copy.tail) await log.sync();
    const chainThere = await storedChain(log, this.#shard, hello.lastOffset);
    // Nobody would ever end a follower whose stream has ended meanwhile.
    if (!this.#links.has(link)) return;
    this.#drive.step({ kind: 'hello', link, hello, chainThere, now: this.#drive.now() });
  }

  #acked(link: number, ack: Ack): void {
    this.advance({ kind: 'acked', link, ack, now: this.#drive.now() });
  }

  /** @throws NodeError INVALID_REQUEST, which ends the stream */
  #offered(link: number, follower: FollowerLink, offer: Offer): void {
    const { log, hasher } = this.#ports;
    const drive = this.#drive;
    // What is offered comes from another branch: each entry stands for itself. Nothing of it is read before it is verified.
    const whole = offer.entries.every(
      (entry) => verifyEntry(entry, hasher) === undefined && entryShard(entry) === this.#shard,
    );
    const problem = whole ? documentProblem(offer.entries) : `an entry is damaged, or not of shard ${this.#shard}`;
    if (problem !== undefined) throw new NodeError('INVALID_REQUEST', `What was offered cannot be stored: ${problem}`);
    const stored = storedRows(log, drive.replica.log, offer.entries);
    drive.step({ kind: 'offered', link, offer, stored, now: drive.now(), opId: drive.opId() });
    // Merged, or listed as a conflict, it waits in memory for the disk: its follower offers more when it does no longer (6.4).
    const bytes = bytesIn(offer.entries);
    const taken = (): void => {
      follower.taken += bytes;
      follower.feed?.tell();
    };
    drive.guard(this.#written().then(taken));
  }

  /** What a follower is fed from. */
  #source(ticket: number, follower: FollowerLink, node: NodeUuid): FeedSource {
    const { log, clock, report } = this.#ports;
    const { replica } = this.#drive;
    return {
      durable: () => replica.log.durable,
      scan: (from, limit, bytesMax) => log.scan(this.#shard, from, limit, bytesMax),
      head: () => ({
        epoch: replica.epoch,
        highWaterMark: replica.highWaterMark,
        tail: replica.log.tail,
        inSync: replica.syncedNodes(clock.monotonicMs()),
        floor: replica.floor,
        taken: follower.taken,
      }),
      monotonicMs: () => clock.monotonicMs(),
      broken: (error) => {
        if (error instanceof LogDamagedError) this.#damaged(error);
        this.#drop(ticket, true);
      },
      sent: (entries, bytes) => report.streamed(node, entries, bytes),
      paced: (bytes) => this.#paced(node, bytes),
    };
  }

  /** A copy that is being built for a move is sent no more than the node's pace; a member gets back what it missed at once (9.6). */
  #paced(node: NodeUuid, bytes: number): Promise<void> | undefined {
    const { clock, timers, moves } = this.#ports;
    if (this.#shard === META_SHARD || this.#drive.replica.set.members.includes(node)) return undefined;
    const waitMs = moves.spend(bytes, clock.monotonicMs());
    return waitMs === 0 ? undefined : new Promise((resolve) => void timers.after(waitMs, resolve));
  }

  /** Streams a snapshot, if this node has a place for one more (4.6) and the shard has no loose rows (5.6). */
  async #sendSnapshot(
    ticket: number,
    follower: FollowerLink,
    { nodeUuid: node, partial }: Hello,
    answer: Extract<HelloAnswer, { kind: 'snapshot' }>,
  ): Promise<void> {
    const { log, hasher, clock, report, bulk } = this.#ports;
    const gone = (): boolean => this.#links.get(ticket) !== follower;
    const release = bulk.take();
    let source: SnapshotSource | undefined;
    try {
      source = release === undefined ? undefined : await SnapshotSource.open(log, hasher, this.#shard);
      // The stream may end at every wait from here on, and then nobody will ever ask for more.
      if (gone()) return;
      if (source === undefined) {
        follower.link.send({ kind: 'answer', answer: { kind: 'reject', reason: 'BUSY' } });
        return;
      }
      const untilMs = clock.monotonicMs() + RESUME_MS;
      const tooLong = (): boolean => gone() || clock.monotonicMs() >= untilMs;
      const resumed = partial !== undefined && (await source.resume(partial, tooLong));
      if (gone()) return;
      // Should this one break as well, the next one goes on from the offset of the first.
      const offset = resumed ? partial.offset : source.at.lastOffset;
      this.#drive.step({ kind: 'sending', node, offset, now: this.#drive.now() });
      follower.link.send({ kind: 'answer', answer: { ...answer, at: source.at, ...(resumed ? { resumed } : {}) } });
      follower.snapshot = new SnapshotSender(
        follower.link,
        source,
        (entries, bytes) => report.streamed(node, entries, bytes),
        () => this.#drive.step({ kind: 'staged', node, offset, now: this.#drive.now() }),
        (bytes) => this.#paced(node, bytes),
        resumed ? partial.after : undefined,
      );
      await follower.snapshot.run();
    } finally {
      release?.();
      await source?.close();
    }
  }

  #drop(ticket: number, close = false): void {
    const follower = this.#links.get(ticket);
    if (follower === undefined) return;
    this.#links.delete(ticket);
    follower.feed?.close();
    follower.snapshot?.close();
    if (close) follower.link.close();
    this.#drive.step({ kind: 'linkEnded', link: ticket });
  }
}
