import { NO_EPOCH } from '../../../src/kernel/epoch.js';
import type { Epoch } from '../../../src/kernel/epoch.js';
import { PeerError } from '../../../src/kernel/peer.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import { compareHlc, HLC_ZERO, nextHlc, versionText } from '../../../src/kernel/version.js';
import type { Hlc, Version } from '../../../src/kernel/version.js';
import { decodeEntry, encodeEntry, entryChain } from '../../../src/modules/log/core/entry-codec.js';
import type { Entry } from '../../../src/modules/log/core/entry.js';
import { documentKey, idempotencyKey } from '../../../src/modules/log/core/keys.js';
import type { AppendEntry, LogState, RowChange } from '../../../src/modules/log/log-store.js';
import { decodeOperation, encodeOperation } from '../../../src/modules/replication/core/operation-row.js';
import type { FollowerMessage, PrimaryMessage } from '../../../src/modules/replication/core/protocol.js';
import type { WriteOutcome, WriteRequest } from '../../../src/modules/replication/core/write.js';
import type { Link, LinkEvents } from '../../../src/kernel/link.js';
import type { ReplicaServer } from '../../../src/modules/replication/replica-peers.js';
import { decodeRow, encodeRow, nextRow } from '../../../src/modules/shard/core/rows.js';
import type { NodePorts, ReplicaInspection, ReplicaNode } from '../world/node.js';

/**
 * The least that replicates: the first member of a set is its primary for ever. It never fails over, so it shows nothing
 * about the protocol; it shows that the simulator runs nodes, and, with one of its bugs, that the checkers see.
 *
 * Bugs: `ack-before-sync`, `count-anyone`, `reuse-epoch`, `skip-entry`, `never-end`, `claim-sync`.
 */
export class StaticNode implements ReplicaNode {
  readonly replicas: ReplicaServer;
  readonly membership = undefined;
  readonly #shards = new Map<number, StaticShard>();

  constructor(private readonly ports: NodePorts) {
    const refuse = () => Promise.reject(new PeerError('REJECTED', 'nobody is elected here'));
    this.replicas = {
      onFollow: (from, shard, link) => this.#shard(shard).serve(from, link),
      onFence: refuse,
      onProbe: refuse,
      onPull: refuse,
      onFetch: refuse,
      onCovers: refuse,
      onAnnounce: () => undefined,
    };
  }

  async start(): Promise<void> {
    for (const shard of this.ports.placement.shards()) await this.#shard(shard).start();
  }

  write(shard: number, request: WriteRequest): Promise<WriteOutcome> {
    return this.#shard(shard).write(request);
  }

  inspect(shard: number): ReplicaInspection | undefined {
    return this.#shards.get(shard)?.inspect();
  }

  view(): undefined {
    return undefined;
  }

  stop(): Promise<void> {
    return this.ports.log.sync();
  }

  #shard(shard: number): StaticShard {
    let held = this.#shards.get(shard);
    if (held === undefined) this.#shards.set(shard, (held = new StaticShard(shard, this.ports)));
    return held;
  }
}

interface Waiting {
  readonly offset: number;
  readonly level: WriteRequest['level'];
  readonly done: () => void;
}

class StaticShard {
  #epoch: Epoch = NO_EPOCH;
  #end: Pick<LogState, 'tail' | 'chain'> = { tail: 0, chain: new Uint8Array(16) };
  #hlc: Hlc = HLC_ZERO;
  #durable = 0;
  #failed = false;
  #applied = 0;
  #waiting: Waiting[] = [];
  #heard = { atMs: Number.NEGATIVE_INFINITY, highWaterMark: 0 };
  readonly #overlay = new Map<string, Uint8Array>();
  readonly #followers = new Map<NodeUuid, { link: Link<PrimaryMessage>; sent: number; durable: number }>();

  constructor(
    private readonly shard: number,
    private readonly ports: NodePorts,
  ) {}

