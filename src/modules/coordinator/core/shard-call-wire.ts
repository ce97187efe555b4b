import { ERRORS, type ErrorCode } from '../../../kernel/errors.js';
import type { ShardLeader } from '../../replication/core/protocol.js';
import type { RowCondition } from '../../replication/core/write.js';
import type { MapOperation } from '../../ring/core/map-operations.js';
import { ShardSearchAnswer } from '../../shard/core/search-answer.js';
import {
  FILTER_WIRE as filter,
  IDS_WIRE as ids,
  SEARCH_WIRE,
  STATISTICS_WIRE as statistics,
} from '../../shard/core/search-wire.js';
import type { Position } from './positions.js';
import type { FieldSelection } from './requests.js';
import {
  REFUSAL_CODES,
  type DocumentPage,
  type EntryPage,
  type MadeOrRefused,
  type Refusal,
  type ShardAnswer,
  type ShardAsk,
  type ShardCall,
  type ShardGate,
  type ShardReply,
  type ShardSummary,
  type ShardWrite,
  type WriteRelay,
  type ShardWriteOutcome,
  type StoredSegments,
  type WantedEntry,
} from './shard-calls.js';
import {
  bytes,
  decodeWire,
  flag,
  float,
  json,
  kinds,
  list,
  maybe,
  oneOf,
  optional,
  record,
  text,
  uint,
  vector,
  WireError,
  type Codec,
} from '../../../kernel/wire.js';

/** The calls of the coordinator as bytes, between nodes of one version. */

const errorCode = oneOf<ErrorCode>(Object.keys(ERRORS) as ErrorCode[]);
const version = record({ hlc: record({ ms: uint, counter: uint }), opId: bytes });
const position: Codec<Position> = record<Position>({ epoch: uint, reign: uint, offset: uint });
const leader: Codec<ShardLeader> = record<ShardLeader>({
  shard: uint,
  epoch: record({ num: uint, uuid: bytes }),
  node: text,
});
const refusal: Codec<Refusal> = record<Refusal>({
  code: oneOf(REFUSAL_CODES),
  hint: optional(leader),
  retryAfterMs: optional(uint),
});
const gates: Codec<readonly ShardGate[]> = list(
  record<ShardGate>({ shard: uint, epoch: uint, position: optional(position), primary: flag, stale: flag }),
);
const fields: Codec<FieldSelection> = record<FieldSelection>({
  title: flag,
  content: flag,
  metadata: flag,
  vector: flag,
});

/** Passed on as it is, but for a look whether it can be read. */
const search: Codec<Uint8Array> = {
  write: (to, value) => to.bytes(value),
  read: (from) => {
    const value = from.bytes();
    decodeWire(SEARCH_WIRE, value);
    return value;
  },
};
const searchAnswer: Codec<ShardSearchAnswer> = {
  write: (to, answer) => to.bytes(answer.bytes),
  read: (from) => {
    const answer = ShardSearchAnswer.received(from.bytes());
    if (answer === undefined) throw new WireError('the answer of a shard is malformed');
    return answer;
  },
};
const segments: Codec<StoredSegments> = record<StoredSegments>({
  id: text,
  version: text,
  title: maybe(text),
  content: maybe(text),
  metadata: maybe(text),
  vector: maybe(vector),
});
const found: Codec<readonly (StoredSegments | undefined)[]> = list(maybe(segments));
const page: Codec<DocumentPage> = record<DocumentPage>({
  documents: list(segments),
  last: maybe(text),
  more: flag,
  offsets: list(uint),
});
const wanted: Codec<WantedEntry> = record<WantedEntry>({
  id: text,
  offset: uint,
  versionMs: uint,
  versionCounter: uint,
});
const summary: Codec<ShardSummary> = record<ShardSummary>({
  offset: uint,
  applied: uint,
  chain: bytes,
  live: bytes,
  epoch: uint,
  reign: uint,
  collections: list(record<{ readonly id: number; readonly live: number }>({ id: uint, live: uint })),
});
const condition: Codec<RowCondition> = kinds<RowCondition>({
  version: record<{ readonly version: string }>({ version: text }),
  absent: record<object>({}),
  present: record<object>({}),
});
const write: Codec<ShardWrite> = record<ShardWrite>({
  shard: uint,
  op: oneOf(['UPSERT', 'DELETE', 'COLLECTION_PURGE', 'BARRIER'] as const),
  collectionId: uint,
  id: text,
  payload: bytes,
  condition: optional(condition),
  level: oneOf(['one', 'quorum', 'all'] as const),
  key: optional(bytes),
  fingerprint: optional(bytes),
  opId: bytes,
  repeatedFrom: optional(uint),
});
const relay: Codec<WriteRelay> = record<WriteRelay>({ from: text, generation: uint, to: optional(text) });
type Outcome<K extends MadeOrRefused['kind']> = Omit<Extract<MadeOrRefused, { readonly kind: K }>, 'kind'>;
const outcome: Codec<ShardWriteOutcome> = kinds<ShardWriteOutcome>({
  written: record<Outcome<'written'>>({
    version,
    epoch: uint,
    reign: uint,
    offset: uint,
    created: flag,
    durable: uint,
    indexed: flag,
  }),
  refused: record<Outcome<'refused'>>({ code: errorCode, detail: text, retryAfterMs: optional(uint) }),
  'turned-away': record<{ readonly refusal: Refusal }>({ refusal }),
});
const entries: Codec<EntryPage> = record<EntryPage>({
  entries: list(bytes),
  start: uint,
  tail: uint,
  fork: optional(uint),
  compacted: flag,
});

