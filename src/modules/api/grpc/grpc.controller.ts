import { Controller, Inject, UseFilters, UseGuards } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { create } from '@bufbuild/protobuf';
import * as pb from '../../../gen/spector/v1/spector_pb.js';
import { NodeError } from '../../../kernel/errors.js';
import { COLLECTION_NAME_PATTERN } from '../../../kernel/ids.js';
import type { ServerCall } from '../../../platform/grpc/grpc-call.js';
import { grpcCallContext, sendInitialMetadata } from '../../../platform/grpc/grpc-call.js';
import { GrpcErrorFilter } from '../../../platform/grpc/grpc-error-filter.js';
import type {
  CatalogPort,
  ClusterPort,
  DocumentsPort,
  SearchPort,
  StreamsPort,
} from '../../coordinator/coordinator.js';
import { CATALOG, CLUSTER, CURSOR_LATEST, DOCUMENTS, SEARCH, STREAMS } from '../../coordinator/coordinator.js';
import type { BulkItem } from '../../coordinator/core/requests.js';
import { checkedId } from '../core/document-fields.js';
import { shown } from '../core/shown.js';
import {
  bulkMessage,
  changeMessage,
  collectionMessage,
  documentMessage,
  PAGE_BOUND,
  searchMessage,
  shardsMessage,
  statusMessage,
  writeFields,
} from './grpc-answers.js';
import { Gated, GrpcAuthGuard } from './grpc-auth.guard.js';
import {
  bulkItemOf,
  callContextOf,
  collectionSettingsOf,
  conditionOf,
  documentOf,
  existingConditionOf,
  optionalFilterOf,
  patchOf,
  readOptionsOf,
  scrollOf,
  searchOf,
  writeOptionsOf,
} from './grpc-requests.js';

const SERVICE = 'SpectorService';

/** `spector.v1.SpectorService` (api.md, gRPC): the calls of the HTTP edge for programs. */
@Controller()
@UseFilters(GrpcErrorFilter)
@UseGuards(GrpcAuthGuard)
export class GrpcController {
  constructor(
    @Inject(DOCUMENTS) private readonly documents: DocumentsPort,
    @Inject(SEARCH) private readonly searches: SearchPort,
    @Inject(CATALOG) private readonly catalog: CatalogPort,
    @Inject(CLUSTER) private readonly cluster: ClusterPort,
    @Inject(STREAMS) private readonly streams: StreamsPort,
  ) {}

  @GrpcMethod(SERVICE, 'Ingest')
  @Gated('write')
  async ingest(request: pb.IngestRequest, _metadata: unknown, call: ServerCall): Promise<pb.IngestResponse> {
    const options = writeOptionsOf(request, this.standard());
    const context = callContextOf(grpcCallContext(call), request.session);
    const answer = await this.documents.ingest(documentOf(request), conditionOf(request.condition), options, context);
    return create(pb.IngestResponseSchema, writeFields(answer));
  }

