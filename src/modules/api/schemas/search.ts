import type { Static } from 'typebox';
import { Type } from 'typebox';
import { LIMITS } from '../../../kernel/limits.js';
import { withFields } from './documents.js';
import {
  closed,
  CollectionName,
  FilterField,
  limitedInteger,
  oneOf,
  ReadConsistencyField,
  Session,
  Vector,
} from './fields.js';

const TopK = limitedInteger(1, LIMITS.topKMax, 'Results wanted; 10 by default. One of topK, limit, k.');
const Weight = Type.Number({ minimum: 0, description: 'Weight of a leg; 1 by default.' });

export const FusionField = closed(
  {
    method: oneOf(['rrf', 'relative'], 'Reciprocal rank fusion, or min–max scores.'),
    k: Type.Optional(Type.Number({ minimum: 1, maximum: 1_000_000, description: 'Of rrf; 60 by default.' })),
    weights: Type.Optional(closed({ vector: Type.Optional(Weight), keyword: Type.Optional(Weight) }, 'Of rrf.')),
    alpha: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description: 'Of relative: 0 is keyword alone, 1 vector alone; 0.5 by default.',
      }),
    ),
  },
  'How the legs of a hybrid search become one ranking.',
);

/** `POST /api/v1/search`. */
export const SearchBody = closed(
  {
    text: Type.Optional(Type.String({ minLength: 1, description: 'Searched by keyword; at most 32 KiB.' })),
    vector: Type.Optional(Vector),
    mode: Type.Optional(oneOf(['KEYWORD', 'VECTOR', 'HYBRID'], 'By default what text and vector imply.')),
    topK: Type.Optional(TopK),
    limit: Type.Optional(TopK),
    k: Type.Optional(TopK),
    offset: Type.Optional(limitedInteger(0, LIMITS.topKMax, 'Results to skip; offset + topK ≤ 10 000.')),
    filter: Type.Optional(FilterField),
    collection: Type.Optional(CollectionName),
    ...withFields,
    params: Type.Optional(
      closed({
        ef: Type.Optional(limitedInteger(1, LIMITS.efMax, 'Search width of the vector index.')),
        exact: Type.Optional(Type.Boolean({ description: 'Scan instead of walking the index.' })),
        legSize: Type.Optional(limitedInteger(1, LIMITS.topKMax, 'Candidates of each leg before the fusion.')),
      }),
    ),
    fusion: Type.Optional(FusionField),
    consistency: Type.Optional(ReadConsistencyField),
    session: Type.Optional(Session),
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 1, description: 'The smaller of it and the limit of the node wins.' }),
    ),
    minCoverage: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1, description: 'Share of the documents that must have been searched.' }),
    ),
    explain: Type.Optional(Type.Boolean({ default: false })),
  },
  'At least one of text and vector.',
  {
    text: 'otters asleep',
    vector: [0.1, 0.9, 0.3],
    topK: 5,
    filter: { must: [{ key: 'year', range: { gte: 2020 } }] },
  },
);
export type SearchBody = Static<typeof SearchBody>;
