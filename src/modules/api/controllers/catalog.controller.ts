import { Controller, Delete, Get, Inject, Param, Put, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import { COLLECTION_NAME_PATTERN } from '../../../kernel/ids.js';
import type { CatalogPort } from '../../coordinator/coordinator.js';
import { CATALOG } from '../../coordinator/coordinator.js';
import { MAP_ERRORS } from '../docs/common-errors.js';
import { shown } from '../core/shown.js';
import { Endpoint } from '../http/endpoint.js';
import { sendJson } from '../rest.mapper.js';
import { AliasShape, CollectionShape, CollectionsShape, DeletedShape } from '../schemas/answers.js';
import { AliasBody, CollectionBody } from '../schemas/catalog.js';
import { NoQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { validator } from '../schemas/validator.js';

const collectionBody = validator(CollectionBody);
const aliasBody = validator(AliasBody);
const noQuery = queryReader(NoQuery);

const COLLECTIONS = { scope: 'admin', tag: 'Collections', query: NoQuery } as const;
const ALIASES = { scope: 'admin', tag: 'Aliases', query: NoQuery } as const;

/** Collections and aliases: changes of the map (api.md, REST). */
@Controller('api/v1')
export class CatalogController {
  constructor(@Inject(CATALOG) private readonly catalog: CatalogPort) {}

  @Get('collections')
  @Endpoint({ ...COLLECTIONS, summary: 'List collections', answers: { 200: CollectionsShape } })
  async listCollections(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, { collections: await this.catalog.listCollections() });
  }

  @Put('collections/:name')
  @Endpoint({
    ...COLLECTIONS,
    summary: 'Create a collection; equal settings of an existing one are accepted',
    body: CollectionBody,
    bodyMayMiss: true,
    answers: { 200: CollectionShape, 201: CollectionShape },
    errors: [...MAP_ERRORS, 'COLLECTION_CONFLICT'],
  })
  async putCollection(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    const settings = collectionBody(request.body === undefined ? {} : request.body);
    const { created, collection } = await this.catalog.putCollection(checkedName(name), settings);
    sendJson(reply, created ? 201 : 200, collection, created ? { location: `/api/v1/collections/${name}` } : {});
  }

  @Get('collections/:name')
  @Endpoint({
    ...COLLECTIONS,
    summary: 'Read a collection',
    answers: { 200: CollectionShape },
    errors: ['COLLECTION_NOT_FOUND'],
  })
  async getCollection(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, await this.catalog.getCollection(checkedName(name)));
  }

  @Delete('collections/:name')
  @Endpoint({
    ...COLLECTIONS,
    summary: 'Drop a collection with its documents',
    answers: { 200: DeletedShape },
    errors: [...MAP_ERRORS, 'COLLECTION_NOT_FOUND', 'OPERATION_CONFLICT'],
  })
  async deleteCollection(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    await this.catalog.deleteCollection(checkedName(name));
    sendJson(reply, 200, { name, deleted: true });
  }

  @Put('aliases/:name')
  @Endpoint({
    ...ALIASES,
    summary: 'Point an alias at a collection, atomically',
    body: AliasBody,
    answers: { 200: AliasShape, 201: AliasShape },
    errors: [...MAP_ERRORS, 'COLLECTION_NOT_FOUND', 'COLLECTION_CONFLICT'],
  })
  async putAlias(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    const { collection } = aliasBody(request.body);
    const { created, alias } = await this.catalog.putAlias(checkedName(name), collection);
    sendJson(reply, created ? 201 : 200, alias, created ? { location: `/api/v1/aliases/${name}` } : {});
  }

  @Get('aliases/:name')
  @Endpoint({
    ...ALIASES,
    summary: 'Read an alias',
    answers: { 200: AliasShape },
    errors: ['ALIAS_NOT_FOUND'],
  })
  async getAlias(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, await this.catalog.getAlias(checkedName(name)));
  }

  @Delete('aliases/:name')
  @Endpoint({
    ...ALIASES,
    summary: 'Remove an alias',
    answers: { 200: DeletedShape },
    errors: [...MAP_ERRORS, 'ALIAS_NOT_FOUND'],
  })
  async deleteAlias(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    await this.catalog.deleteAlias(checkedName(name));
    sendJson(reply, 200, { name, deleted: true });
  }
}

function checkedName(name: string): string {
  if (COLLECTION_NAME_PATTERN.test(name)) return name;
  throw new NodeError(
    'INVALID_REQUEST',
    `the name ${shown(name)} must be 1–63 letters, digits, '_', '.' or '-', and begin with a letter or digit`,
  );
}
