import { NodeError } from '../../../kernel/errors.js';
import { utf8Length } from '../../../kernel/ids.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { Fusion, SearchMode, SearchRequest } from '../../coordinator/core/requests.js';
import type { Filter } from '../../shard/core/filter.js';

/** Fields of a search after the schema, whatever the protocol; vector and filter are read already. */
export interface SearchFields {
  readonly text?: string | undefined;
  readonly vector?: Float32Array | undefined;
  readonly mode?: SearchMode | undefined;
  readonly topK?: number | undefined;
  readonly limit?: number | undefined;
  readonly k?: number | undefined;
  readonly offset?: number | undefined;
  readonly filter?: Filter | undefined;
  readonly collection?: string | undefined;
  readonly withTitle?: boolean | undefined;
  readonly withMetadata?: boolean | undefined;
  readonly withContent?: boolean | undefined;
  readonly withVector?: boolean | undefined;
  readonly params?:
    | { readonly ef?: number | undefined; readonly exact?: boolean | undefined; readonly legSize?: number | undefined }
    | undefined;
  readonly fusion?: FusionFields | undefined;
  readonly consistency?: 'any' | 'primary' | 'session' | undefined;
  readonly session?: string | undefined;
  readonly minCoverage?: number | undefined;
  readonly explain?: boolean | undefined;
}

export interface FusionFields {
  readonly method: 'rrf' | 'relative';
  readonly k?: number | undefined;
  readonly weights?: { readonly vector?: number | undefined; readonly keyword?: number | undefined } | undefined;
  readonly alpha?: number | undefined;
}

/** Results of a search that does not say how many. */
const TOP_K = 10;
const RRF: Fusion = { method: 'rrf', k: 60, weights: { vector: 1, keyword: 1 } };

/** The search that some fields ask for, with every default (api.md, Search); refuses contradictions. */
export function searchRequestOf(fields: SearchFields): SearchRequest {
  const { text, vector, filter, params, minCoverage } = fields;
  if (text !== undefined) checkText(text);
  const topK = topKOf(fields);
  const offset = fields.offset ?? 0;
  if (offset + topK > LIMITS.topKMax) {
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `offset + topK is ${offset + topK}; at most ${LIMITS.topKMax} are allowed: scroll instead`,
    );
  }
  // Absent fields are absent, not undefined; this object is made for every search, so it is not put together from parts.
  const request: { -readonly [K in keyof SearchRequest]: SearchRequest[K] } = {
    collection: fields.collection ?? 'default',
    mode: modeOf(fields),
    topK,
    offset,
    fields: {
      title: fields.withTitle ?? true,
      content: fields.withContent ?? false,
      metadata: fields.withMetadata ?? true,
      vector: fields.withVector ?? false,
    },
    exact: params?.exact ?? false,
    fusion: fields.fusion === undefined ? RRF : fusionOf(fields.fusion),
    consistency: fields.consistency ?? (fields.session === undefined ? 'any' : 'session'),
    explain: fields.explain ?? false,
  };
  if (text !== undefined) request.text = text;
  if (vector !== undefined) request.vector = vector;
  if (filter !== undefined) request.filter = filter;
  if (params?.ef !== undefined) request.ef = params.ef;
  if (params?.legSize !== undefined) request.legSize = params.legSize;
  if (minCoverage !== undefined) request.minCoverage = minCoverage;
  return request;
}

function checkText(text: string): void {
  if (text === '') throw invalid('`text` must not be empty');
  if (!text.isWellFormed()) throw invalid('`text` must be well-formed Unicode: it holds a lone surrogate');
  if (text.length * 3 > LIMITS.searchTextBytesMax && utf8Length(text) > LIMITS.searchTextBytesMax) {
    throw new NodeError(
      'LIMIT_EXCEEDED',
      `\`text\` takes ${utf8Length(text)} bytes; at most ${LIMITS.searchTextBytesMax} are allowed`,
    );
  }
}

function topKOf({ topK, limit, k }: SearchFields): number {
  const given = Number(topK !== undefined) + Number(limit !== undefined) + Number(k !== undefined);
  if (given > 1) throw invalid('topK, limit and k are names of one field: give only one of them');
  return topK ?? limit ?? k ?? TOP_K;
}

function modeOf({ mode, text, vector }: SearchFields): SearchMode {
  if (text === undefined && vector === undefined)
    throw invalid('neither `text` nor `vector` is given: at least one is needed');
  const implied = text === undefined ? 'VECTOR' : vector === undefined ? 'KEYWORD' : 'HYBRID';
  if (mode === undefined || mode === implied) return implied;
  if (mode !== 'VECTOR' && text === undefined) throw invalid(`\`mode\` ${mode} needs \`text\``);
  if (mode !== 'KEYWORD' && vector === undefined) throw invalid(`\`mode\` ${mode} needs \`vector\``);
  throw invalid(`\`mode\` ${mode} ignores \`${mode === 'VECTOR' ? 'text' : 'vector'}\`: leave it out or search HYBRID`);
}

function fusionOf(fields: FusionFields): Fusion {
  if (fields.method === 'relative') {
    if (fields.k !== undefined || fields.weights !== undefined)
      throw invalid('`fusion` relative takes `alpha`; `k` and `weights` belong to rrf');
    return { method: 'relative', alpha: fields.alpha ?? 0.5 };
  }
  if (fields.alpha !== undefined) throw invalid('`fusion` rrf takes `k` and `weights`; `alpha` belongs to relative');
  const weights = { vector: fields.weights?.vector ?? 1, keyword: fields.weights?.keyword ?? 1 };
  if (weights.vector === 0 && weights.keyword === 0) throw invalid('`fusion.weights` must not both be 0');
  return { method: 'rrf', k: fields.k ?? 60, weights };
}

function invalid(sentence: string): NodeError {
  return new NodeError('INVALID_REQUEST', sentence);
}
