import type * as pb from '../../../gen/spector/v1/spector_pb.js';
import { NodeError } from '../../../kernel/errors.js';
import type {
  BulkItem,
  CallContext,
  CollectionSettings,
  DocumentInput,
  DocumentPatch,
  ReadOptions,
  ScrollRequest,
  SearchRequest,
  WriteCondition,
  WriteConsistency,
  WriteOptions,
} from '../../coordinator/core/requests.js';
import type { Filter } from '../../shard/core/filter.js';
import type { GrpcCallContext } from '../../../platform/grpc/grpc-call.js';
import { invalidItem } from '../core/bulk-item.js';
import { checkedId, documentFieldsOf, documentPatchOf } from '../core/document-fields.js';
import { filterOf } from '../core/filter.js';
import { searchRequestOf } from '../core/search-request.js';
import { vectorOfBytes } from '../core/vector.js';
import { idempotencyKeyOf } from '../core/write-headers.js';
import { CollectionBody } from '../schemas/catalog.js';
import { ScrollBody } from '../schemas/documents.js';
import { ReadQuery, WriteQuery } from '../schemas/fields.js';
import { SearchBody } from '../schemas/search.js';
import { validator } from '../schemas/validator.js';
import { filterJson } from './grpc-filter.js';
import { documentFieldOf, readConsistencyOf, searchModeOf, similarityOf, writeConsistencyOf } from './grpc-words.js';

/**
 * Requests of the gRPC contract as the coordinator takes them. They pass the schemas of the HTTP contract, so that both
 * have the same limits and sentences. Empty texts mean absent where the contract says so.
 */
const writeFields = validator(WriteQuery, 'the request');
const readFields = validator(ReadQuery, 'the request');
const scrollBody = validator(ScrollBody, 'the request');
const searchBody = validator(SearchBody, 'the request');
const collectionBody = validator(CollectionBody, 'the request');

/** What every write carries. */
interface WriteFields {
  readonly collection: string;
  readonly consistency: pb.WriteConsistency;
  readonly idempotencyKey: string;
  readonly session: string;
}

/** What every read carries. */
interface ReadFields {
  readonly collection: string;
  readonly consistency: pb.ReadConsistency;
  readonly session: string;
}

/** `standard` is the consistency the cluster is set to. */
export function writeOptionsOf(request: WriteFields, standard: WriteConsistency): WriteOptions {
  const { collection, consistency } = writeFields({
    collection: present(request.collection),
    consistency: writeConsistencyOf(request.consistency),
    session: request.session,
  });
  const idempotencyKey = idempotencyKeyOf(present(request.idempotencyKey));
  return {
    collection: collection ?? 'default',
    consistency: consistency ?? standard,
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  };
}

export function readOptionsOf(request: ReadFields): ReadOptions {
  const { collection, consistency, session } = readFields({
    collection: present(request.collection),
    consistency: readConsistencyOf(request.consistency),
    session: present(request.session),
  });
  return {
    collection: collection ?? 'default',
    consistency: consistency ?? (session === undefined ? 'any' : 'session'),
  };
}

/** Signal, deadline and session of a call. */
export function callContextOf(
  { signal, timeoutMs }: GrpcCallContext,
  session: string,
  ownTimeoutMs?: number,
): CallContext {
  const limits = [timeoutMs, ownTimeoutMs].filter((limit) => limit !== undefined);
  return {
    signal,
    ...(limits.length === 0 ? {} : { timeoutMs: Math.min(...limits) }),
    ...(session === '' ? {} : { session }),
  };
}

export function conditionOf(condition: pb.WriteCondition | undefined): WriteCondition | undefined {
  switch (condition?.condition.case) {
    case 'version':
      return { kind: 'version', version: condition.condition.value };
    case 'absent':
      if (!condition.condition.value)
        throw new NodeError('INVALID_REQUEST', '`condition.absent` must be true, or be left out');
      return { kind: 'absent' };
    default:
      return undefined;
  }
}

/** The condition of a call that needs the document to exist. */
export function existingConditionOf(condition: pb.WriteCondition | undefined): WriteCondition | undefined {
  const found = conditionOf(condition);
  if (found?.kind === 'absent')
    throw new NodeError('INVALID_REQUEST', '`condition.absent` contradicts a call that needs the document to exist');
  return found;
}

export function documentOf(request: pb.IngestRequest | pb.Document): DocumentInput {
  return { id: checkedId(request.id), fields: documentFieldsOf(request, bytesVector) };
}

