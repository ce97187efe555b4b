/**
 * Every bound a client or an operator can meet, with its unit and reason, in one place (api.md, Limits).
 * Anything above a bound gets a typed error before memory is taken for it.
 */
export const LIMITS = {
  /** Bytes of a document id in UTF-8: a LevelDB key and a label stay small. */
  idBytesMax: 512,
  /** Bytes of one encoded document: a batch of the replication stream holds at least one. */
  documentBytesMax: 1024 * 1024,
  /** Bytes of a JSON request body; NDJSON is streamed and has no bound. */
  bodyBytesMax: 8 * 1024 * 1024,
  /** Bytes of one NDJSON line: a document in JSON text is larger than its encoding (floats as digits). */
  lineBytesMax: 4 * 1024 * 1024,
  /** Bytes of a gRPC message from a client. */
  grpcMessageBytesMax: 8 * 1024 * 1024,
  /** Bytes of a gRPC message from a peer. */
  peerMessageBytesMax: 4 * 1024 * 1024,
  /** Entry bytes of one batch of a replication stream; a batch of one entry may be larger (replication 4.2). */
  replicaBatchBytesMax: 256 * 1024,
  /** Bytes of the documents of one answer: it is held in memory whole, and written in one turn. A scroll gives a shorter page. */
  answerBytesMax: 32 * 1024 * 1024,
  /** Bytes of the documents of a page over gRPC, as sent: a client takes messages of 4 MiB unless it says otherwise. */
  grpcPageBytesMax: 3840 * 1024,
  /** Answers of a node at once that last: events, changes and logs that are followed. */
  lastingAnswersMax: 1_024,
  /** Results of one search, and the end of the furthest page. */
  topKMax: 10_000,
  /** HNSW search width. */
  efMax: 4_096,
  /** Bytes of a search text in UTF-8. */
  searchTextBytesMax: 32 * 1024,
  /** Distinct terms of a search text times candidates of a shard: 16 MiB of term frequencies in an answer. */
  termCandidatesMax: 4 * 1024 * 1024,
  /** Bytes of the metadata of one document, as JSON in UTF-8. */
  metadataBytesMax: 64 * 1024,
  /** Nesting of metadata: objects and arrays. */
  metadataDepthMax: 16,
  /** Filterable (dotted) metadata keys of a collection. */
  attributeKeysMax: 256,
  /** Clauses of a filter, nested ones included. */
  filterClausesMax: 64,
  /** Nesting of a filter. */
  filterDepthMax: 8,
  /** Values of one `any` match or one `ids` clause. */
  filterValuesMax: 1_000,
  collectionsMax: 64,
  aliasesMax: 256,
  dimensionsMax: 4_096,
  shardsMax: 256,
  /** Ids of one get-many or delete-many. */
  idsMax: 1_000,
  /** Documents of one page of a scroll. */
  scrollMax: 1_000,
  /** Errors listed in a bulk answer; the count is always exact. */
  bulkErrorsMax: 1_000,
  /** Characters of an Idempotency-Key. */
  idempotencyKeyMax: 256,
  /** Nesting of any JSON body, checked on the bytes before they are parsed. */
  jsonDepthMax: 64,
} as const;