/** What one shard says: a refusal, or a value and how far behind it is. */
function reply<T>(value: Codec<T>): Codec<ShardReply<T>> {
  const answered = record<{ readonly shard: number; readonly lagMs?: number }>({ shard: uint, lagMs: optional(float) });
  return {
    write: (to, said) => {
      flag.write(to, said.refusal !== undefined);
      if (said.refusal === undefined) {
        answered.write(to, said);
        value.write(to, said.value);
      } else {
        uint.write(to, said.shard);
        refusal.write(to, said.refusal);
      }
    },
    read: (from) =>
      flag.read(from)
        ? { shard: uint.read(from), refusal: refusal.read(from) }
        : { ...answered.read(from), value: value.read(from) },
  };
}

interface CallCodec<C extends ShardCall> {
  readonly ask: Codec<ShardAsk<C>>;
  readonly answer: Codec<ShardAnswer<C>>;
}

/** How each call and its answer are written. */
export const SHARD_CALL_WIRE: { readonly [C in ShardCall]: CallCodec<C> } = {
  search: {
    ask: record<ShardAsk<'search'>>({ mapEpoch: uint, gates, search }),
    answer: list(reply(searchAnswer)),
  },
  statistics: {
    ask: record<ShardAsk<'statistics'>>({ mapEpoch: uint, gates, collectionId: uint, terms: list(text) }),
    answer: list(reply(statistics)),
  },
  count: {
    ask: record<ShardAsk<'count'>>({ mapEpoch: uint, gates, collectionId: uint, filter: maybe(filter) }),
    answer: list(reply(uint)),
  },
  read: {
    ask: record<ShardAsk<'read'>>({ mapEpoch: uint, gates, collectionId: uint, ids: list(ids), fields }),
    answer: list(reply(found)),
  },
  page: {
    ask: record<ShardAsk<'page'>>({
      mapEpoch: uint,
      gates,
      collectionId: uint,
      filter: maybe(filter),
      after: maybe(text),
      limit: uint,
      fields,
    }),
    answer: list(reply(page)),
  },
  keys: {
    ask: record<ShardAsk<'keys'>>({ mapEpoch: uint, gates, collectionId: uint }),
    answer: list(reply(list(text))),
  },
  summary: {
    ask: record<ShardAsk<'summary'>>({ mapEpoch: uint, gates }),
    answer: list(reply(summary)),
  },
  fetch: {
    ask: record<ShardAsk<'fetch'>>({ collectionId: uint, shards: list(uint), wanted: list(list(wanted)), fields }),
    answer: list(reply(found)),
  },
  write: {
    ask: record<ShardAsk<'write'>>({ mapEpoch: uint, writes: list(write), relay: optional(relay) }),
    answer: list(outcome),
  },
  entries: {
    ask: record<ShardAsk<'entries'>>({
      mapEpoch: uint,
      shard: uint,
      after: position,
      limit: uint,
      bytesMax: uint,
      waitMs: uint,
    }),
    answer: reply(entries),
  },
  change: {
    ask: record<ShardAsk<'change'>>({ operation: json as Codec<MapOperation> }),
    answer: kinds<ShardAnswer<'change'>>({
      changed: record<{ readonly mapEpoch: number }>({ mapEpoch: uint }),
      refused: record<{ readonly code: ErrorCode; readonly detail: string }>({ code: errorCode, detail: text }),
      'turned-away': record<{ readonly refusal: Refusal }>({ refusal }),
    }),
  },
  map: {
    ask: record<ShardAsk<'map'>>({ mapEpoch: uint }),
    answer: record<ShardAnswer<'map'>>({ mapEpoch: uint }),
  },
  transfer: {
    ask: record<ShardAsk<'transfer'>>({ shard: uint, to: text }),
    answer: record<ShardAnswer<'transfer'>>({ refusal: optional(refusal) }),
  },
  operations: {
    ask: record<ShardAsk<'operations'>>({ mapEpoch: uint, gates, prefix: bytes }),
    answer: list(reply(uint)),
  },
  conflicts: {
    ask: record<ShardAsk<'conflicts'>>({ mapEpoch: uint, gates }),
    answer: list(reply(list(json))),
  },
};

export const SHARD_CALLS = Object.keys(SHARD_CALL_WIRE) as readonly ShardCall[];