  @GrpcStreamMethod(SERVICE, 'IngestStream')
  @Gated('write')
  async ingestStream(
    requests: AsyncIterable<pb.IngestStreamRequest>,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.IngestStreamResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true) throw new NodeError('INVALID_REQUEST', 'the stream holds no items');
    const { options = NO_OPTIONS } = first.value;
    const writeOptions = writeOptionsOf(options, this.standard());
    const context = callContextOf(grpcCallContext(call), options.session);
    const { answer } = await this.documents.bulk(itemsOf(first.value, iterator), writeOptions, context);
    if (answer.total === 0) throw new NodeError('INVALID_REQUEST', 'the stream holds no items');
    return bulkMessage(answer);
  }

  @GrpcMethod(SERVICE, 'Search')
  @Gated('read')
  async search(request: pb.SearchRequest, _metadata: unknown, call: ServerCall): Promise<pb.SearchResponse> {
    const context = callContextOf(grpcCallContext(call), request.session, request.timeoutMs);
    return searchMessage(await this.searches.search(searchOf(request), context));
  }

  @GrpcMethod(SERVICE, 'GetDocument')
  @Gated('read')
  async getDocument(
    request: pb.GetDocumentRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.GetDocumentResponse> {
    const context = callContextOf(grpcCallContext(call), request.session);
    const found = await this.documents.get(
      checkedId(request.id),
      request.withVector ?? false,
      readOptionsOf(request),
      context,
    );
    return create(pb.GetDocumentResponseSchema, { document: documentMessage(found), session: found.session });
  }

  @GrpcMethod(SERVICE, 'PatchDocument')
  @Gated('write')
  async patchDocument(
    request: pb.PatchDocumentRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.PatchDocumentResponse> {
    const options = writeOptionsOf(request, this.standard());
    const context = callContextOf(grpcCallContext(call), request.session);
    const condition = existingConditionOf(request.condition);
    const answer = await this.documents.patch(
      checkedId(request.id),
      patchOf(request.patch),
      condition,
      options,
      context,
    );
    return create(pb.PatchDocumentResponseSchema, writeFields(answer));
  }

  @GrpcMethod(SERVICE, 'DeleteDocument')
  @Gated('write')
  async deleteDocument(
    request: pb.DeleteDocumentRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.DeleteDocumentResponse> {
    const options = writeOptionsOf(request, this.standard());
    const context = callContextOf(grpcCallContext(call), request.session);
    const answer = await this.documents.delete(
      checkedId(request.id),
      existingConditionOf(request.condition),
      options,
      context,
    );
    return create(pb.DeleteDocumentResponseSchema, answer);
  }

  @GrpcMethod(SERVICE, 'ScrollDocuments')
  @Gated('read')
  async scrollDocuments(
    request: pb.ScrollDocumentsRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.ScrollDocumentsResponse> {
    const answer = await this.documents.scroll(
      { ...scrollOf(request), bound: PAGE_BOUND },
      callContextOf(grpcCallContext(call), request.session),
    );
    return create(pb.ScrollDocumentsResponseSchema, {
      documents: answer.documents.map(documentMessage),
      ...(answer.cursor === null ? {} : { cursor: answer.cursor }),
      shards: shardsMessage(answer.shards),
      session: answer.session,
    });
  }

  @GrpcMethod(SERVICE, 'CountDocuments')
  @Gated('read')
  async countDocuments(
    request: pb.CountDocumentsRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.CountDocumentsResponse> {
    const context = callContextOf(grpcCallContext(call), request.session);
    const answer = await this.documents.count(optionalFilterOf(request.filter), readOptionsOf(request), context);
    return create(pb.CountDocumentsResponseSchema, {
      count: BigInt(answer.count),
      shards: shardsMessage(answer.shards),
      session: answer.session,
    });
  }

  @GrpcMethod(SERVICE, 'PutCollection')
  @Gated('admin')
  async putCollection(request: pb.PutCollectionRequest): Promise<pb.PutCollectionResponse> {
    if (!COLLECTION_NAME_PATTERN.test(request.name)) {
      throw new NodeError(
        'INVALID_REQUEST',
        `the name ${shown(request.name)} must be 1–63 letters, digits, '_', '.' or '-', and begin with a letter or digit`,
      );
    }
    const { created, collection } = await this.catalog.putCollection(request.name, collectionSettingsOf(request));
    return create(pb.PutCollectionResponseSchema, { created, collection: collectionMessage(collection) });
  }

  @GrpcMethod(SERVICE, 'ListCollections')
  @Gated('admin')
  async listCollections(
    _request: pb.ListCollectionsRequest,
    _metadata: unknown,
    call: ServerCall,
  ): Promise<pb.ListCollectionsResponse> {
    const collections = await this.catalog.listCollections(grpcCallContext(call).timeoutMs);
    return create(pb.ListCollectionsResponseSchema, { collections: collections.map(collectionMessage) });
  }

  @GrpcMethod(SERVICE, 'GetStatus')
  @Gated('read', true)
  async getStatus(): Promise<pb.GetStatusResponse> {
    return statusMessage(await this.cluster.status());
  }

  /** Ends when the client goes away, or with DRAINING when the node stops. */
  @GrpcMethod(SERVICE, 'Changes')
  @Gated('read')
  async *changes(request: pb.ChangesRequest, _metadata: unknown, call: ServerCall): AsyncGenerator<pb.ChangesResponse> {
    const { signal } = grpcCallContext(call);
    let cursor = request.cursor === '' ? undefined : request.cursor;
    const collection = request.collection === '' ? undefined : request.collection;
    if (cursor === CURSOR_LATEST) {
      cursor = await this.streams.latest(signal);
      sendInitialMetadata(call, { 'spector-cursor': cursor });
    }
    for await (const change of this.streams.changes(cursor, collection, request.follow ?? false, signal))
      yield changeMessage(change);
  }

  private standard() {
    return this.catalog.settings().writeConsistency;
  }
}

const NO_OPTIONS = {
  collection: '',
  consistency: pb.WriteConsistency.UNSPECIFIED,
  idempotencyKey: '',
  session: '',
} as const;

/** The items of a stream whose first message was read for its options. */
async function* itemsOf(
  first: pb.IngestStreamRequest,
  rest: AsyncIterator<pb.IngestStreamRequest>,
): AsyncGenerator<BulkItem> {
  const item = bulkItemOf(first);
  if (item !== undefined) yield item;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    yield next.value.options === undefined ? (bulkItemOf(next.value) ?? NO_ITEM) : LATE_OPTIONS;
  }
}

/** An item that names a collection, say, must not go to another one. */
const LATE_OPTIONS: BulkItem = {
  kind: 'invalid',
  code: 'INVALID_REQUEST',
  detail: 'the message carries options: only the first one may',
};

const NO_ITEM: BulkItem = {
  kind: 'invalid',
  code: 'INVALID_REQUEST',
  detail: 'the message carries no item: only the first one may',
};
