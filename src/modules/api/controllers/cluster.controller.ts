import { Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import { NODE_ID_PATTERN } from '../../../kernel/ids.js';
import type { CatalogPort, ClusterPort } from '../../coordinator/coordinator.js';
import { CATALOG, CLUSTER } from '../../coordinator/coordinator.js';
import type { ClusterSettingsView } from '../../coordinator/core/requests.js';
import { MAP_ERRORS } from '../docs/common-errors.js';
import { durationMs, durationText } from '../core/duration.js';
import { shardNumber } from '../core/shard-number.js';
import { shown } from '../core/shown.js';
import { Endpoint } from '../http/endpoint.js';
import { sendJson } from '../rest.mapper.js';
import { ClusterSettingsShape, ClusterShape, OperationShape, StatusShape } from '../schemas/answers.js';
import type { ClusterConfigBody as ClusterConfig } from '../schemas/catalog.js';
import { ClusterConfigBody, ForceBody, ForceMapBody, MovePrimaryBody, ReshardBody } from '../schemas/catalog.js';
import { NoQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { validator } from '../schemas/validator.js';

const configBody = validator(ClusterConfigBody);
const reshardBody = validator(ReshardBody);
const movePrimaryBody = validator(MovePrimaryBody);
const forceBody = validator(ForceBody);
const forceMapBody = validator(ForceMapBody);
const noQuery = queryReader(NoQuery);

const ADMIN = { scope: 'admin', tag: 'Cluster', query: NoQuery } as const;
const NODE_ERRORS = [...MAP_ERRORS, 'NODE_NOT_FOUND', 'OPERATION_CONFLICT'] as const;
const GRACE_MS_MAX = 24 * 3_600_000;

/** What operators look at and do (api.md, REST). */
@Controller('api/v1')
export class ClusterController {
  constructor(
    @Inject(CLUSTER) private readonly cluster: ClusterPort,
    @Inject(CATALOG) private readonly catalog: CatalogPort,
  ) {}

  @Get('status')
  @Endpoint({
    ...ADMIN,
    scope: 'read',
    always: true,
    summary: 'State, topology and shards, the same from every node',
    answers: { 200: StatusShape },
  })
  async status(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, await this.cluster.status());
  }

  @Get('cluster')
  @Endpoint({
    ...ADMIN,
    summary: 'Members, map epoch, settings and the failover promise',
    answers: { 200: ClusterShape },
  })
  async view(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    const view = await this.cluster.cluster();
    sendJson(reply, 200, { ...view, settings: settingsJson(view.settings) });
  }

  @Patch('cluster/config')
  @Endpoint({
    ...ADMIN,
    summary: 'Change settings of the whole cluster',
    body: ClusterConfigBody,
    answers: { 200: ClusterSettingsShape },
    errors: MAP_ERRORS,
  })
  async changeConfig(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    const settings = await this.catalog.changeSettings(settingsOf(configBody(request.body)));
    sendJson(reply, 200, settingsJson(settings));
  }

  @Post('cluster/shards')
  @HttpCode(202)
  @Endpoint({
    ...ADMIN,
    summary: 'Change the number of shards, live',
    body: ReshardBody,
    answers: { 202: OperationShape },
    errors: ['OPERATION_CONFLICT'],
  })
  async reshard(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendOperation(reply, await this.cluster.reshard(reshardBody(request.body).shardCount));
  }

  @Post('cluster/nodes/:id/drain')
  @HttpCode(202)
  @Endpoint({ ...ADMIN, summary: 'Move everything off a node', answers: { 202: OperationShape }, errors: NODE_ERRORS })
  async drain(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendOperation(reply, await this.cluster.drain(checkedNodeId(id)));
  }

  @Delete('cluster/nodes/:id')
  @HttpCode(202)
  @Endpoint({ ...ADMIN, summary: 'Remove a node', answers: { 202: OperationShape }, errors: NODE_ERRORS })
  async removeNode(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendOperation(reply, await this.cluster.removeNode(checkedNodeId(id)));
  }

  @Post('cluster/shards/:n/primary')
  @HttpCode(202)
  @Endpoint({
    ...ADMIN,
    summary: 'Hand the primary of a shard to another node',
    body: MovePrimaryBody,
    answers: { 202: OperationShape },
    errors: [...NODE_ERRORS, 'SHARD_NOT_FOUND'],
  })
  async movePrimary(@Param('n') n: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendOperation(reply, await this.cluster.movePrimary(shardNumber(n), movePrimaryBody(request.body).node));
  }

  @Post('cluster/shards/:n/force')
  @HttpCode(202)
  @Endpoint({
    ...ADMIN,
    summary: 'Name the copy a shard goes on from when every disk of its set is gone',
    body: ForceBody,
    answers: { 202: OperationShape },
    errors: [...NODE_ERRORS, 'SHARD_NOT_FOUND'],
  })
  async force(@Param('n') n: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    const { node, empty = false } = forceBody(request.body);
    sendOperation(reply, await this.cluster.force(shardNumber(n), node, empty));
  }

  @Post('cluster/map/force')
  @HttpCode(202)
  @Endpoint({
    ...ADMIN,
    summary: 'Go on with the map from the copy of the node that is asked when a majority of its voters is gone',
    body: ForceMapBody,
    answers: { 202: OperationShape },
    errors: [...NODE_ERRORS, 'LOG_CORRUPT'],
  })
  async forceMap(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendOperation(reply, await this.cluster.forceMap(forceMapBody(request.body).node));
  }

  @Get('cluster/operations/:id')
  @Endpoint({
    ...ADMIN,
    summary: 'Progress of an operation',
    answers: { 200: 'The operation.' },
    errors: ['OPERATION_NOT_FOUND'],
  })
  async operation(@Param('id') id: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, (await this.cluster.operation(id)) as object);
  }

  @Delete('cluster/operations/:id')
  @Endpoint({
    ...ADMIN,
    summary: 'Abort an operation',
    answers: { 200: 'Aborted.' },
    errors: [...MAP_ERRORS, 'OPERATION_NOT_FOUND', 'OPERATION_CONFLICT'],
  })
  async abortOperation(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    noQuery(request.query);
    await this.cluster.abortOperation(id);
    sendJson(reply, 200, { operation: id, aborted: true });
  }
}