  async start(): Promise<void> {
    const { log, placement, nodeUuid, bugs, identity } = this.ports;
    const state = log.state(this.shard);
    this.#end = state;
    this.#durable = state.tail;
    const entries = state.tail === 0 ? [] : await log.scan(this.shard, 1, 10_000, 2 ** 30);
    for (const bytes of entries) this.#seen(decodeEntry(bytes).version.hlc);
    void this.#apply(entries, state.tail);
    if (placement.set(this.shard).members[0] !== nodeUuid) {
      this.#follow();
      return;
    }
    const num = state.epoch.num + (bugs.has('reuse-epoch') && state.epoch.num > 0 ? 0 : 1);
    this.#epoch = { num, uuid: identity.nodeUuid };
    await this.#log('BARRIER', 0, '', new Uint8Array(0), this.#version(new Uint8Array(16), undefined), []).stored;
    this.#keepAlive();
  }

  inspect(): ReplicaInspection {
    const { placement, nodeUuid, bugs } = this.ports;
    const set = placement.set(this.shard);
    const primary = set.members[0] === nodeUuid;
    return {
      role: primary ? 'primary' : set.members.includes(nodeUuid) ? 'replica' : 'learner',
      epoch: this.#epoch,
      leader: set.members[0],
      promised: NO_EPOCH,
      set,
      highWaterMark: this.#highWaterMark(),
      applied: this.#applied,
      inSync: bugs.has('claim-sync') ? set.members : [nodeUuid],
      selfInSync: primary || this.#hears(),
      faulted: false,
      loose: 0,
      queues: [{ name: 'waiting', size: this.#waiting.length, bound: 1_000 }],
    };
  }

  write(request: WriteRequest): Promise<WriteOutcome> {
    const { placement, nodeUuid, bugs } = this.ports;
    const [primary] = placement.set(this.shard).members;
    if (primary !== nodeUuid || this.#epoch === NO_EPOCH)
      return Promise.resolve({
        kind: 'redirect',
        hint: { shard: this.shard, epoch: { num: 1, uuid: new Uint8Array(16) }, node: primary },
      });
    if (bugs.has('never-end')) return new Promise(() => undefined);
    const opId = request.key ?? this.ports.random.bytes(16);
    const stored = this.#row(idempotencyKey(this.shard, opId));
    if (stored !== undefined) {
      const { version, epoch, offset, created } = decodeOperation(stored);
      return this.#acknowledged(offset, request.level, { version, epoch, created });
    }
    const key = documentKey(1, this.shard, request.collectionId, request.id);
    const rowBytes = this.#row(key);
    const row = rowBytes === undefined ? undefined : decodeRow(rowBytes);
    const { condition } = request;
    if (condition?.kind === 'version' && (row === undefined || versionText(row.version) !== condition.version))
      return Promise.resolve({ kind: 'refused', code: 'VERSION_CONFLICT', detail: 'another version' });
    const version = this.#version(opId, row?.version.hlc);
    const { offset, stored: down } = this.#log(request.op, request.collectionId, request.id, request.payload, version, [
      {
        key: idempotencyKey(this.shard, opId),
        value: encodeOperation({
          offset: this.#end.tail + 1,
          epoch: this.#epoch.num,
          version,
          created: false,
          fingerprint: new Uint8Array(16),
          writtenMs: 0,
        }),
      },
    ]);
    this.#pump();
    down.catch(() => {
      this.#failed = true;
    });
    const created = row === undefined || row.tombstone;
    if (bugs.has('ack-before-sync'))
      return Promise.resolve(this.#written(offset, { version, epoch: this.#epoch.num, created }));
    return this.#acknowledged(offset, request.level, { version, epoch: this.#epoch.num, created });
  }

  /** A follower came. */
  serve(from: NodeUuid, link: Link<PrimaryMessage>): LinkEvents<FollowerMessage> {
    return {
      message: (message) => {
        if (message.kind === 'hello') {
          this.#followers.set(from, { link, sent: message.hello.lastOffset, durable: message.hello.lastOffset });
          this.#pump();
        } else if (message.kind === 'ack') {
          const follower = this.#followers.get(from);
          if (follower?.link === link) follower.durable = message.ack.durableOffset;
          this.#settle();
        }
      },
      ended: () => {
        if (this.#followers.get(from)?.link === link) this.#followers.delete(from);
      },
    };
  }

  #follow(): void {
    const { peers, placement, nodeUuid, timers, log, bugs } = this.ports;
    const again = () => void timers.after(500, () => this.#follow());
    const link = peers.follow(placement.set(this.shard).members[0], this.shard, {
      message: (message) => {
        if (message.kind !== 'batch') return;
        const entries = message.batch.entries.filter((bytes) => decodeEntry(bytes).offset > this.#end.tail);
        const kept = bugs.has('skip-entry') && entries.length > 1 ? entries.slice(1) : entries;
        this.#epoch = message.batch.epoch;
        this.#heard = { atMs: this.ports.clock.monotonicMs(), highWaterMark: message.batch.highWaterMark };
        const appends: AppendEntry[] = kept.map((bytes) => {
          const { offset, epoch } = decodeEntry(bytes);
          return { offset, epoch, bytes };
        });
        const last = appends.at(-1);
        if (last !== undefined) this.#end = { tail: last.offset, chain: entryChain(last.bytes) };
        const rows = kept.flatMap((bytes) => this.#rowOf(decodeEntry(bytes), bytes.length));
        log.append({ shard: this.shard, entries: appends, rows }).then(
          () => {
            this.#durable = Math.max(this.#durable, last?.offset ?? 0);
            void this.#apply(kept, this.#durable);
            link.send({
              kind: 'ack',
              ack: {
                durableOffset: this.#durable,
                appliedOffset: this.#applied,
                chain: this.#end.chain,
                creditBytes: 0,
              },
            });
          },
          () => undefined,
        );
      },
      ended: again,
    });
    const state = log.state(this.shard);
    link.send({
      kind: 'hello',
      hello: {
        shard: this.shard,
        nodeUuid,
        bootCount: this.ports.identity.bootCount,
        mapEpoch: 1,
        promised: NO_EPOCH,
        loose: 0,
        lastOffset: state.tail,
        lastEpoch: state.epoch,
        chain: state.chain,
        history: state.history,
        start: 0,
        agreed: 0,
      },
    });
  }

  #hears(): boolean {
    const { atMs, highWaterMark } = this.#heard;
    return this.ports.clock.monotonicMs() - atMs < 2_000 && this.#applied >= highWaterMark;
  }

  #keepAlive(): void {
    this.#pump(true);
    this.ports.timers.after(500, () => this.#keepAlive());
  }

  /** Sends every follower what is stored and not sent, or (`always`) at least a sign of life. */
  #pump(always = false): void {
    const { log } = this.ports;
    for (const follower of this.#followers.values()) {
      const from = follower.sent + 1;
      if (from > this.#durable && !always) continue;
      follower.sent = this.#durable;
      log.scan(this.shard, from, 1_000, 2 ** 20).then(
        (entries) => {
          follower.link.send({
            kind: 'batch',
            batch: {
              epoch: this.#epoch,
              prevOffset: from - 1,
              prevChain: new Uint8Array(16),
              entries,
              highWaterMark: this.#highWaterMark(),
              tail: this.#end.tail,
              inSync: [],
              floor: 0,
            },
          });
        },
        () => undefined,
      );
    }
  }

  #log(
    op: Entry['op'],
    collectionId: number,
    id: string,
    payload: Uint8Array,
    version: Version,
    rows: readonly RowChange[],
  ) {
    const { hasher, log } = this.ports;
    const offset = this.#end.tail + 1;
    const entry = { op, shard: this.shard, epoch: this.#epoch, offset, version, collectionId, id, payload };
    const { bytes, chain } = encodeEntry(entry, this.#end.chain, hasher);
    this.#end = { tail: offset, chain };
    const changes = [...rows, ...this.#rowOf({ ...entry, chain }, bytes.length)];
    for (const { key, value } of changes) if (value !== undefined) this.#overlay.set(key.join(), value);
    const stored = log
      .append({ shard: this.shard, entries: [{ offset, epoch: this.#epoch, bytes }], rows: changes })
      .then(() => {
        this.#durable = Math.max(this.#durable, offset);
        this.#pump();
        this.#settle();
        void this.#apply([bytes], offset);
      });
    return { offset, stored };
  }

  async #apply(entries: readonly Uint8Array[], tail: number): Promise<void> {
    await this.ports.index(this.shard).apply(entries);
    this.#applied = Math.max(this.#applied, tail);
  }

  #rowOf(entry: Entry, size: number): RowChange[] {
    if (entry.op !== 'UPSERT' && entry.op !== 'DELETE') return [];
    const key = documentKey(1, this.shard, entry.collectionId, entry.id);
    const held = this.#row(key);
    const next = nextRow(entry, size, held === undefined ? undefined : decodeRow(held));
    if (next === undefined) return [];
    const value = encodeRow(next);
    this.#overlay.set(key.join(), value);
    return [{ key, value }];
  }

  #row(key: Uint8Array): Uint8Array | undefined {
    return this.#overlay.get(key.join()) ?? this.ports.log.row(key);
  }

  #version(opId: Uint8Array, above: Hlc | undefined): Version {
    const now = { ms: this.ports.clock.wallMs(), counter: 0 };
    let hlc = compareHlc(now, this.#hlc) > 0 ? now : nextHlc(this.#hlc);
    if (above !== undefined && compareHlc(hlc, above) <= 0) hlc = nextHlc(above);
    this.#seen(hlc);
    return { hlc, opId };
  }

  #seen(hlc: Hlc): void {
    if (compareHlc(hlc, this.#hlc) > 0) this.#hlc = hlc;
  }

  #acknowledged(
    offset: number,
    level: WriteRequest['level'],
    result: { readonly version: Version; readonly epoch: number; readonly created: boolean },
  ): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      const cancel = this.ports.timers.after(5_000, () => {
        this.#waiting = this.#waiting.filter((waiting) => waiting !== mine);
        resolve({ kind: 'refused', code: 'WRITE_OUTCOME_UNKNOWN', detail: 'not known in time' });
      });
      const mine: Waiting = {
        offset,
        level,
        done: () => {
          cancel();
          resolve(this.#written(offset, result));
        },
      };
      this.#waiting.push(mine);
      this.#settle();
    });
  }

  #written(
    offset: number,
    result: { readonly version: Version; readonly epoch: number; readonly created: boolean },
  ): WriteOutcome {
    return { kind: 'written', ...result, reign: 0, offset, durable: this.#copies(offset).length, indexed: true };
  }

  #copies(offset: number): readonly NodeUuid[] {
    const own = this.#durable >= offset ? [this.ports.nodeUuid] : [];
    return [...own, ...[...this.#followers].filter(([, { durable }]) => durable >= offset).map(([uuid]) => uuid)];
  }

  #settle(): void {
    if (this.#failed) return;
    const { placement, bugs } = this.ports;
    const { members } = placement.set(this.shard);
    const ready = this.#waiting.filter(({ offset, level }) => {
      const copies = this.#copies(offset);
      const counted = bugs.has('count-anyone')
        ? copies.length + 1
        : copies.filter((uuid) => members.includes(uuid)).length;
      const needed = level === 'one' ? 1 : level === 'quorum' ? Math.floor(members.length / 2) + 1 : members.length;
      return this.#durable >= offset && counted >= needed;
    });
    this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
    for (const { done } of ready) done();
  }

  #highWaterMark(): number {
    const { members } = this.ports.placement.set(this.shard);
    const offsets = members
      .map((uuid) => (uuid === this.ports.nodeUuid ? this.#durable : (this.#followers.get(uuid)?.durable ?? 0)))
      .sort((a, b) => b - a);
    return offsets[Math.floor(members.length / 2)] ?? 0;
  }
}
