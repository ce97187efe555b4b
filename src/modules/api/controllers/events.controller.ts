import { Controller, Get, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../../kernel/errors.js';
import type { NodeConfig } from '../../../platform/config/node-config.js';
import { NODE_CONFIG } from '../../../platform/config/node-config.js';
import type { EventsPort } from '../../coordinator/coordinator.js';
import { EVENTS } from '../../coordinator/coordinator.js';
import { shown } from '../core/shown.js';
import { Endpoint } from '../http/endpoint.js';
import { EventsQuery } from '../schemas/catalog.js';
import { queryReader } from '../schemas/query.js';
import type { EventFilter } from '../streams/event-stream.js';
import { EVENT_KINDS, EventStream, HEARTBEAT_MS } from '../streams/event-stream.js';
import { OpenStreams } from '../streams/open-streams.js';

const eventsQuery = queryReader(EventsQuery);

/** What the node does, as server-sent events (api.md, events). */
@Controller('api/v1')
export class EventsController {
  constructor(
    @Inject(EVENTS) private readonly events: EventsPort,
    @Inject(OpenStreams) private readonly open: OpenStreams,
    @Inject(NODE_CONFIG) private readonly config: NodeConfig,
  ) {}

  /** Last-Event-ID is tolerated: events are not kept, so a listener that comes back goes on with what happens now. */
  @Get('events')
  @Endpoint({
    scope: 'read',
    tag: 'Streams',
    always: true,
    summary: 'Events of the cluster, of documents and of searches',
    query: EventsQuery,
    produces: 'text/event-stream',
    answers: {
      200: 'cluster.*, document.* and search.* events that `filter` names, all without it; `heartbeat` every 15 s and `missed`, which counts those a slow listener lost, whatever it names.',
    },
  })
  listen(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    const filter = filterOf(eventsQuery(request.query).filter);
    this.open.admit();
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    if (request.method === 'HEAD') {
      raw.end();
      return;
    }
    const { signal, close } = this.open.open(reply);
    const stream = new EventStream(raw, filter);
    const beat = () => {
      stream.heartbeat({ node: this.config.nodeId, time: new Date().toISOString() });
    };
    beat();
    const timer = setInterval(beat, HEARTBEAT_MS);
    const unsubscribe = this.events.subscribe((event) => {
      stream.send(event);
    });
    const end = () => {
      clearInterval(timer);
      unsubscribe();
      raw.end();
      close();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  }
}

function filterOf(text: string | undefined): EventFilter {
  if (text === undefined) return [];
  return text.split(',').map((part) => {
    const kind = part.trim().replace(/\.\*$/, '');
    if (EVENT_KINDS.some((known) => kind === known || kind.startsWith(`${known}.`))) return kind;
    throw new NodeError(
      'INVALID_REQUEST',
      `\`filter\` must name kinds of events (${EVENT_KINDS.join(', ')}), not ${shown(part)}`,
    );
  });
}