function sendOperation(reply: FastifyReply, answer: { readonly operation: string }): void {
  sendJson(reply, 202, answer, { location: `/api/v1/cluster/operations/${encodeURIComponent(answer.operation)}` });
}

/** Settings with their duration as configuration writes it. */
function settingsJson({ rebalanceGraceMs, ...settings }: ClusterSettingsView): object {
  return { ...settings, rebalanceGrace: durationText(rebalanceGraceMs) };
}

function settingsOf({ rebalanceGrace, ...settings }: ClusterConfig): Partial<ClusterSettingsView> {
  if (rebalanceGrace === undefined) {
    if (Object.keys(settings).length === 0)
      throw new NodeError('INVALID_REQUEST', 'nothing would change: give at least one setting');
    return settings;
  }
  const rebalanceGraceMs = durationMs(rebalanceGrace);
  if (rebalanceGraceMs === undefined || rebalanceGraceMs > GRACE_MS_MAX) {
    throw new NodeError(
      'INVALID_REQUEST',
      `\`rebalanceGrace\` must be a duration from 0s to 24h such as 10m, not ${shown(rebalanceGrace)}`,
    );
  }
  return { ...settings, rebalanceGraceMs };
}

function checkedNodeId(id: string): string {
  if (NODE_ID_PATTERN.test(id)) return id;
  throw new NodeError('NODE_NOT_FOUND', `there is no node ${shown(id)}`);
}
