import { NodeError } from '../../kernel/errors.js';
import { toHex } from '../../kernel/bytes.js';
import { versionText } from '../../kernel/version.js';
import { decodeEntry } from '../log/core/entry-codec.js';
import type { Entry } from '../log/core/entry.js';
import type { LogStore } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { decodeDocument } from '../shard/core/document-codec.js';
import type { StreamsPort } from './coordinator.js';
import { clusterTag, decodePositions, encodePositions, type Position } from './core/positions.js';
import type { ChangeView, LogLineView } from './core/requests.js';
import type { DocumentReader } from './document-reader.js';

/** Entries and bytes read from the log at once. */
const SCAN_LIMIT = 500;
const SCAN_BYTES = 1024 * 1024;
/** The cursor that means "from now on". */
export const CURSOR_LATEST = 'latest';

/** The log as streams: what changed, and the entries themselves. Readers pull; nothing is buffered for them. */
export class StreamsService implements StreamsPort {
  constructor(
    private readonly replication: ReplicationService,
    private readonly store: LogStore,
    private readonly reader: DocumentReader,
  ) {}

  /**
   * The change stream of all shards: at least once, in order within a shard. Without a cursor from the oldest entry the
   * log holds, with `latest` from now on. @throws NodeError OFFSET_COMPACTED, INVALID_REQUEST, COLLECTION_NOT_FOUND
   */
  async *changes(
    cursor: string | undefined,
    collection: string | undefined,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ChangeView> {
    const map = this.replication.map.current();
    if (collection !== undefined && !map.collections.some((candidate) => candidate.name === collection)) {
      throw new NodeError('COLLECTION_NOT_FOUND', `there is no collection "${collection}"`);
    }
    const positions = this.#start(cursor);
    const tag = clusterTag(map.clusterId);
    while (!signal.aborted) {
      const news = this.#news();
      try {
        let found = false;
        for (const [shard, position] of positions) {
          for (const entry of await this.#entries(shard, position.offset + 1, SCAN_LIMIT)) {
            found = true;
            positions.set(shard, { epoch: entry.epoch.num, offset: entry.offset });
            const change = this.#change(entry, collection);
            if (change !== undefined) yield { cursor: encodePositions(positions, tag), ...change };
            if (signal.aborted) return;
          }
        }
        if (found) continue;
        if (!follow) return;
        await news.wait(signal);
      } finally {
        news.end();
      }
    }
  }

  /** The entries of one shard from an offset on. @throws NodeError SHARD_NOT_FOUND, OFFSET_COMPACTED */
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
    const { start } = this.store.state(shard);
    if (from <= start.offset) throw compacted(shard, from, start.offset);
    let next = from;
    let left = limit;
    while (!signal.aborted && left > 0) {
      const news = this.#news();
      try {
        const entries = await this.#entries(shard, next, Math.min(left, SCAN_LIMIT));
        for (const entry of entries) {
          yield this.#line(entry);
          next = entry.offset + 1;
          left--;
          if (signal.aborted) return;
        }
        if (entries.length > 0) continue;
        if (!follow) return;
        await news.wait(signal);
      } finally {
        news.end();
      }
    }
  }

  #start(cursor: string | undefined): Map<number, Position> {
    const map = this.replication.map.current();
    const shards = Array.from({ length: map.shardCount }, (_, shard) => shard);
    if (cursor === undefined) return new Map(shards.map((shard) => [shard, { epoch: 0, offset: 0 }]));
    if (cursor === CURSOR_LATEST)
      return new Map(shards.map((shard) => [shard, { epoch: 0, offset: this.store.state(shard).tail }]));
    const decoded = decodePositions(cursor, clusterTag(map.clusterId));
    if (decoded === undefined)
      throw new NodeError('INVALID_REQUEST', '`cursor` is not one of this service; start without one');
    if (decoded.foreign)
      throw new NodeError('OFFSET_COMPACTED', 'the cursor is of another cluster; start over without one');
    const positions = new Map(shards.map((shard) => [shard, decoded.positions.get(shard) ?? { epoch: 0, offset: 0 }]));
    for (const [shard, position] of positions) this.#check(shard, position);
    return positions;
  }

  #check(shard: number, position: Position): void {
    const { start, tail } = this.store.state(shard);
    if (position.offset > tail)
      throw new NodeError('OFFSET_COMPACTED', `the cursor is beyond the log of shard ${shard}; start over without one`);
    if (position.offset > 0 && position.offset < start.offset)
      throw compacted(shard, position.offset + 1, start.offset);
  }

  async #entries(shard: number, from: number, limit: number): Promise<readonly Entry[]> {
    try {
      return (await this.store.scan(shard, from, limit, SCAN_BYTES)).map(decodeEntry);
    } catch (error) {
      throw this.reader.damaged(shard, error);
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

  /** Notices entries that become durable from now on, so that none slips between reading and waiting. */
  #news(): { wait(signal: AbortSignal): Promise<void>; end(): void } {
    let happened = false;
    let wake: (() => void) | undefined;
    const stop = this.replication.onDurable(() => {
      happened = true;
      wake?.();
    });
    return {
      wait: (signal) =>
        new Promise((resolve) => {
          if (happened || signal.aborted) {
            resolve();
            return;
          }
          wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        }),
      end: stop,
    };
  }
}

function compacted(shard: number, from: number, start: number): NodeError {
  return new NodeError(
    'OFFSET_COMPACTED',
    `shard ${shard} is no longer whole at offset ${from}, only above ${start}; start over`,
    { extra: { start } },
  );
}
