import { reignTag } from '../../kernel/epoch.js';
import { NodeError } from '../../kernel/errors.js';
import { toHex } from '../../kernel/bytes.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { versionText } from '../../kernel/version.js';
import { decodeEntry } from '../log/core/entry-codec.js';
import type { Entry } from '../log/core/entry.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { findCollection } from '../ring/core/map-operations.js';
import { decodeDocument } from '../shard/core/document-codec.js';
import type { StreamsPort } from './coordinator.js';
import {
  decodeCursor,
  encodeCursor,
  LOG_BEGIN,
  placeOnPage,
  type ChangePlace,
  type ChangePlaces,
} from './core/change-cursor.js';
import { clusterTag, encodePositions, type Position } from './core/positions.js';
import type { ChangeView, LogLineView } from './core/requests.js';
import type { CopyRoute, ShardRoute } from './core/route.js';
import type { EntryPage } from './core/shard-calls.js';
import { isDamaged } from './core/topology.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import type { MapChanges } from './map-changes.js';
import type { Routes } from './routes.js';
import { shardError } from './shard-error.js';

/** Entries and bytes read from the log at once. */
const SCAN_LIMIT = 500;
const SCAN_BYTES = 1024 * 1024;

/** Shards that are read at once: their pages are in memory together. */
const SHARDS_AT_ONCE = 8;
/** A copy is asked for a page for so long, and waits for news for so long. */
const PAGE_MS = 5_000;
const NEWS_MS = 1_000;
/** Before a shard that no copy answers for is asked again. */
const PAUSE_MS = 250;

/**
 * The log as streams, over all shards wherever they live: what changed, and the entries themselves. Readers pull; nothing
 * is buffered for them beyond one page a shard. Each page comes from whichever copy can give it, this node's first.
 */
export class StreamsService implements StreamsPort {
  constructor(
    private readonly replication: ReplicationService,
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
    private readonly mapChanges: MapChanges,
  ) {}

