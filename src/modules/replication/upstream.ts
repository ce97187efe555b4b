import { bytesIn } from '../../kernel/bytes.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import { LogDamagedError } from '../log/log-store.js';
import type { EntriesBatch, FollowerMessage, Hello, Offer, PrimaryMessage, SnapshotEnd } from './core/protocol.js';
import { OfferWindow } from './core/offer-window.js';
import { entriesProblem } from './core/received-documents.js';
import { BATCH_BYTES } from './follower-feed.js';
import type { LogAlterations } from './log-alterations.js';
import type { LooseStore } from './loose-store.js';
import type { ReplicaDrive } from './replica-drive.js';
import type { Link } from '../../kernel/link.js';
import type { ReplicaPorts } from './replica-ports.js';
import type { SnapshotIntake } from './snapshot-intake.js';
import { storedRows } from './stored-copy.js';

/** Entry bytes a follower takes before it acknowledges (replication 4.2). */
const CREDIT_BYTES = 8 * 1024 * 1024;

type UpstreamPorts = Pick<ReplicaPorts, 'log' | 'hasher' | 'peers' | 'turns' | 'report'>;

/** The stream to the primary a copy follows: what comes on it goes to the machine, or to the intake of snapshots (4.1–4.3, 4.7). */
export class Upstream {
  readonly #shard: number;
  readonly #ports: UpstreamPorts;
  readonly #drive: ReplicaDrive;
  readonly #alterations: LogAlterations;
  readonly #intake: SnapshotIntake;
  #link: Link<FollowerMessage> | undefined;
  /** Whether the snapshot that was announced goes on with what is here of an earlier one. */
  #resumes = false;
  /** Entry bytes taken and not granted again; the first credit was given. */
  #taken = 0;
  #granted = false;
  /** What was offered on this stream, and whoever waits to offer more. */
  #offers = new OfferWindow();
  #offerOn: () => void = () => undefined;

  constructor(
    shard: number,
    ports: UpstreamPorts,
    drive: ReplicaDrive,
    alterations: LogAlterations,
    intake: SnapshotIntake,
  ) {
    this.#shard = shard;
    this.#ports = ports;
    this.#drive = drive;
    this.#alterations = alterations;
    this.#intake = intake;
  }

