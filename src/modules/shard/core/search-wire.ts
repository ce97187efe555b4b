import { LIMITS } from '../../../kernel/limits.js';
import {
  decodeWire,
  encodeWire,
  flag,
  json,
  kinds,
  list,
  nested,
  optional,
  record,
  text,
  uint,
  vector,
  WireError,
  type Codec,
} from '../../../kernel/wire.js';
import type { Filter, FilterClause, FilterScalar } from './filter.js';
import type { KeywordLeg, KeywordStatistics, SearchOfShards, VectorLeg } from './search.js';

/**
 * What is asked of an index, as bytes: written once by the coordinator, and read where the index is, in another thread or
 * node.
 */

/** Ids hold no control characters: one text with a line for each is read faster than many. */
export const IDS_WIRE: Codec<readonly string[]> = {
  write: (to, values) => {
    uint.write(to, values.length);
    text.write(to, values.join('\n'));
  },
  read: (from) => {
    const length = uint.read(from);
    const joined = text.read(from);
    const values = length === 0 ? [] : joined.split('\n');
    if (values.length !== length) throw new WireError('ids are missing');
    return values;
  },
};

const scalar: Codec<FilterScalar> = {
  write: (to, value) => json.write(to, value),
  read: (from) => {
    const value = json.read(from);
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      return value;
    throw new WireError('a filter compares with a scalar');
  },
};
const bound: Codec<string | number> = {
  write: (to, value) => scalar.write(to, value),
  read: (from) => {
    const value = scalar.read(from);
    if (typeof value === 'string' || typeof value === 'number') return value;
    throw new WireError('a range has numbers or texts');
  },
};
export const FILTER_WIRE: Codec<Filter> = nested<Filter>(LIMITS.filterDepthMax + 1, (inner) => {
  const clauses = list(
    kinds<FilterClause>({
      match: record<{ readonly key: string; readonly any: readonly FilterScalar[] }>({ key: text, any: list(scalar) }),
      range: record<Omit<Extract<FilterClause, { kind: 'range' }>, 'kind'>>({
        key: text,
        gt: optional(bound),
        gte: optional(bound),
        lt: optional(bound),
        lte: optional(bound),
      }),
      exists: record<{ readonly key: string; readonly exists: boolean }>({ key: text, exists: flag }),
      ids: record<{ readonly ids: readonly string[] }>({ ids: IDS_WIRE }),
      nested: record<{ readonly filter: Filter }>({ filter: inner }),
    }),
  );
  return record<Filter>({ must: clauses, should: clauses, mustNot: clauses });
});

export const STATISTICS_WIRE: Codec<KeywordStatistics> = record<KeywordStatistics>({
  documents: uint,
  totalLength: uint,
  documentFrequencies: list(uint),
});
/** Without the shards. */
export const SEARCH_WIRE: Codec<SearchOfShards> = record<SearchOfShards>({
  collectionId: uint,
  vector: optional(record<VectorLeg>({ values: vector, k: uint, ef: uint, of: optional(uint) })),
  keyword: optional(
    record<KeywordLeg>({ terms: list(text), k: uint, of: optional(uint), statistics: optional(STATISTICS_WIRE) }),
  ),
  filter: optional(FILTER_WIRE),
  exact: flag,
});

export function encodeSearch(search: SearchOfShards): Uint8Array {
  return encodeWire(SEARCH_WIRE, search);
}

/** @throws WireError */
export function decodeSearch(bytes: Uint8Array): SearchOfShards {
  return decodeWire(SEARCH_WIRE, bytes);
}
