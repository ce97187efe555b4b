import type { TSchema } from 'typebox';
import { Type } from 'typebox';
import { Metadata, Vector } from './fields.js';

/** Shapes of answers, for /openapi.json. Answers may gain fields: nothing is closed here. */
const text = (description?: string) => Type.String(description === undefined ? {} : { description });
const count = (description?: string) =>
  Type.Integer({ minimum: 0, ...(description === undefined ? {} : { description }) });
const flag = (description?: string) => Type.Boolean(description === undefined ? {} : { description });
const shape = <P extends Record<string, TSchema>>(title: string, properties: P) => Type.Object(properties, { title });
const words = (...values: readonly string[]) => Type.Unsafe<string>({ type: 'string', enum: values });

const session = text('Session token: hand the newest one back.');
const version = text('Opaque; versions compare as text.');

export const WriteAnswerShape = shape('WriteAnswer', {
  id: text(),
  indexed: flag('Whether a search on the primary sees it already.'),
  created: flag(),
  version,
  shard: count(),
  epoch: count(),
  offset: count('Position in the log of the shard.'),
  durable: count('Durable copies when acknowledged.'),
  fsync: text('always, interval:<ms> or os.'),
  session,
});
export const DeleteAnswerShape = shape('DeleteAnswer', { id: text(), deleted: flag(), version, session });
export const DocumentShape = shape('Document', {
  id: text(),
  title: Type.Optional(text()),
  content: Type.Optional(text()),
  metadata: Type.Optional(Metadata),
  vector: Type.Optional(Vector),
  version,
  session: Type.Optional(session),
});
export const BulkAnswerShape = shape('BulkAnswer', {
  total: count(),
  success: count(),
  failed: count(),
  errors: Type.Array(
    Type.Object({
      index: count('Position in the request, from 0.'),
      id: Type.Union([Type.String(), Type.Null()]),
      code: text(),
      detail: text(),
    }),
    { description: 'The first 1 000, in order.' },
  ),
  session,
});
export const GetManyAnswerShape = shape('GetManyAnswer', {
  documents: Type.Array(DocumentShape),
  missing: Type.Array(Type.String()),
  session,
});
export const DeleteManyAnswerShape = shape('DeleteManyAnswer', {
  deleted: count(),
  failed: count(),
  errors: Type.Array(Type.Object({ id: text(), code: text(), detail: text() })),
  session,
});
export const ShardsReportShape = shape('ShardsReport', {
  total: count(),
  ok: count('Those that answered up to date; of a scroll, of those that this page needed.'),
  stale: Type.Array(Type.Object({ shard: count(), node: text(), lagMs: Type.Number() })),
  failed: Type.Array(
    Type.Object({
      shard: count(),
      node: Type.Optional(text()),
      reason: words('TIMEOUT', 'UNREACHABLE', 'STALE_ROUTE', 'OVERLOADED', 'FAULTED'),
    }),
  ),
});
export const ScrollAnswerShape = shape('ScrollAnswer', {
  documents: Type.Array(DocumentShape),
  cursor: Type.Union([Type.String(), Type.Null()], { description: 'Null at the end.' }),
  shards: ShardsReportShape,
  session,
});
export const CountAnswerShape = shape('CountAnswer', { count: count(), shards: ShardsReportShape, session });
export const SearchAnswerShape = shape('SearchAnswer', {
  results: Type.Array(
    shape('SearchHit', {
      id: text(),
      score: Type.Number({ description: 'Higher is better.' }),
      title: Type.Optional(text()),
      content: Type.Optional(text()),
      metadata: Type.Optional(Metadata),
      vector: Type.Optional(Vector),
      version,
      ranks: Type.Object(
        { vector: Type.Optional(count()), keyword: Type.Optional(count()) },
        { description: 'Ranks in the legs, from 1.' },
      ),
      explanation: Type.Optional(Type.Object({}, { description: 'With explain.' })),
    }),
  ),
  totalHits: count('Results in this answer.'),
  queryTimeMs: Type.Number(),
  mode: words('KEYWORD', 'VECTOR', 'HYBRID'),
  fusion: Type.Union([Type.Object({}), Type.Null()]),
  partial: flag('Whether a shard is missing.'),
  shards: ShardsReportShape,
  coverage: Type.Number({ description: 'Documents of answering shards / all.' }),
  mapEpoch: count(),
  session,
  explain: Type.Optional(Type.Object({}, { description: 'With explain.' })),
});
export const CollectionShape = shape('Collection', {
  name: text(),
  dimensions: Type.Union([Type.Integer(), Type.Null()], { description: 'Null until the first vector.' }),
  similarity: words('cosine', 'dot', 'euclidean'),
  hnsw: Type.Object({ m: count(), efConstruction: count(), efSearch: count() }),
  documents: count(),
  missingShards: Type.Optional(
    Type.Array(Type.Integer(), { description: 'Shards whose documents could not be counted.' }),
  ),
});
export const CollectionsShape = shape('Collections', { collections: Type.Array(CollectionShape) });
export const AliasShape = shape('Alias', { name: text(), collection: text() });
export const DeletedShape = shape('Deleted', { name: text(), deleted: flag() });
export const OperationShape = shape('OperationAccepted', {
  operation: text('Its id: GET /api/v1/cluster/operations/{id}.'),
});
export const ClusterSettingsShape = shape('ClusterSettings', {
  replicaCount: count(),
  writeConsistency: words('auto', 'one', 'quorum', 'all'),
  partitionMode: words('available', 'strict'),
  rebalanceGrace: text('A duration, e.g. 10m.'),
});
export const ClusterShape = shape('Cluster', {
  clusterId: text(),
  mapEpoch: count(),
  viewDigest: text(),
  failoverPromiseMs: count('Within which a dead primary is replaced.'),
  mapVoters: Type.Array(Type.String(), {
    description: 'Node ids; a majority of them agrees to each change of the map: joins, moves, collections, settings.',
  }),
  settings: ClusterSettingsShape,
  members: Type.Array(
    Type.Object({
      nodeId: text(),
      nodeUuid: text(),
      incarnation: count(),
      status: text(),
      addresses: Type.Object({ http: text(), grpc: text() }),
      lagMs: Type.Number(),
      disk: Type.Object({ freeBytes: count(), totalBytes: count() }),
      version: text(),
    }),
  ),
});
export const DigestShape = shape('Digest', {
  shard: count(),
  offset: count(),
  chain: text(),
  live: text(),
  replicas: Type.Array(Type.Object({ node: text(), offset: count(), chain: text(), live: text() })),
});
export const StatusShape = shape('Status', {
  status: words('STARTING', 'RUNNING', 'DEGRADED', 'DRAINING'),
  clusterMode: flag(),
  activeNodes: count(),
  shardCount: count(),
  replicaCount: count(),
  topology: Type.Object({}, { description: 'Node id → {status, shards}.' }),
  nodeId: text(),
  clusterId: text(),
  version: text(),
  mapEpoch: count(),
  viewDigest: text(),
  insecure: flag(),
  uptimeMs: Type.Number(),
  documents: count(),
  shards: Type.Array(
    Type.Object({
      shard: count(),
      epoch: count(),
      primary: Type.Union([Type.String(), Type.Null()]),
      documents: count(),
      offset: count(),
      replicas: Type.Array(
        Type.Object({
          node: text(),
          role: words('primary', 'replica', 'learner'),
          inSync: flag(),
          offset: count(),
          lagMs: Type.Number(),
          held: Type.Optional(Type.Literal('DISK_FULL')),
        }),
      ),
    }),
  ),
});
const conditions = Type.Array(Type.Object({ name: text(), ready: flag(), waitsFor: text() }));
export const ReadinessShape = shape('Readiness', { ready: flag(), conditions });
export const HealthShape = shape('Health', {
  status: words('UP', 'DEGRADED', 'DOWN'),
  conditions,
  degraded: Type.Array(Type.String()),
});