  follow(to: NodeUuid, hello: Hello): void {
    this.unfollow();
    this.#taken = 0;
    this.#granted = false;
    this.#offers = new OfferWindow();
    const link = this.#ports.peers.follow(to, this.#shard, {
      message: (message) =>
        this.#ports.turns.run(() => {
          if (this.#link === link) this.#received(message);
        }),
      ended: (error) =>
        this.#ports.turns.run(() => {
          if (this.#link === link) this.#ended(to, error);
        }),
    });
    this.#link = link;
    const { partial } = this.#intake;
    link.send({ kind: 'hello', hello: partial === undefined ? hello : { ...hello, partial } });
  }

  unfollow(): void {
    const link = this.#link;
    this.#link = undefined;
    this.#intake.wake();
    this.#offerOn();
    link?.close();
  }

  /** The copy is closed: what was coming in stays as it is. */
  close(): void {
    const link = this.#link;
    this.#link = undefined;
    this.#offerOn();
    link?.close();
  }

  /** Says what is here, and grants as much credit as was used up. */
  ack(): void {
    const { log, applied } = this.#drive.replica;
    // What is still on its way to the disk is not granted again: that bounds what waits here.
    const creditBytes = this.#granted ? Math.max(0, this.#taken - log.bytesInFlight) : CREDIT_BYTES;
    if (this.#granted) this.#taken -= creditBytes;
    this.#granted = true;
    const { durable: durableOffset, durableChain: chain } = log;
    const appliedOffset = Math.min(applied, durableOffset);
    this.#link?.send({ kind: 'ack', ack: { durableOffset, appliedOffset, chain, creditBytes } });
  }

  /** Takes the snapshot that was announced on this stream in, then makes it the log. */
  receive(at: SnapshotEnd, fork: number): void {
    const [link, resumes] = [this.#link, this.#resumes];
    this.#drive.guard(this.#alterations.alone(() => this.#receive(link, at, fork, resumes)));
  }

  async #receive(
    link: Link<FollowerMessage> | undefined,
    at: SnapshotEnd,
    fork: number,
    resumes: boolean,
  ): Promise<void> {
    if (this.#shard === META_SHARD)
      throw new LogDamagedError({ shard: this.#shard, offset: fork + 1, problem: 'chain' });
    const isOpen = (): boolean => this.#link === link && !this.#drive.closed;
    if (!isOpen()) return;
    const { log, applied } = this.#drive.replica;
    const { durable: durableOffset, durableChain: chain } = log;
    const here = { durableOffset, appliedOffset: Math.min(applied, durableOffset), chain };
    const grant = (creditBytes: number): void => {
      if (this.#link === link) link?.send({ kind: 'ack', ack: { ...here, creditBytes } });
    };
    const receiver = await this.#intake.take(at, resumes, CREDIT_BYTES, { isOpen, grant });
    if (receiver !== undefined) await this.#alterations.flip(receiver, fork, at);
    else if (this.#link === link) {
      // What came on the stream cannot be used: it is tried again on another one.
      this.unfollow();
      this.#drive.step({ kind: 'streamEnded', now: this.#drive.now() });
    }
  }

  /**
   * Offers the loose rows of this copy to the primary that is followed now, as fast as it takes them (6.4). What is left when
   * the stream ends is offered on the next one.
   */
  async offer(loose: LooseStore, branch: Offer['branch']): Promise<void> {
    const link = this.#link;
    if (link === undefined) return;
    let part: Uint8Array[] = [];
    let bytes = 0;
    /** False: the stream has ended. */
    const flush = async (last: boolean): Promise<boolean> => {
      while (this.#link === link && !this.#offers.isOpen)
        await new Promise<void>((resolve) => (this.#offerOn = resolve));
      if (this.#link !== link) return false;
      this.#offers.offered(bytes);
      const offer = { entries: part, last, branch };
      part = [];
      bytes = 0;
      if (!link.send({ kind: 'offer', offer })) await link.drained();
      return true;
    };
    for await (const entries of loose.entries(this.#shard)) {
      for (const entry of entries) {
        if (bytes + entry.length > BATCH_BYTES && part.length > 0 && !(await flush(false))) return;
        part.push(entry);
        bytes += entry.length;
      }
    }
    await flush(true);
  }

  #batch(batch: EntriesBatch): void {
    const drive = this.#drive;
    const { log, hasher, report } = this.#ports;
    const bytes = bytesIn(batch.entries);
    this.#taken += bytes;
    report.received(bytes);
    const copy = drive.replica.log;
    this.#offers.told(batch.taken);
    this.#offerOn();
    const problem = entriesProblem(hasher, copy, batch.entries);
    const stored = problem === undefined ? storedRows(log, copy, batch.entries) : [];
    drive.step({ kind: 'batch', batch, problem, stored, now: drive.now() });
  }

  #ended(to: NodeUuid, error: Error | undefined): void {
    this.#link = undefined;
    this.#intake.wake();
    this.#offerOn();
    if (error !== undefined) this.#ports.report.broken(to);
    this.#drive.step({ kind: 'streamEnded', now: this.#drive.now() });
  }

  #received(message: PrimaryMessage): void {
    const drive = this.#drive;
    switch (message.kind) {
      case 'answer':
        this.#resumes = message.answer.kind === 'snapshot' && message.answer.resumed === true;
        if (message.answer.kind === 'accept') drive.guard(this.#alterations.alone(() => this.#intake.discard()));
        drive.step({ kind: 'welcomed', answer: message.answer, now: drive.now() });
        return;
      case 'batch':
        drive.attempt(() => this.#batch(message.batch));
        return;
      case 'handOver':
        drive.step({ kind: 'takeOver', epoch: message.epoch, now: drive.now() });
        return;
      case 'chunk':
        this.#ports.report.received(bytesIn(message.chunk.entries));
        this.#intake.chunk(message.chunk);
        return;
    }
  }
}
