import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Readiness } from '../../../platform/health/readiness.js';
import { Metrics } from '../../../platform/metrics/metrics.js';
import { CLUSTER, type ClusterPort } from '../../coordinator/coordinator.js';
import { Endpoint } from '../http/endpoint.js';
import { sendJson } from '../rest.mapper.js';
import { HealthShape, ReadinessShape } from '../schemas/answers.js';

const PROBE = { scope: 'open', tag: 'Health', always: true } as const;

/** What orchestrators and monitoring ask (api.md, REST). The answers are plain JSON whatever the status: probes read them. */
@Controller()
export class HealthController {
  constructor(
    @Inject(Readiness) private readonly readiness: Readiness,
    @Inject(Metrics) private readonly metrics: Metrics,
    @Inject(CLUSTER) private readonly cluster: ClusterPort,
  ) {}

  @Get('livez')
  @Endpoint({ ...PROBE, summary: 'The process is alive', answers: { 200: '{status: "ALIVE"}' } })
  alive(@Res() reply: FastifyReply): void {
    sendUncached(reply, 200, { status: 'ALIVE' });
  }

  @Get('readyz')
  @Endpoint({
    ...PROBE,
    summary: 'The node takes requests, or what it waits for',
    answers: { 200: ReadinessShape, 503: ReadinessShape },
  })
  ready(@Res() reply: FastifyReply): void {
    const view = this.readiness.view();
    sendUncached(reply, view.ready ? 200 : 503, view);
  }

  @Get('health')
  @Endpoint({ ...PROBE, summary: 'How the node is', answers: { 200: HealthShape, 503: HealthShape } })
  health(@Res() reply: FastifyReply): void {
    const view = this.readiness.health();
    // Of the whole cluster, as /api/v1/status says it: whoever watches one node hears of it.
    const degraded = view.status === 'DOWN' ? view.degraded : [...view.degraded, ...this.cluster.degraded()];
    const status = view.status === 'UP' && degraded.length > 0 ? 'DEGRADED' : view.status;
    sendUncached(reply, status === 'DOWN' ? 503 : 200, { ...view, status, degraded });
  }

  @Get('metrics')
  @Endpoint({
    ...PROBE,
    scope: 'read',
    summary: 'Figures for Prometheus',
    produces: 'text/plain',
    answers: { 200: 'Prometheus text format.' },
  })
  async figures(@Res() reply: FastifyReply): Promise<void> {
    const text = await this.metrics.text();
    void reply
      .code(200)
      .header('content-type', this.metrics.contentType)
      .header('cache-control', 'no-store')
      .send(text);
  }
}

function sendUncached(reply: FastifyReply, status: number, body: object): void {
  void reply.header('cache-control', 'no-store');
  sendJson(reply, status, body);
}
