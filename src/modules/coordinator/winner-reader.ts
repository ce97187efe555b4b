import { sameEpoch, type Epoch } from '../../kernel/epoch.js';
import { versionText } from '../../kernel/version.js';
import { entryPayload, entryVersion } from '../log/core/entry-codec.js';
import type { LogStore } from '../log/log-store.js';
import { documentSegments } from '../shard/core/document-codec.js';
import type { FieldSelection } from './core/requests.js';

/** What an answer tells of a found document: JSON text as stored. */
export interface Winner {
  readonly version: string;
  readonly titleJson: string | undefined;
  readonly contentJson: string | undefined;
  readonly metadataJson: string | undefined;
  readonly vector: Float32Array | undefined;
}

/** A candidate that won: where its entry is, and what the index says it is. */
export interface WinnerRef {
  readonly shard: number;
  readonly offset: number;
  readonly id: string;
  readonly versionMs: number;
  readonly versionCounter: number;
}

/** Bytes of documents kept, all shards together. */
export const WINNERS_BYTES_MAX = 32 * 1024 * 1024;
/** A larger document is read each time: it would push out too many others. */
const WINNER_BYTES_MAX = 16 * 1024;
/** What a kept one takes beside its texts: its objects and its place in a map. */
const OVERHEAD_BYTES = 256;

/** The part of the log that is read. */
export type WinnerLog = Pick<LogStore, 'readSync' | 'state'>;

interface Kept {
  readonly id: string;
  readonly versionMs: number;
  readonly versionCounter: number;
  readonly hasContent: boolean;
  readonly winner: Winner;
  readonly bytes: number;
}

interface KeptOfShard {
  /** Epoch of the log's end when the first was read: another one may have other entries at the same offsets. */
  readonly epoch: Epoch;
  /** By offset. Used since `old` became old. */
  young: Map<number, Kept>;
  old: Map<number, Kept>;
}

/**
 * Reads the few documents that a search found. What was read and verified lately is kept, decoded, in bounded memory:
 * searches find the same documents again and again, and an entry never changes.
 *
 * Invariants: kept ones are of the log's present epoch, and are handed out only for the id and the version the index
 * names; young ones hold at most half of the bytes, and old ones were young before.
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

  /** @throws OffsetCompactedError, LogDamagedError as LogStore.read */
  read(ref: WinnerRef, fields: FieldSelection): Winner {
    if (fields.vector) return this.#fromLog(ref, fields);
    const kept = this.#ofShard(ref.shard);
    const found = this.#find(kept, ref);
    if (found !== undefined && (found.hasContent || !fields.content)) return found.winner;
    const selection = { title: true, content: fields.content, metadata: true, vector: false };
    const winner = this.#fromLog(ref, selection);
    this.#keep(kept, ref, winner, fields.content);
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

  #ofShard(shard: number): KeptOfShard {
    const { epoch } = this.#log.state(shard);
    const known = this.#shards.get(shard);
    if (known !== undefined && (known.epoch === epoch || sameEpoch(known.epoch, epoch))) return known;
    this.forget(shard);
    const fresh: KeptOfShard = { epoch, young: new Map(), old: new Map() };
    this.#shards.set(shard, fresh);
    return fresh;
  }

  #find(kept: KeptOfShard, { offset, id, versionMs, versionCounter }: WinnerRef): Kept | undefined {
    const young = kept.young.get(offset);
    const found = young ?? kept.old.get(offset);
    if (found === undefined) return undefined;
    if (found.id !== id || found.versionMs !== versionMs || found.versionCounter !== versionCounter) return undefined;
    if (young === undefined) {
      kept.old.delete(offset);
      this.#oldBytes -= found.bytes;
      this.#add(kept, offset, found);
    }
    return found;
  }

  #keep(kept: KeptOfShard, ref: WinnerRef, winner: Winner, hasContent: boolean): void {
    const { offset, id, versionMs, versionCounter } = ref;
    const { titleJson = '', contentJson = '', metadataJson = '' } = winner;
    // Two bytes a character: what the engine takes at most.
    const bytes = OVERHEAD_BYTES + 2 * (id.length + titleJson.length + contentJson.length + metadataJson.length);
    if (bytes > WINNER_BYTES_MAX) return;
    this.#youngBytes -= kept.young.get(offset)?.bytes ?? 0;
    this.#oldBytes -= kept.old.get(offset)?.bytes ?? 0;
    kept.young.delete(offset);
    kept.old.delete(offset);
    this.#add(kept, offset, { id, versionMs, versionCounter, hasContent, winner, bytes });
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

  #fromLog({ shard, offset }: WinnerRef, fields: FieldSelection): Winner {
    const entry = this.#log.readSync(shard, offset);
    const { title, content, metadata, vector } = documentSegments(entryPayload(entry), fields);
    return {
      version: versionText(entryVersion(entry)),
      titleJson: title,
      contentJson: content,
      metadataJson: metadata,
      vector,
    };
  }
}
