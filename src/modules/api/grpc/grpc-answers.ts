import { create, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import * as pb from '../../../gen/spector/v1/spector_pb.js';
import { LIMITS } from '../../../kernel/limits.js';
import type {
  BulkAnswer,
  ChangeView,
  CollectionView,
  DocumentView,
  Fusion,
  PageBound,
  SearchAnswer,
  SearchHit,
  ShardsReport,
  StatusView,
  WriteAnswer,
} from '../../coordinator/core/requests.js';
import { bytesOfVector } from '../core/vector.js';
import { CHANGE_OPS, FAILURE_REASONS, NODE_STATUSES, ROLES, SEARCH_MODES, SIMILARITY_VALUES } from './grpc-words.js';

/** Answers of the coordinator as messages of the gRPC contract. */

/** The fields that the answers to Ingest and PatchDocument share. */
export function writeFields({
  epoch,
  offset,
  ...answer
}: WriteAnswer): Omit<WriteAnswer, 'epoch' | 'offset'> & { readonly epoch: bigint; readonly offset: bigint } {
  return { ...answer, epoch: BigInt(epoch), offset: BigInt(offset) };
}

export function bulkMessage(answer: BulkAnswer): pb.IngestStreamResponse {
  return create(pb.IngestStreamResponseSchema, {
    total: BigInt(answer.total),
    success: BigInt(answer.success),
    failed: BigInt(answer.failed),
    errors: answer.errors.map(({ index, id, code, detail }) => ({
      index: BigInt(index),
      ...(id === null ? {} : { id: id.toWellFormed() }),
      code,
      detail: detail.toWellFormed(),
    })),
    session: answer.session,
  });
}

export function documentMessage(document: DocumentView): pb.Document {
  const { id, title, content, metadata, vector, version } = document;
  return create(pb.DocumentSchema, {
    id,
    version,
    ...(title === undefined ? {} : { title }),
    ...(content === undefined ? {} : { content }),
    ...(metadata === undefined ? {} : { metadata: metadata as JsonObject }),
    ...(vector === undefined ? {} : { vector: bytesOfVector(vector) }),
  });
}

/** A page is one message, small enough for a client that takes no larger ones than clients do by default. */
export const PAGE_BOUND: PageBound = {
  bytesMax: LIMITS.grpcPageBytesMax,
  bytesOf: (document) => toBinary(pb.DocumentSchema, documentMessage(document)).length,
};

export function shardsMessage(report: ShardsReport): pb.ShardsReport {
  return create(pb.ShardsReportSchema, {
    total: report.total,
    ok: report.ok,
    stale: report.stale.map((shard) => ({ ...shard })),
    failed: report.failed.map(({ shard, node, reason }) => ({
      shard,
      ...(node === undefined ? {} : { node }),
      reason: FAILURE_REASONS[reason],
    })),
  });
}

export function searchMessage(answer: SearchAnswer): pb.SearchResponse {
  const { explain } = answer;
  return create(pb.SearchResponseSchema, {
    results: answer.results.map(hitMessage),
    totalHits: answer.totalHits,
    queryTimeMs: answer.queryTimeMs,
    mode: SEARCH_MODES[answer.mode],
    ...(answer.fusion === null ? {} : { fusion: fusionMessage(answer.fusion) }),
    partial: answer.partial,
    shards: shardsMessage(answer.shards),
    coverage: answer.coverage,
    mapEpoch: BigInt(answer.mapEpoch),
    session: answer.session,
    ...(explain === undefined
      ? {}
      : {
          explain: {
            terms: [...(explain.terms ?? [])],
            legSize: explain.legSize,
            ...(explain.ef === undefined ? {} : { ef: explain.ef }),
            rounds: explain.rounds,
            ...(explain.statistics === undefined
              ? {}
              : {
                  statistics: {
                    documents: BigInt(explain.statistics.documents),
                    averageLength: explain.statistics.averageLength,
                  },
                }),
            timings: { ...explain.timings },
          },
        }),
  });
}

function hitMessage(hit: SearchHit): pb.SearchHit {
  const { explanation } = hit;
  return create(pb.SearchHitSchema, {
    id: hit.id,
    score: hit.score,
    ...(hit.titleJson === undefined ? {} : { title: JSON.parse(hit.titleJson) as string }),
    ...(hit.contentJson === undefined ? {} : { content: JSON.parse(hit.contentJson) as string }),
    ...(hit.metadataJson === undefined ? {} : { metadata: JSON.parse(hit.metadataJson) as JsonObject }),
    ...(hit.vector === undefined ? {} : { vector: bytesOfVector(hit.vector) }),
    version: hit.version,
    ranks: { ...hit.ranks },
    ...(explanation === undefined
      ? {}
      : {
          explanation: {
            shard: explanation.shard,
            ...(explanation.vector === undefined ? {} : { vector: { ...explanation.vector } }),
            ...(explanation.keyword === undefined
              ? {}
              : { keyword: { ...explanation.keyword, terms: explanation.keyword.terms.map((term) => ({ ...term })) } }),
          },
        }),
  });
}

function fusionMessage(fusion: Fusion): pb.Fusion {
  return create(pb.FusionSchema, {
    method:
      fusion.method === 'rrf'
        ? { case: 'rrf', value: create(pb.ReciprocalRankFusionSchema, { k: fusion.k, weights: { ...fusion.weights } }) }
        : { case: 'relative', value: create(pb.RelativeScoreFusionSchema, { alpha: fusion.alpha }) },
  });
}

export function collectionMessage(collection: CollectionView): pb.Collection {
  const { name, dimensions, similarity, hnsw, documents, missingShards = [] } = collection;
  return create(pb.CollectionSchema, {
    name,
    ...(dimensions === null ? {} : { dimensions }),
    similarity: SIMILARITY_VALUES[similarity],
    hnsw: { ...hnsw },
    documents: BigInt(documents),
    missingShards: [...missingShards],
  });
}

export function statusMessage(status: StatusView): pb.GetStatusResponse {
  const { topology, shards, ...rest } = status;
  return create(pb.GetStatusResponseSchema, {
    ...rest,
    status: NODE_STATUSES[status.status],
    mapEpoch: BigInt(status.mapEpoch),
    documents: BigInt(status.documents),
    topology: Object.fromEntries(
      Object.entries(topology).map(([node, entry]) => [
        node,
        create(pb.TopologyNodeSchema, { status: entry.status, shards: entry.shards.map(String) }),
      ]),
    ),
    shards: shards.map(({ shard, epoch, primary, documents, offset, replicas }) => ({
      shard,
      epoch: BigInt(epoch),
      ...(primary === null ? {} : { primary }),
      documents: BigInt(documents),
      offset: BigInt(offset),
      replicas: replicas.map((replica) => ({ ...replica, role: ROLES[replica.role], offset: BigInt(replica.offset) })),
    })),
  });
}

export function changeMessage(change: ChangeView): pb.ChangesResponse {
  const { document, restarted } = change;
  return create(pb.ChangesResponseSchema, {
    cursor: change.cursor,
    op: CHANGE_OPS[change.op],
    id: change.id,
    version: change.version,
    collection: change.collection,
    ...(document === undefined ? {} : { document: documentMessage(document) }),
    ...(restarted === undefined ? {} : { restarted: { ...restarted, offset: BigInt(restarted.offset) } }),
  });
}
