import { createHash } from 'node:crypto';
import { Controller, Get, Inject, Res } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyReply } from 'fastify';
import { assert } from '../../../kernel/assert.js';
import type { NodeConfig } from '../../../platform/config/node-config.js';
import { NODE_CONFIG } from '../../../platform/config/node-config.js';
import { NODE_VERSION } from '../../../platform/platform.module.js';
import { DOCS_PAGE } from '../docs/docs-page.js';
import { openApiOf } from '../docs/openapi.js';
import { Endpoint } from '../http/endpoint.js';
import { NodeHttpAdapter } from '../http-setup.js';
import { sendJson } from '../rest.mapper.js';

const DOCS = { scope: 'read', tag: 'Documentation', always: true } as const;
const script = /<script>([\s\S]*)<\/script>/.exec(DOCS_PAGE)?.[1] ?? '';
const scriptHash = createHash('sha256').update(script).digest('base64');
/** The page may run its own script and talk to this node, nothing else. */
const CONTENT_SECURITY_POLICY = `default-src 'none'; script-src 'sha256-${scriptHash}'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`;

/** The documentation of the node's own API (api.md, REST). */
@Controller()
export class DocsController {
  private text: string | undefined;

  constructor(
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    @Inject(NODE_CONFIG) private readonly config: NodeConfig,
    @Inject(NODE_VERSION) private readonly version: string,
  ) {}

  @Get()
  @Endpoint({ ...DOCS, summary: 'What this is and where to go on', answers: { 200: 'Name, version and links.' } })
  root(@Res() reply: FastifyReply): void {
    sendJson(reply, 200, {
      name: 'spector-node',
      version: this.version,
      node: this.config.nodeId,
      links: {
        docs: '/docs',
        openapi: '/openapi.json',
        status: '/api/v1/status',
        health: '/health',
        metrics: '/metrics',
      },
    });
  }

  @Get('docs')
  @Endpoint({
    ...DOCS,
    summary: 'The documentation as a page',
    produces: 'text/html',
    answers: { 200: 'A page that works without the internet.' },
  })
  docs(@Res() reply: FastifyReply): void {
    void reply
      .code(200)
      .header('content-type', 'text/html; charset=utf-8')
      .header('content-security-policy', CONTENT_SECURITY_POLICY)
      .header('x-content-type-options', 'nosniff')
      .send(DOCS_PAGE);
  }

  @Get('openapi.json')
  @Endpoint({ ...DOCS, summary: 'The documentation as OpenAPI 3.1', answers: { 200: 'The document.' } })
  openApi(@Res() reply: FastifyReply): void {
    sendJson(reply, 200, (this.text ??= this.generate()));
  }

  private generate(): string {
    const adapter: unknown = this.host.httpAdapter;
    assert(adapter instanceof NodeHttpAdapter, 'the node runs on its own HTTP adapter');
    return JSON.stringify(
      openApiOf(adapter.routeTable.routes, { version: this.version, secured: this.config.apiKeys.length > 0 }),
    );
  }
}
