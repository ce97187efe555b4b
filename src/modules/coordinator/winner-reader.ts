import { sameEpoch, type Epoch } from '../../kernel/epoch.js';
import { versionText } from '../../kernel/version.js';
import { entryId, entryOp, entryPayload, entryVersion } from '../log/core/entry-codec.js';
import { LogDamagedError, OffsetCompactedError, type LogState, type LogStore } from '../log/log-store.js';
import { documentSegments } from '../shard/core/document-codec.js';
import type { FieldSelection } from './core/requests.js';
import type { StoredSegments, WantedEntry } from './core/shard-calls.js';

/** Bytes of documents kept, all shards together. */
export const WINNERS_BYTES_MAX = 32 * 1024 * 1024;
/** A larger document is read each time: it would push out too many others. */
const WINNER_BYTES_MAX = 16 * 1024;
/** What a kept one takes beside its texts: its objects and its place in a map. */
const OVERHEAD_BYTES = 256;

const TEXTS: FieldSelection = { title: true, content: true, metadata: true, vector: false };
const ALL_BUT_CONTENT: FieldSelection = { ...TEXTS, content: false };

/** The part of the log that is read. */
export type WinnerLog = Pick<LogStore, 'readSync' | 'state'>;

interface Kept {
  readonly versionMs: number;
  readonly versionCounter: number;
  readonly hasContent: boolean;
  readonly winner: StoredSegments;
  readonly bytes: number;
}

interface KeptOfShard {
  /** Epoch of the log's end when the first was read: another one may have other entries at the same offsets. */
  readonly epoch: Epoch;
  /** As the epoch: a received snapshot begins another one. */
  readonly generation: number;
  /** By offset. Used since `old` became old. */
  young: Map<number, Kept>;
  old: Map<number, Kept>;
}

/**
 * Reads the few documents that a search found from this node's logs. What was read and verified lately is kept, decoded,
 * in bounded memory: searches find the same documents again and again, and an entry never changes.
 *
 * Invariants: kept ones are of the log's present epoch and generation, are handed out only for the id and the version the
 * index names, and only while the log reaches their offset: two logs that end in one epoch have the same entries as far as
 * both go (replication 6.3), so none of a branch that was cut off is among them. Young ones hold at most half of the bytes,
 * and old ones were young before.
 */
export class WinnerReader {
  readonly #log: WinnerLog;
  readonly #bytesMax: number;
  readonly #shards = new Map<number, KeptOfShard>();
  #youngBytes = 0;
  #oldBytes = 0;

  constructor(log: WinnerLog, bytesMax = WINNERS_BYTES_MAX) {
    this.#log = log;
    this.#bytesMax = bytesMax;
  }

  /** An estimate of the memory kept. */
  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  /**
   * The document of the entry at the wanted offset, with at least the fields asked for; undefined when another entry is
   * there by now, or none.
   * @throws LogDamagedError as LogStore.readSync
   */
  read(shard: number, wanted: WantedEntry, fields: FieldSelection): StoredSegments | undefined {
    const state = this.#log.state(shard);
    if (wanted.offset > state.tail) return undefined;
    if (fields.vector) return this.#fromLog(shard, wanted, fields);
    const kept = this.#ofShard(shard, state);
    const found = this.#find(kept, wanted);
    if (found !== undefined && (found.hasContent || !fields.content)) return found.winner;
    const winner = this.#fromLog(shard, wanted, fields.content ? TEXTS : ALL_BUT_CONTENT);
    if (winner !== undefined) this.#keep(kept, wanted, winner, fields.content);
    return winner;
  }

  /** Nothing of the shard is kept any more. */
  forget(shard: number): void {
    const kept = this.#shards.get(shard);
    if (kept === undefined) return;
    for (const { bytes } of kept.young.values()) this.#youngBytes -= bytes;
    for (const { bytes } of kept.old.values()) this.#oldBytes -= bytes;
    this.#shards.delete(shard);
  }

  #ofShard(shard: number, state: LogState): KeptOfShard {
    const { epoch, generation } = state;
    const known = this.#shards.get(shard);
    if (known?.generation === generation && (known.epoch === epoch || sameEpoch(known.epoch, epoch))) return known;
    this.forget(shard);
    const fresh: KeptOfShard = { epoch, generation, young: new Map(), old: new Map() };
    this.#shards.set(shard, fresh);
    return fresh;
  }

  #find(kept: KeptOfShard, { offset, id, versionMs, versionCounter }: WantedEntry): Kept | undefined {
    const young = kept.young.get(offset);
    const found = young ?? kept.old.get(offset);
    if (found === undefined) return undefined;
    if (found.winner.id !== id || found.versionMs !== versionMs || found.versionCounter !== versionCounter)
      return undefined;
    if (young === undefined) {
      kept.old.delete(offset);
      this.#oldBytes -= found.bytes;
      this.#add(kept, offset, found);
    }
    return found;
  }

  #keep(kept: KeptOfShard, wanted: WantedEntry, winner: StoredSegments, hasContent: boolean): void {
    const { offset, id, versionMs, versionCounter } = wanted;
    const { title = '', content = '', metadata = '' } = winner;
    // Two bytes a character: what the engine takes at most.
    const bytes = OVERHEAD_BYTES + 2 * (id.length + title.length + content.length + metadata.length);
    if (bytes > WINNER_BYTES_MAX) return;
    this.#youngBytes -= kept.young.get(offset)?.bytes ?? 0;
    this.#oldBytes -= kept.old.get(offset)?.bytes ?? 0;
    kept.young.delete(offset);
    kept.old.delete(offset);
    this.#add(kept, offset, { versionMs, versionCounter, hasContent, winner, bytes });
  }

  #add(kept: KeptOfShard, offset: number, one: Kept): void {
    if (this.#youngBytes + one.bytes > this.#bytesMax / 2) this.#age();
    kept.young.set(offset, one);
    this.#youngBytes += one.bytes;
  }

  /** Lets go of what was not used since the last time. */
  #age(): void {
    for (const kept of this.#shards.values()) {
      kept.old = kept.young;
      kept.young = new Map();
    }
    this.#oldBytes = this.#youngBytes;
    this.#youngBytes = 0;
  }

  #fromLog(shard: number, wanted: WantedEntry, fields: FieldSelection): StoredSegments | undefined {
    const entry = this.#entryAt(shard, wanted.offset);
    return entry === undefined || !isWanted(entry, wanted) ? undefined : segmentsOf(wanted.id, entry, fields);
  }

  #entryAt(shard: number, offset: number): Uint8Array | undefined {
    try {
      return this.#log.readSync(shard, offset);
    } catch (error) {
      if (error instanceof OffsetCompactedError) return undefined;
      if (error instanceof LogDamagedError) this.forget(shard);
      throw error;
    }
  }
}

/** Whether the entry is the image of a document at the version a search found. */
export function isWanted(entry: Uint8Array, { id, versionMs, versionCounter }: WantedEntry): boolean {
  const { hlc } = entryVersion(entry);
  return hlc.ms === versionMs && hlc.counter === versionCounter && entryOp(entry) === 'UPSERT' && entryId(entry) === id;
}

/** The parts of an entry's document. */
export function segmentsOf(id: string, entry: Uint8Array, fields: FieldSelection): StoredSegments {
  return { id, version: versionText(entryVersion(entry)), ...documentSegments(entryPayload(entry), fields) };
}