  /**
   * The change stream of all shards: at least once, in order within a shard. Without a cursor from the oldest entry the
   * log holds. Below the start of a log, where superseded entries are gone, it gives the newest state of each document,
   * deletes included, and its cursors there go on with that (see `placeOnPage`; ADR 30). Without `follow` it ends with what
   * each log had when it was read first, whatever is written meanwhile (see `endOf`).
   * @throws NodeError OFFSET_COMPACTED, INVALID_REQUEST, COLLECTION_NOT_FOUND
   */
  async *changes(
    cursor: string | undefined,
    collection: string | undefined,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ChangeView> {
    if (collection !== undefined) {
      const known = await this.mapChanges.lookUp((map) => findCollection(map, collection, false));
      if (known === undefined) throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection "${collection}"`);
    }
    const map = this.replication.map.current();
    const places = this.#start(cursor);
    const restarts = new Map<number, number>();
    /** Of the shards that were begun. */
    const ends = new Map<number, number>();
    const tag = clusterTag(map.clusterId);
    while (!signal.aborted) {
      let found = false;
      let missing: NodeError | undefined;
      const shards = [...places.keys()].filter(
        (shard) => follow || placeIn(places, shard).offset < (ends.get(shard) ?? Infinity),
      );
      for (let i = 0; i < shards.length; i += SHARDS_AT_ONCE) {
        const some = shards.slice(i, i + SHARDS_AT_ONCE);
        const pages = await Promise.all(
          some.map((shard) => {
            const place = placeIn(places, shard);
            return follow || !ends.has(shard)
              ? this.#page(shard, place, SCAN_LIMIT, SCAN_BYTES, 0, signal)
              : this.#rest(shard, place, SCAN_LIMIT, SCAN_BYTES, signal);
          }),
        );
        for (let j = 0; j < some.length; j++) {
          const shard = some[j];
          const page = pages[j];
          if (page instanceof NodeError) {
            missing ??= page;
            continue;
          }
          const before = placeIn(places, shard);
          const place = placeOnPage(before, page, ends.has(shard));
          if (place === undefined)
            throw page.compacted || page.fork === undefined
              ? compacted(shard, (page.fork ?? before.offset) + 1, page.start)
              : forked(shard, page.fork, page.start);
          places.set(shard, place);
          if (page.fork !== undefined) restarts.set(shard, page.fork);
          const end = endOf(page, ends.get(shard));
          ends.set(shard, end);
          for (const bytes of page.entries) {
            const entry = decodeEntry(bytes);
            if (!follow && entry.offset > end) break;
            found = true;
            places.set(shard, { ...positionOf(entry), passingTo: place.passingTo });
            const change = this.#change(entry, collection);
            if (change !== undefined) {
              const offset = restarts.get(shard);
              restarts.delete(shard);
              const restarted = offset === undefined ? {} : { restarted: { shard, offset } };
              yield { cursor: encodeCursor(places, tag), ...change, ...restarted };
            }
            if (signal.aborted) return;
          }
        }
      }
      if (found) continue;
      if (!follow) {
        if (missing !== undefined) throw missing;
        return;
      }
      await this.#news(places, signal);
    }
  }

  /** The cursor of this moment: what is written from now on lies behind it. @throws NodeError SHARD_UNAVAILABLE */
  async latest(signal: AbortSignal): Promise<string> {
    const { shardCount, clusterId } = this.replication.map.current();
    const shards = Array.from({ length: shardCount }, (_, shard) => shard);
    const deadline = new Deadline({ signal }, PAGE_MS);
    try {
      const { mapEpoch } = this.routes;
      const options = { deadline, session: new Map<number, never>(), primary: false };
      const answer = await this.fanOut.ask('summary', shards, (gates) => ({ mapEpoch, gates }), options);
      for (const [shard, failed] of answer.failed) throw shardError(shard, failed, this.replication.fault(shard));
      const ends = [...answer.values].map(([shard, { value }]) => [shard, value] as const);
      return encodePositions(new Map(ends), clusterTag(clusterId));
    } finally {
      deadline.end();
    }
  }

  /** The entries of one shard from an offset on; it ends as the changes do. @throws NodeError SHARD_NOT_FOUND, OFFSET_COMPACTED */
  async *log(
    shard: number,
    from: number,
    limit: number,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<LogLineView> {
    const { shardCount } = this.replication.map.current();
    if (shard >= shardCount)
      throw new NodeError('SHARD_NOT_FOUND', `there is no shard ${shard}; the cluster has ${shardCount}`);
    let after: Position = { epoch: 0, reign: 0, offset: from - 1 };
    let left = limit;
    let waitMs = 0;
    let end: number | undefined;
    while (!signal.aborted && left > 0) {
      const atMost = Math.min(left, SCAN_LIMIT);
      const page =
        follow || end === undefined
          ? await this.#page(shard, after, atMost, SCAN_BYTES, waitMs, signal)
          : await this.#rest(shard, after, atMost, SCAN_BYTES, signal);
      if (page instanceof NodeError) {
        if (!follow) throw page;
        await paused(PAUSE_MS, signal);
        continue;
      }
      if (page.compacted && end === undefined) throw compacted(shard, after.offset + 1, page.start);
      end = endOf(page, end);
      if (page.fork !== undefined) after = { epoch: 0, reign: 0, offset: page.fork };
      for (const bytes of page.entries) {
        const entry = decodeEntry(bytes);
        if (!follow && entry.offset > end) return;
        yield this.#line(entry);
        after = positionOf(entry);
        left--;
        if (signal.aborted) return;
      }
      waitMs = page.entries.length > 0 ? 0 : NEWS_MS;
      if (!follow && (page.entries.length === 0 || after.offset >= end)) return;
    }
  }

  /** Where a reader begins. */
  #start(cursor: string | undefined): Map<number, ChangePlace> {
    const map = this.replication.map.current();
    const shards = Array.from({ length: map.shardCount }, (_, shard) => shard);
    if (cursor === undefined) return new Map(shards.map((shard) => [shard, LOG_BEGIN]));
    const decoded = decodeCursor(cursor, clusterTag(map.clusterId));
    if (decoded === undefined)
      throw new NodeError('INVALID_REQUEST', '`cursor` is not one of this service; start without one');
    if (decoded.foreign)
      throw new NodeError('OFFSET_COMPACTED', 'the cursor is of another cluster; start over without one');
    return new Map(shards.map((shard) => [shard, decoded.places.get(shard) ?? LOG_BEGIN]));
  }

  /**
   * A page for a reader that has not come to the end. A copy that has nothing for it is behind: it has the rest within
   * moments, if no other one does now. Once time is up, what the primary has is all there is: the log was cut meanwhile.
   */
  async #rest(
    shard: number,
    after: Position,
    limit: number,
    bytesMax: number,
    signal: AbortSignal,
  ): Promise<EntryPage | NodeError> {
    const endsMs = performance.now() + PAGE_MS;
    for (;;) {
      const behind = new Map<NodeUuid, EntryPage>();
      const page = await this.#page(shard, after, limit, bytesMax, 0, signal, behind);
      if (!(page instanceof NodeError) || behind.size === 0 || signal.aborted) return page;
      if (performance.now() >= endsMs) return behind.get(this.routes.shards()[shard].primary ?? '') ?? page;
      await paused(PAUSE_MS, signal);
    }
  }

  /**
   * A page of a shard's log from the first copy that gives one; why there is none, when none does.
   * @param behind empty pages do not count as one, and go in there
   */
  async #page(
    shard: number,
    after: Position,
    limit: number,
    bytesMax: number,
    waitMs: number,
    signal: AbortSignal,
    behind?: Map<NodeUuid, EntryPage>,
  ): Promise<EntryPage | NodeError> {
    const { mapEpoch } = this.routes;
    const damaged = new Set<NodeUuid>();
    for (const copy of readingOrder(this.routes.shards()[shard])) {
      try {
        const ask = { mapEpoch, shard, after, limit, bytesMax, waitMs };
        const reply = await this.fanOut.accessOf(copy.node).call('entries', ask, { timeoutMs: PAGE_MS, signal });
        if (reply.refusal === undefined) {
          if (behind === undefined || reply.value.entries.length > 0 || reply.value.compacted) return reply.value;
          behind.set(copy.node, reply.value);
        } else if (reply.refusal.code === 'FAULTED') damaged.add(copy.node);
      } catch (error) {
        if (!(error instanceof PeerError || (error instanceof NodeError && error.code === 'OVERLOADED'))) throw error;
      }
      if (signal.aborted) break;
    }
    const reason = isDamaged(this.routes.shards()[shard], damaged) ? 'FAULTED' : 'UNREACHABLE';
    return shardError(shard, { reason }, this.replication.fault(shard));
  }

  /** Resolves when a shard may have something new. */
  async #news(places: ChangePlaces, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const end = (): void => over.abort();
    signal.addEventListener('abort', end, { once: true });
    try {
      await Promise.race(
        [...places].map(async ([shard, place]) => {
          while (!over.signal.aborted) {
            const page = await this.#page(shard, place, 1, 1, NEWS_MS, over.signal);
            if (page instanceof NodeError) await paused(PAUSE_MS, over.signal);
            else if (page.entries.length > 0 || page.fork !== undefined) return;
          }
        }),
      );
    } finally {
      signal.removeEventListener('abort', end);
      over.abort();
    }
  }

  #change(entry: Entry, collection: string | undefined): Omit<ChangeView, 'cursor'> | undefined {
    if (entry.op !== 'UPSERT' && entry.op !== 'DELETE') return undefined;
    const name = this.#collectionName(entry.collectionId);
    if (name === undefined || (collection !== undefined && name !== collection)) return undefined;
    const version = versionText(entry.version);
    const common = { id: entry.id, version, collection: name };
    if (entry.op === 'DELETE') return { op: 'delete', ...common };
    return { op: 'upsert', ...common, document: { id: entry.id, ...decodeDocument(entry.payload), version } };
  }

  #line(entry: Entry): LogLineView {
    const collection = this.#collectionName(entry.collectionId);
    return {
      offset: entry.offset,
      op: entry.op,
      epoch: entry.epoch.num,
      ...(entry.id === '' ? {} : { id: entry.id }),
      ...(collection === undefined ? {} : { collection }),
      version: versionText(entry.version),
      chain: toHex(entry.chain),
      bytes: entry.payload.length,
    };
  }

  #collectionName(id: number): string | undefined {
    return this.replication.map.current().collections.find((collection) => collection.id === id)?.name;
  }
}

/** Copies in the order in which a log is read from them: this node's, the primary's, the others, the freshest first. */
function readingOrder({ primary, copies }: ShardRoute): readonly CopyRoute[] {
  return copies
    .filter(({ status, role, faulted }) => status !== 'UNAVAILABLE' && role !== 'learner' && !faulted)
    .sort(
      (a, b) =>
        Number(b.inSync) - Number(a.inSync) ||
        Number(b.self) - Number(a.self) ||
        Number(b.node === primary) - Number(a.node === primary) ||
        b.offset - a.offset ||
        (a.node < b.node ? -1 : 1),
    );
}

function positionOf({ epoch, offset }: Pick<Entry, 'epoch' | 'offset'>): Position {
  return { epoch: epoch.num, reign: reignTag(epoch), offset };
}

/**
 * Where a log ends for a reader that does not follow: as it did when it was read first. Further on another branch, and where
 * superseded entries are gone: what took the place of those may have been written since. No earlier: a copy that has less
 * is behind, unless it has nothing more (see `#rest`).
 */
function endOf({ entries, fork, compacted, tail }: EntryPage, before: number | undefined): number {
  if (before === undefined || entries.length === 0) return tail;
  return fork !== undefined || compacted ? Math.max(before, tail) : before;
}

function placeIn(places: ChangePlaces, shard: number): ChangePlace {
  return places.get(shard) ?? LOG_BEGIN;
}

function paused(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

function compacted(shard: number, from: number, start: number): NodeError {
  return new NodeError(
    'OFFSET_COMPACTED',
    `shard ${shard} is no longer whole at offset ${from}, only above ${start}; start over`,
    { extra: { start } },
  );
}

/** For a reader in the compacted part alone: any other one goes on from the fork (see `placeOnPage`). */
function forked(shard: number, fork: number, start: number): NodeError {
  return new NodeError(
    'OFFSET_COMPACTED',
    `what was read of shard ${shard} was compacted, and its log goes on from another branch at offset ${fork}; start over`,
    { extra: { start } },
  );
}
