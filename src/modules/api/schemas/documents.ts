import type { Static } from 'typebox';
import { Type } from 'typebox';
import { LIMITS } from '../../../kernel/limits.js';
import {
  closed,
  CollectionName,
  Content,
  FilterField,
  Id,
  Ids,
  limitedInteger,
  Metadata,
  oneOf,
  ReadQuery,
  Session,
  Title,
  Vector,
  WriteConsistencyField,
} from './fields.js';

const EXAMPLE = {
  title: 'Otters',
  content: 'Otters hold hands while they sleep',
  vector: [0.1, 0.9, 0.3],
  metadata: { year: 2024, tags: ['animal'] },
};
const FILTER_EXAMPLE = { must: [{ key: 'year', range: { gte: 2020 } }] };

const fields = {
  title: Type.Optional(Title),
  content: Type.Optional(Content),
  vector: Type.Optional(Vector),
  metadata: Type.Optional(Metadata),
};

/** `POST /api/v1/ingest`. */
export const IngestBody = closed(
  {
    id: Id,
    ...fields,
    collection: Type.Optional(CollectionName),
    consistency: Type.Optional(WriteConsistencyField),
    session: Type.Optional(Session),
  },
  'A document; at least one of title, content, vector, metadata.',
  { id: 'doc-1', ...EXAMPLE },
);
export type IngestBody = Static<typeof IngestBody>;

/** `PUT /api/v1/documents/{id}`. */
export const PutBody = closed(
  { ...fields, session: Type.Optional(Session) },
  'The whole document without its id; at least one field.',
  EXAMPLE,
);
export type PutBody = Static<typeof PutBody>;

const nullable = {
  title: Type.Optional(Type.Union([Title, Type.Null()])),
  content: Type.Optional(Type.Union([Content, Type.Null()])),
  vector: Type.Optional(Vector),
  metadata: Type.Optional(Metadata),
};

/** `PATCH /api/v1/documents/{id}`. */
export const PatchBody = closed(
  { ...nullable, session: Type.Optional(Session) },
  'Merged into the document (RFC 7386): null removes, `metadata` merges member by member, `vector` replaces.',
  { title: 'Sea otters', metadata: { year: 2025, tags: null } },
);
export type PatchBody = Static<typeof PatchBody>;

/** One upsert of a bulk: a document, with or without `op`. */
export const UpsertLine = closed({ op: Type.Optional(oneOf(['upsert'], 'May be left out.')), id: Id, ...fields });
/** One patch of a bulk. */
export const PatchLine = closed({ op: oneOf(['patch'], 'Merges, as PATCH does.'), id: Id, ...nullable });
/** One deletion of a bulk. */
export const DeleteLine = closed({ op: oneOf(['delete'], 'Deletes the document.'), id: Id });

/** What stands beside `documents` in a JSON bulk. */
export const BulkEnvelope = closed({
  collection: Type.Optional(CollectionName),
  consistency: Type.Optional(WriteConsistencyField),
  session: Type.Optional(Session),
});
export type BulkEnvelope = Static<typeof BulkEnvelope>;

/** `POST /api/v1/ingest/bulk` as JSON; described whole for /openapi.json, read piece by piece. */
export const BulkBody = closed(
  {
    documents: Type.Array(Type.Union([UpsertLine, PatchLine, DeleteLine])),
    ...BulkEnvelope.properties,
  },
  'Documents, or changes of documents, done in their order.',
  {
    documents: [
      { id: 'doc-1', ...EXAMPLE },
      { op: 'patch', id: 'doc-1', metadata: { year: 2025 } },
    ],
  },
);

/** `GET /api/v1/documents/{id}`. */
export const GetQuery = closed({
  ...ReadQuery.properties,
  withVector: Type.Optional(Type.Boolean({ description: 'Whether to return the vector; false by default.' })),
});
export type GetQuery = Static<typeof GetQuery>;

/** `POST /api/v1/documents/get`. */
export const GetManyBody = closed(
  {
    ids: Ids,
    withVector: Type.Optional(Type.Boolean({ default: false })),
    session: Type.Optional(Session),
  },
  'Which documents.',
  { ids: ['doc-1', 'doc-2'], withVector: true },
);
export type GetManyBody = Static<typeof GetManyBody>;

/** `POST /api/v1/documents/delete`. */
export const DeleteManyBody = closed(
  { ids: Type.Optional(Ids), filter: Type.Optional(FilterField), session: Type.Optional(Session) },
  'Either ids or a filter. A filter under an Idempotency-Key takes what matches at the moment it begins; sent again, it finishes that, and leaves what was written or began to match since.',
  { ids: ['doc-1', 'doc-2'] },
);
export type DeleteManyBody = Static<typeof DeleteManyBody>;

/** Which fields of found documents to return. */
export const withFields = {
  withTitle: Type.Optional(Type.Boolean({ default: true })),
  withMetadata: Type.Optional(Type.Boolean({ default: true })),
  withContent: Type.Optional(Type.Boolean({ default: false })),
  withVector: Type.Optional(Type.Boolean({ default: false })),
};

/** `POST /api/v1/documents/scroll`. */
export const ScrollBody = closed(
  {
    filter: Type.Optional(FilterField),
    limit: Type.Optional(limitedInteger(1, LIMITS.scrollMax, 'Documents of a page; 100 by default.')),
    cursor: Type.Optional(
      Type.Union([Type.String({ minLength: 1, maxLength: 4_096 }), Type.Null()], {
        description: 'Cursor of the page before; it survives failover.',
      }),
    ),
    ...withFields,
    session: Type.Optional(Session),
  },
  'A page of documents.',
  { filter: FILTER_EXAMPLE, limit: 10 },
);
export type ScrollBody = Static<typeof ScrollBody>;

/** `POST /api/v1/documents/count`. */
export const CountBody = closed(
  { filter: Type.Optional(FilterField), session: Type.Optional(Session) },
  'Which documents; all of them without a filter.',
  { filter: FILTER_EXAMPLE },
);
export type CountBody = Static<typeof CountBody>;
