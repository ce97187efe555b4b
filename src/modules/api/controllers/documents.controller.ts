import { Controller, Delete, Get, Inject, Param, Patch, Post, Put, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import type { CatalogPort, DocumentsPort } from '../../coordinator/coordinator.js';
import { CATALOG, DOCUMENTS } from '../../coordinator/coordinator.js';
import type { WriteAnswer } from '../../coordinator/core/requests.js';
import { documentJson } from '../core/answers.js';
import { checkedId, documentFieldsOf, documentPatchOf } from '../core/document-fields.js';
import { filterOf, idsOf } from '../core/filter.js';
import { Endpoint } from '../http/endpoint.js';
import { callOf, conditionOf, readOptionsOf, sendJson, sessionOf, writeOptionsOf } from '../rest.mapper.js';
import {
  CountAnswerShape,
  DeleteAnswerShape,
  DeleteManyAnswerShape,
  DocumentShape,
  GetManyAnswerShape,
  ScrollAnswerShape,
  WriteAnswerShape,
} from '../schemas/answers.js';
import {
  CountBody,
  DeleteManyBody,
  GetManyBody,
  GetQuery,
  IngestBody,
  PatchBody,
  PutBody,
  ScrollBody,
} from '../schemas/documents.js';
import { READ_ERRORS, UPSERT_ERRORS, WRITE_ERRORS } from '../docs/common-errors.js';
import { ReadQuery, WriteQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { validator } from '../schemas/validator.js';

const ingestBody = validator(IngestBody);
const putBody = validator(PutBody);
const patchBody = validator(PatchBody);
const getManyBody = validator(GetManyBody);
const deleteManyBody = validator(DeleteManyBody);
const scrollBody = validator(ScrollBody);
const countBody = validator(CountBody);
const writeQuery = queryReader(WriteQuery);
const readQuery = queryReader(ReadQuery);
const getQuery = queryReader(GetQuery);

const WRITE = { scope: 'write', tag: 'Documents', query: WriteQuery } as const;
const READ = { scope: 'read', tag: 'Documents', query: ReadQuery } as const;
const KEYED_ERRORS = [...WRITE_ERRORS, 'VERSION_CONFLICT', 'IDEMPOTENCY_CONFLICT'] as const;
const WRITE_HEADERS = ['Idempotency-Key', 'Spector-Session', 'If-Match', 'If-None-Match'] as const;
/** Of calls that need the document to exist. */
const EXISTING_HEADERS = ['Idempotency-Key', 'Spector-Session', 'If-Match'] as const;
const SESSION_HEADER = ['Spector-Session'] as const;

/** Documents by id and by filter (api.md, REST). */
@Controller('api/v1')
export class DocumentsController {
  constructor(
    @Inject(DOCUMENTS) private readonly documents: DocumentsPort,
    @Inject(CATALOG) private readonly catalog: CatalogPort,
  ) {}

  @Post('ingest')
  @Endpoint({
    ...WRITE,
    summary: 'Store one document: create it, or replace the one with its id',
    body: IngestBody,
    headers: WRITE_HEADERS,
    answers: { 201: WriteAnswerShape },
    errors: [...KEYED_ERRORS, ...UPSERT_ERRORS],
  })
  async ingest(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = ingestBody(request.body);
    const query = writeQuery(request.query);
    const document = { id: checkedId(body.id), fields: documentFieldsOf(body) };
    const options = writeOptionsOf(request, this.standard(), query, body);
    const call = callOf(reply, sessionOf(request, query, body));
    const answer = await this.documents.ingest(document, conditionOf(request), options, call);
    sendWrite(reply, 201, answer, documentPath(answer.id, options.collection));
  }

  @Get('documents/:id')
  @Endpoint({
    ...READ,
    summary: 'Read one document',
    query: GetQuery,
    headers: SESSION_HEADER,
    answers: { 200: DocumentShape },
    errors: [...READ_ERRORS, 'DOCUMENT_NOT_FOUND'],
  })
  async get(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const query = getQuery(request.query);
    const session = sessionOf(request, query);
    const found = await this.documents.get(
      checkedId(id),
      query.withVector ?? false,
      readOptionsOf(query, session),
      callOf(reply, session),
    );
    sendJson(
      reply,
      200,
      { ...documentJson(found), session: found.session },
      { session: found.session, version: found.version },
    );
  }

  @Put('documents/:id')
  @Endpoint({
    ...WRITE,
    summary: 'Create or replace one document',
    body: PutBody,
    headers: WRITE_HEADERS,
    answers: { 200: WriteAnswerShape, 201: WriteAnswerShape },
    errors: [...KEYED_ERRORS, ...UPSERT_ERRORS],
  })
  async put(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = putBody(request.body);
    const document = { id: checkedId(id), fields: documentFieldsOf(body) };
    const query = writeQuery(request.query);
    const options = writeOptionsOf(request, this.standard(), query);
    const answer = await this.documents.ingest(
      document,
      conditionOf(request),
      options,
      callOf(reply, sessionOf(request, query, body)),
    );
    sendWrite(reply, answer.created ? 201 : 200, answer, documentPath(answer.id, options.collection));
  }

  @Patch('documents/:id')
  @Endpoint({
    ...WRITE,
    summary: 'Merge into one document (RFC 7386)',
    body: PatchBody,
    headers: EXISTING_HEADERS,
    answers: { 200: WriteAnswerShape },
    errors: [...KEYED_ERRORS, ...UPSERT_ERRORS, 'DOCUMENT_NOT_FOUND'],
  })
  async patch(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = patchBody(request.body);
    const patch = documentPatchOf(body);
    const query = writeQuery(request.query);
    const options = writeOptionsOf(request, this.standard(), query);
    const answer = await this.documents.patch(
      checkedId(id),
      patch,
      conditionOf(request),
      options,
      callOf(reply, sessionOf(request, query, body)),
    );
    sendWrite(reply, 200, answer);
  }

  @Delete('documents/:id')
  @Endpoint({
    ...WRITE,
    summary: 'Delete one document',
    headers: EXISTING_HEADERS,
    answers: { 200: DeleteAnswerShape },
    errors: [...KEYED_ERRORS, 'DOCUMENT_NOT_FOUND'],
  })
  async delete(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const query = writeQuery(request.query);
    const options = writeOptionsOf(request, this.standard(), query);
    const answer = await this.documents.delete(
      checkedId(id),
      conditionOf(request),
      options,
      callOf(reply, sessionOf(request, query)),
    );
    sendJson(reply, 200, answer, { session: answer.session, version: answer.version });
  }

  @Post('documents/get')
  @Endpoint({
    ...READ,
    summary: 'Read several documents',
    body: GetManyBody,
    headers: SESSION_HEADER,
    answers: { 200: GetManyAnswerShape },
    errors: READ_ERRORS,
  })
  async getMany(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = getManyBody(request.body);
    const query = readQuery(request.query);
    const session = sessionOf(request, query, body);
    const ids = idsOf(body.ids, 'ids');
    const answer = await this.documents.getMany(
      ids,
      body.withVector ?? false,
      readOptionsOf(query, session),
      callOf(reply, session),
    );
    sendJson(reply, 200, { ...answer, documents: answer.documents.map(documentJson) }, { session: answer.session });
  }

  @Post('documents/delete')
  @Endpoint({
    ...WRITE,
    summary: 'Delete several documents, by ids or by filter',
    body: DeleteManyBody,
    headers: ['Idempotency-Key', 'Spector-Session'],
    answers: { 200: DeleteManyAnswerShape },
    errors: [...WRITE_ERRORS, 'NOT_CAUGHT_UP', 'IDEMPOTENCY_CONFLICT'],
  })
  async deleteMany(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = deleteManyBody(request.body);
    const query = writeQuery(request.query);
    const options = writeOptionsOf(request, this.standard(), query);
    if ((body.ids === undefined) === (body.filter === undefined))
      throw new NodeError('INVALID_REQUEST', 'give either `ids` or `filter`');
    const call = callOf(reply, sessionOf(request, query, body));
    const answer =
      body.ids === undefined
        ? await this.documents.deleteByFilter(filterOf(body.filter), options, call)
        : await this.documents.deleteMany(idsOf(body.ids, 'ids'), options, call);
    sendJson(reply, 200, answer, { session: answer.session });
  }

  @Post('documents/scroll')
  @Endpoint({
    ...READ,
    summary: 'Read matching documents page by page',
    body: ScrollBody,
    bodyMayMiss: true,
    headers: SESSION_HEADER,
    answers: { 200: ScrollAnswerShape },
    errors: READ_ERRORS,
  })
  async scroll(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = scrollBody(request.body === undefined ? {} : request.body);
    const query = readQuery(request.query);
    const session = sessionOf(request, query, body);
    const answer = await this.documents.scroll(
      {
        ...readOptionsOf(query, session),
        ...(body.filter === undefined ? {} : { filter: filterOf(body.filter) }),
        limit: body.limit ?? 100,
        ...(body.cursor === undefined || body.cursor === null ? {} : { cursor: body.cursor }),
        fields: {
          title: body.withTitle ?? true,
          content: body.withContent ?? false,
          metadata: body.withMetadata ?? true,
          vector: body.withVector ?? false,
        },
      },
      callOf(reply, session),
    );
    sendJson(reply, 200, { ...answer, documents: answer.documents.map(documentJson) }, { session: answer.session });
  }

  @Post('documents/count')
  @Endpoint({
    ...READ,
    summary: 'Count matching documents',
    body: CountBody,
    bodyMayMiss: true,
    headers: SESSION_HEADER,
    answers: { 200: CountAnswerShape },
    errors: READ_ERRORS,
  })
  async count(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const body = countBody(request.body === undefined ? {} : request.body);
    const query = readQuery(request.query);
    const session = sessionOf(request, query, body);
    const filter = body.filter === undefined ? undefined : filterOf(body.filter);
    const answer = await this.documents.count(filter, readOptionsOf(query, session), callOf(reply, session));
    sendJson(reply, 200, answer, { session: answer.session });
  }

  private standard() {
    return this.catalog.settings().writeConsistency;
  }
}

function sendWrite(reply: FastifyReply, status: number, answer: WriteAnswer, location?: string): void {
  sendJson(reply, status, answer, {
    session: answer.session,
    version: answer.version,
    ...(status === 201 && location !== undefined ? { location } : {}),
  });
}

function documentPath(id: string, collection: string): string {
  const query = collection === 'default' ? '' : `?collection=${encodeURIComponent(collection)}`;
  return `/api/v1/documents/${encodeURIComponent(id)}${query}`;
}