export function patchOf(patch: pb.DocumentPatch | undefined): DocumentPatch {
  const raw: Record<string, unknown> = {
    title: patch?.title,
    content: patch?.content,
    metadata: patch?.metadata,
    vector: patch?.vector,
  };
  for (const value of patch?.remove ?? []) {
    const field = documentFieldOf(value);
    if (raw[field] !== undefined) throw new NodeError('INVALID_REQUEST', `\`${field}\` is both given and removed`);
    raw[field] = null;
  }
  return documentPatchOf(raw, bytesVector);
}

/** One message of a bulk; undefined when it carries no item. */
export function bulkItemOf({ item }: pb.IngestStreamRequest): BulkItem | undefined {
  try {
    switch (item.case) {
      case 'upsert': {
        const { id, fields } = documentOf(item.value);
        return { kind: 'upsert', id, fields, bytes: sizeOf(item.value) };
      }
      case 'patch':
        return {
          kind: 'patch',
          id: checkedId(item.value.id),
          patch: patchOf(item.value.patch),
          bytes: sizeOf(item.value.patch),
        };
      case 'delete':
        return { kind: 'delete', id: checkedId(item.value.id), bytes: item.value.id.length };
      default:
        return undefined;
    }
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    return invalidItem(error, item.value);
  }
}

export function optionalFilterOf(filter: pb.Filter | undefined): Filter | undefined {
  return filter === undefined ? undefined : filterOf(filterJson(filter));
}

export function scrollOf(request: pb.ScrollDocumentsRequest): ScrollRequest {
  const filter = optionalFilterOf(request.filter);
  const { limit, cursor } = scrollBody({ limit: request.limit, cursor: request.cursor });
  return {
    ...readOptionsOf(request),
    ...(filter === undefined ? {} : { filter }),
    limit: limit ?? 100,
    ...(cursor === undefined || cursor === null ? {} : { cursor }),
    fields: {
      title: request.withTitle ?? true,
      content: request.withContent ?? false,
      metadata: request.withMetadata ?? true,
      vector: request.withVector ?? false,
    },
  };
}

export function searchOf(request: pb.SearchRequest): SearchRequest {
  const { $typeName: _name, vector, filter, session, ...fields } = request;
  const body = searchBody({
    ...fields,
    mode: searchModeOf(request.mode),
    collection: present(request.collection),
    consistency: readConsistencyOf(request.consistency),
    session: present(session),
    params:
      request.params === undefined
        ? undefined
        : { ef: request.params.ef, exact: request.params.exact, legSize: request.params.legSize },
    fusion: fusionJson(request.fusion),
  });
  return searchRequestOf({
    ...body,
    vector: vector === undefined ? undefined : vectorOfBytes(vector, 'vector'),
    filter: optionalFilterOf(filter),
  });
}

export function collectionSettingsOf(request: pb.PutCollectionRequest): CollectionSettings {
  const { hnsw } = request;
  return collectionBody({
    dimensions: request.dimensions,
    similarity: similarityOf(request.similarity),
    hnsw: hnsw === undefined ? undefined : { m: hnsw.m, efConstruction: hnsw.efConstruction, efSearch: hnsw.efSearch },
  });
}

function fusionJson(fusion: pb.Fusion | undefined): object | undefined {
  switch (fusion?.method.case) {
    case 'rrf': {
      const { k, weights } = fusion.method.value;
      return {
        method: 'rrf',
        k,
        weights: weights === undefined ? undefined : { vector: weights.vector, keyword: weights.keyword },
      };
    }
    case 'relative':
      return { method: 'relative', alpha: fusion.method.value.alpha };
    default:
      return undefined;
  }
}

function bytesVector(value: unknown, name: string): Float32Array {
  return vectorOfBytes(value as Uint8Array, name);
}

/** About the bytes of a message, for back-pressure. */
function sizeOf(
  fields:
    | {
        readonly title?: string | undefined;
        readonly content?: string | undefined;
        readonly vector?: Uint8Array | undefined;
        readonly metadata?: object | undefined;
      }
    | undefined,
): number {
  const { title, content, vector, metadata } = fields ?? {};
  const metadataLength = metadata === undefined ? 0 : JSON.stringify(metadata).length;
  return (title?.length ?? 0) + (content?.length ?? 0) + (vector?.length ?? 0) + metadataLength;
}

function present(text: string): string | undefined {
  return text === '' ? undefined : text;
}
