import { Controller, Get, Inject, Param, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../platform/logging/logger.js';
import { LOGGER } from '../../../platform/logging/logger.js';
import type { ClusterPort, StreamsPort } from '../../coordinator/coordinator.js';
import { CLUSTER, CURSOR_LATEST, STREAMS } from '../../coordinator/coordinator.js';
import { documentJson } from '../core/answers.js';
import { shardNumber } from '../core/shard-number.js';
import { Endpoint } from '../http/endpoint.js';
import { sendJson } from '../rest.mapper.js';
import { DigestShape } from '../schemas/answers.js';
import { ChangesQuery, ShardLogQuery } from '../schemas/catalog.js';
import { NoQuery } from '../schemas/fields.js';
import { queryReader } from '../schemas/query.js';
import { sendNdjson } from '../streams/ndjson-answer.js';
import { OpenStreams } from '../streams/open-streams.js';

const changesQuery = queryReader(ChangesQuery);
const shardLogQuery = queryReader(ShardLogQuery);
const noQuery = queryReader(NoQuery);

const NDJSON = { tag: 'Streams', produces: 'application/x-ndjson' } as const;

/** The change stream, and the logs behind it (api.md, REST). */
@Controller('api/v1')
export class StreamsController {
  private readonly log: Logger;

  constructor(
    @Inject(STREAMS) private readonly streams: StreamsPort,
    @Inject(CLUSTER) private readonly cluster: ClusterPort,
    @Inject(OpenStreams) private readonly open: OpenStreams,
    @Inject(LOGGER) log: Logger,
  ) {
    this.log = log.child({ module: 'api' });
  }

  @Get('changes')
  @Endpoint({
    ...NDJSON,
    scope: 'read',
    summary: 'The change stream of all shards, a line a change',
    query: ChangesQuery,
    answers: {
      200: 'Lines of {cursor, op, id, version, collection, document?, restarted?}; `restarted` {shard, offset}: the log of the shard goes on from another branch, and its changes start over after the offset. Where `latest` was asked for, the header `Spector-Cursor` is the cursor of that moment: with it a reader that is cut off before its first line goes on.',
    },
    errors: ['COLLECTION_NOT_FOUND', 'OFFSET_COMPACTED', 'SHARD_UNAVAILABLE', 'LOG_CORRUPT'],
  })
  async changes(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { cursor: given, collection, follow = false } = changesQuery(request.query);
    let cursor = given;
    await sendNdjson(
      reply,
      this.open,
      {
        headers: async (signal) => {
          if (given !== CURSOR_LATEST) return undefined;
          cursor = await this.streams.latest(signal);
          return { 'spector-cursor': cursor };
        },
        items: (signal) => this.streams.changes(cursor, collection, follow, signal),
        line: ({ document, ...change }) => ({
          ...change,
          ...(document === undefined ? {} : { document: documentJson(document) }),
        }),
        follow,
      },
      this.log,
    );
  }

  @Get('shards/:n/log')
  @Endpoint({
    ...NDJSON,
    scope: 'admin',
    summary: 'Entries of the log of one shard, a line an entry',
    query: ShardLogQuery,
    answers: { 200: 'Lines of {offset, op, epoch, id?, collection?, version, chain, bytes}.' },
    errors: ['SHARD_NOT_FOUND', 'OFFSET_COMPACTED', 'SHARD_UNAVAILABLE', 'LOG_CORRUPT'],
  })
  async shardLog(@Param('n') n: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { from = 1, limit = Number.MAX_SAFE_INTEGER, follow = false } = shardLogQuery(request.query);
    const shard = shardNumber(n);
    await sendNdjson(
      reply,
      this.open,
      { items: (signal) => this.streams.log(shard, from, limit, follow, signal), line: (entry) => entry, follow },
      this.log,
    );
  }

  @Get('shards/:n/digest')
  @Endpoint({
    scope: 'admin',
    tag: 'Streams',
    summary: 'Offset, chain and live digest of every copy of a shard',
    query: NoQuery,
    answers: { 200: DigestShape },
    errors: ['SHARD_NOT_FOUND', 'SHARD_UNAVAILABLE', 'LOG_CORRUPT'],
  })
  async digest(@Param('n') n: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, await this.cluster.digest(shardNumber(n)));
  }

  @Get('shards/:n/conflicts')
  @Endpoint({
    scope: 'admin',
    tag: 'Streams',
    summary: 'Superseded writes of merged branches',
    query: NoQuery,
    answers: { 200: '{conflicts: […]}' },
    errors: ['SHARD_NOT_FOUND', 'SHARD_UNAVAILABLE'],
  })
  async conflicts(@Param('n') n: string, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    noQuery(request.query);
    sendJson(reply, 200, { conflicts: await this.cluster.conflicts(shardNumber(n)) });
  }
}
