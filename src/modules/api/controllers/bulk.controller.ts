import type { IncomingMessage } from 'node:http';
import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import { problemOf } from '../../../platform/http/problem.js';
import type { CatalogPort, DocumentsPort } from '../../coordinator/coordinator.js';
import { CATALOG, DOCUMENTS } from '../../coordinator/coordinator.js';
import type { BulkItem, BulkResult } from '../../coordinator/core/requests.js';
import { envelopeItems, parseBulkEnvelope } from '../bulk-envelope.js';
import { UPSERT_ERRORS, WRITE_ERRORS } from '../docs/common-errors.js';
import type { BulkSchemas } from '../core/bulk-item.js';
import { bulkOutcome, bulkRetryAfterMs } from '../core/bulk-status.js';
import { Endpoint } from '../http/endpoint.js';
import { chunksOf, decoded, discardBody } from '../http/read-body.js';
import { instanceOf, replyProblem } from '../http/send-problem.js';
import { ndjsonItems } from '../ndjson.js';
import { callOf, sendJson, sessionOf, writeOptionsOf } from '../rest.mapper.js';
import { BulkAnswerShape } from '../schemas/answers.js';
import { BulkBody, BulkEnvelope, DeleteLine, PatchLine, UpsertLine } from '../schemas/documents.js';
import { WriteQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { validator } from '../schemas/validator.js';

const writeQuery = queryReader(WriteQuery);
const bulkEnvelope = validator(BulkEnvelope);
/** The shapes of bulk items, compiled. */
export const BULK_SCHEMAS: BulkSchemas = {
  upsert: validator(UpsertLine, 'the document'),
  patch: validator(PatchLine, 'the patch'),
  delete: validator(DeleteLine, 'the deletion'),
};

/** Bulks: JSON or NDJSON, good items stored and bad ones listed (api.md, bulk). */
@Controller('api/v1/ingest')
export class BulkController {
  constructor(
    @Inject(DOCUMENTS) private readonly documents: DocumentsPort,
    @Inject(CATALOG) private readonly catalog: CatalogPort,
  ) {}

  @Post('bulk')
  @Endpoint({
    scope: 'write',
    tag: 'Documents',
    summary: 'Store, patch and delete many documents; NDJSON of any length is streamed',
    query: WriteQuery,
    body: BulkBody,
    input: 'bulk',
    headers: ['Idempotency-Key', 'Spector-Session'],
    answers: { 200: BulkAnswerShape, 201: BulkAnswerShape },
    errors: [...WRITE_ERRORS, ...UPSERT_ERRORS],
  })
  async bulk(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { body } = request;
    if (body === request.raw) await this.stream(request, reply, request.raw);
    else await this.whole(request, reply, Buffer.isBuffer(body) ? body : Buffer.alloc(0));
  }

  /** `{"documents": […]}`. */
  private async whole(request: FastifyRequest, reply: FastifyReply, bytes: Buffer): Promise<void> {
    const query = writeQuery(request.query);
    const envelope = await parseBulkEnvelope(bytes);
    const body = bulkEnvelope(envelope.options);
    const items = envelopeItems(envelope, BULK_SCHEMAS);
    sendBulk(request, reply, await this.store(request, reply, items, [query, body]));
  }

  /** NDJSON; when it fails before its end, the rest is read away so that the client sees the answer. */
  private async stream(request: FastifyRequest, reply: FastifyReply, raw: IncomingMessage): Promise<void> {
    let result: BulkResult;
    try {
      const source = decoded(raw);
      if (source instanceof NodeError) throw source;
      result = await this.store(request, reply, ndjsonItems(chunksOf(source), BULK_SCHEMAS), [
        writeQuery(request.query),
      ]);
    } finally {
      raw.unpipe();
      await new Promise<void>((resolve) => {
        discardBody(raw, resolve);
      });
    }
    sendBulk(request, reply, result);
  }

  private store(
    request: FastifyRequest,
    reply: FastifyReply,
    items: AsyncIterable<BulkItem>,
    sources: readonly (ReturnType<typeof writeQuery> | ReturnType<typeof bulkEnvelope>)[],
  ): Promise<BulkResult> {
    const options = writeOptionsOf(request, this.catalog.settings().writeConsistency, ...sources);
    const call = callOf(reply, sessionOf(request, ...sources));
    return this.documents.bulk(items, options, call);
  }
}

/** The answer; a problem document that carries it when nothing was stored. */
function sendBulk(request: FastifyRequest, reply: FastifyReply, result: BulkResult): void {
  const { answer } = result;
  const outcome = bulkOutcome(result);
  if (!('code' in outcome)) {
    sendJson(reply, outcome.status, answer, { session: answer.session });
    return;
  }
  const first = answer.errors[0];
  const detail =
    first === undefined
      ? 'the bulk holds no documents'
      : `none of ${answer.total} items was stored; the first: ${first.detail}`;
  const retryAfterMs = bulkRetryAfterMs(outcome.code);
  const error = new NodeError(outcome.code, detail, {
    extra: { ...answer },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
  const { problem } = problemOf(error, instanceOf(request.id));
  replyProblem(problem, reply.header('spector-session', answer.session));
}
