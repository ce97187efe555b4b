import type { Static } from 'typebox';
import { Type } from 'typebox';
import { LIMITS } from '../../../kernel/limits.js';
import { closed, CollectionName, limitedInteger, oneOf, WriteConsistencyField } from './fields.js';

/** `PUT /api/v1/collections/{name}`. */
export const CollectionBody = closed(
  {
    dimensions: Type.Optional(
      limitedInteger(1, LIMITS.dimensionsMax, 'Dimension of its vectors; by default that of the first one.'),
    ),
    similarity: Type.Optional(oneOf(['cosine', 'dot', 'euclidean'], 'How its vectors are compared.')),
    hnsw: Type.Optional(
      closed({
        m: Type.Optional(Type.Integer({ minimum: 4, maximum: 64, description: 'Links of a vector in the index.' })),
        efConstruction: Type.Optional(
          Type.Integer({ minimum: 16, maximum: 800, description: 'Search width while building.' }),
        ),
        efSearch: Type.Optional(Type.Integer({ minimum: 10, maximum: 1000, description: 'Default search width.' })),
      }),
    ),
  },
  'Settings of a collection: what is not said of a new one is as the node is configured, of an existing one as it is.',
  { dimensions: 3, similarity: 'cosine', hnsw: { m: 16, efConstruction: 200, efSearch: 100 } },
);
export type CollectionBody = Static<typeof CollectionBody>;

/** `PUT /api/v1/aliases/{name}`. */
export const AliasBody = closed({ collection: CollectionName }, 'What the alias stands for.', {
  collection: 'default',
});
export type AliasBody = Static<typeof AliasBody>;

/** `PATCH /api/v1/cluster/config`. */
export const ClusterConfigBody = closed(
  {
    replicaCount: Type.Optional(Type.Integer({ minimum: 0, maximum: 5, description: 'Copies besides the primary.' })),
    writeConsistency: Type.Optional(WriteConsistencyField),
    partitionMode: Type.Optional(oneOf(['available', 'strict'], 'What a side of a partition may do.')),
    rebalanceGrace: Type.Optional(Type.String({ description: '0s–24h, e.g. `10m`.', examples: ['10m'] })),
  },
  'At least one setting.',
  { replicaCount: 1, rebalanceGrace: '10m' },
);
export type ClusterConfigBody = Static<typeof ClusterConfigBody>;

/** `POST /api/v1/cluster/shards`. */
export const ReshardBody = closed(
  { shardCount: Type.Integer({ minimum: 1, maximum: LIMITS.shardsMax }) },
  'The new number of shards.',
  { shardCount: 4 },
);
export type ReshardBody = Static<typeof ReshardBody>;

/** `POST /api/v1/cluster/shards/{n}/primary`. */
export const MovePrimaryBody = closed(
  {
    node: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$', description: 'Node id.' }),
  },
  'Where to.',
  { node: 'node-2' },
);
export type MovePrimaryBody = Static<typeof MovePrimaryBody>;

/** `POST /api/v1/cluster/shards/{n}/force`. */
export const ForceBody = closed(
  {
    node: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$', description: 'Node id: the shard goes on there.' }),
    empty: Type.Optional(Type.Boolean({ description: 'Whether it begins anew, without documents. Default false.' })),
    acceptDataLoss: Type.Literal(true, {
      description: 'What only the lost disks had is gone, unless one of them comes back.',
    }),
  },
  'Which copy, and that the loss is accepted.',
  { node: 'node-2', acceptDataLoss: true },
);
export type ForceBody = Static<typeof ForceBody>;

/** `POST /api/v1/cluster/map/force`. */
export const ForceMapBody = closed(
  {
    node: Type.String({
      pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
      description: 'Node id: that of the node that is asked.',
    }),
    acceptDataLoss: Type.Literal(true, {
      description: 'Changes of the map that only the lost voters had are gone: collections, aliases, settings, moves.',
    }),
  },
  'Which copy, and that the loss is accepted.',
  { node: 'node-2', acceptDataLoss: true },
);
export type ForceMapBody = Static<typeof ForceMapBody>;

/** `GET /api/v1/changes`. */
export const ChangesQuery = closed({
  cursor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 16_384,
      description:
        'Cursor of the last line seen; `latest`: from now on. Absent: from the beginning, which is the newest state of each document for what the log was compacted by, and every write from there on.',
    }),
  ),
  collection: Type.Optional(CollectionName),
  follow: Type.Optional(
    Type.Boolean({
      description: 'Whether to wait for more at the end; without, that is where the log ended when it was begun.',
    }),
  ),
});
export type ChangesQuery = Static<typeof ChangesQuery>;

/** `GET /api/v1/shards/{n}/log`. */
export const ShardLogQuery = closed({
  from: Type.Optional(Type.Integer({ minimum: 1, description: 'First offset; 1 by default.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Lines at most; all by default.' })),
  follow: Type.Optional(
    Type.Boolean({
      description: 'Whether to wait for more at the end; without, that is where the log ended when it was begun.',
    }),
  ),
});
export type ShardLogQuery = Static<typeof ShardLogQuery>;

/** `GET /api/v1/events`. */
export const EventsQuery = closed({
  filter: Type.Optional(
    Type.String({
      description:
        'Kinds or their beginnings, separated by commas, e.g. `cluster,document.bulk_progress`. Heartbeats come whatever it names.',
    }),
  ),
});
export type EventsQuery = Static<typeof EventsQuery>;
