import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Server } from 'node:tls';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { Logger } from '../../platform/logging/logger.js';
import { secretOf } from './auth/api-keys.js';
import type { ReadinessState } from './auth/request-gate.js';
import { RequestGate } from './auth/request-gate.js';
import { shown } from './core/shown.js';
import { answerClientError } from './http/client-errors.js';
import { endpointOf, type EndpointSpec } from './http/endpoint.js';
import { parseJson } from './http/json-body.js';
import { readBody } from './http/read-body.js';
import { RouteTable } from './http/route-table.js';
import { RunningRequests } from './http/running-requests.js';
import { sendProblem } from './http/send-problem.js';

/** Longest part of a path that the router reads: an id of 512 bytes, every byte escaped, fits. */
const PATH_PART_LENGTH_MAX = 4_096;
/** Milliseconds for the headers of a request to arrive. */
const HEADERS_TIMEOUT_MS = 15_000;
/** What Node.js would answer itself without a body is answered here: see `unheardOf`. */
const SERVER = { headersTimeout: HEADERS_TIMEOUT_MS, requireHostHeader: false };
/** Milliseconds an idle kept-alive connection stays; longer than the idle time of common load balancers. */
const KEEP_ALIVE_MS = 75_000;
/** Milliseconds without a byte in either direction; above the longest query. Streams are exempt: streams/open-streams.ts. */
export const SOCKET_IDLE_MS = 150_000;

const JSON_TYPES = ['application/json', 'application/merge-patch+json'];
const NDJSON_TYPES = ['application/x-ndjson', 'application/ndjson'];

const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)/i;
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i;
const CONDITIONS = ['If-Match', 'If-None-Match'] as const;

/** Where answered requests are counted; Metrics does. */
export interface RequestMetrics {
  httpRequest(request: {
    readonly route: string;
    readonly method: string;
    readonly code: number;
    readonly ms: number;
  }): void;
}

/** What the HTTP edge is made of, before Nest starts: see `createHttpAdapter`. */
export class NodeHttpAdapter extends FastifyAdapter {
  readonly gate: RequestGate;
  readonly routeTable = new RouteTable();
  /** What a stopping node finishes before it closes its port. */
  readonly running = new RunningRequests();
  private metrics: RequestMetrics | undefined;

  constructor(
    private readonly config: NodeConfig,
    private readonly log: Logger,
  ) {
    super({
      logger: false,
      bodyLimit: LIMITS.bodyBytesMax,
      // Nest's own middleware layer is not used; it would run on every request.
      skipMiddie: true,
      genReqId: () => randomUUID(),
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionTimeout: SOCKET_IDLE_MS,
      // No bound on the time a whole request takes: an NDJSON bulk may stream for hours.
      requestTimeout: 0,
      http: SERVER,
      ...(config.httpTls === undefined ? {} : { https: { ...certificates(config.httpTls), ...SERVER } }),
      forceCloseConnections: 'idle',
      // What still comes in then meets the gate like before, with `Connection: close`; fastify's own 503 has no code.
      return503OnClosing: false,
      routerOptions: { maxParamLength: PATH_PART_LENGTH_MAX },
      clientErrorHandler: answerClientError,
      frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
        sendProblem(
          new NodeError('INVALID_REQUEST', 'the path is not valid: check its percent-encoding and length', {
            cause: error,
          }),
          request,
          reply,
          log,
        );
      },
    });
    this.gate = new RequestGate(config.apiKeys);
    this.prepare();
  }

  /** The parsers of this module are the only ones. */
  override registerParserMiddleware(): void {
    // Nest would add parsers that hold the event loop and understand forms.
  }

  /** Follows the node's readiness and counts requests; once, before it listens. */
  attach(readiness: ReadinessState, metrics: RequestMetrics): void {
    this.gate.follow(readiness);
    this.metrics = metrics;
  }

  /** Rereads the certificate files for new connections (SIGHUP); throws, and keeps the old ones, when they are bad. */
  reloadCertificates(): void {
    const { server } = this.getInstance();
    if (this.config.httpTls !== undefined && server instanceof Server)
      server.setSecureContext(certificates(this.config.httpTls));
  }

  private prepare(): void {
    const instance = this.getInstance();
    const { server } = instance;
    server.on('checkExpectation', (request, response) => server.emit('request', request, response));
    instance.removeAllContentTypeParsers();
    instance.addContentTypeParser(JSON_TYPES, (request, _payload, done) => {
      readBody(request.raw, (error, body) => {
        if (error !== null || body === undefined) done(error);
        else parsed(request, body, done);
      });
    });
    instance.addContentTypeParser(NDJSON_TYPES, (request, _payload, done) => {
      if (endpointOf(request.routeOptions.config)?.input === 'bulk') done(null, request.raw);
      else
        done(
          new NodeError(
            'UNSUPPORTED_MEDIA_TYPE',
            'content-type must be application/json; NDJSON is for /api/v1/ingest/bulk',
          ),
        );
    });
    instance.addHook('onRoute', ({ method, path, config }) => {
      const endpoint = endpointOf(config);
      if (endpoint === undefined) return;
      for (const one of Array.isArray(method) ? method : [method]) this.routeTable.add({ method: one, path, endpoint });
    });
    instance.addHook('onRequest', (request, reply, done) => {
      this.admit(request, reply, done);
    });
    instance.addHook('preValidation', (request, _reply, done) => {
      done(unwantedBody(request));
    });
    instance.addHook('onResponse', (request, reply, done) => {
      const route = request.routeOptions.url ?? 'unrouted';
      this.metrics?.httpRequest({ route, method: request.method, code: reply.raw.statusCode, ms: reply.elapsedTime });
      done();
    });
  }

  /** Runs before the body is read: routes that do not exist, the state of the node, API keys. */
  private admit(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    const unheard = unheardOf(request);
    if (unheard !== undefined) {
      sendProblem(unheard, request, reply, this.log);
      return;
    }
    if (request.is404) {
      this.answerUnrouted(request, reply);
      return;
    }
    const endpoint = endpointOf(request.routeOptions.config);
    if (endpoint === undefined) {
      done();
      return;
    }
    const { headers } = request;
    const secret = secretOf(single(headers['x-api-key']), headers.authorization);
    const refusal =
      this.gate.refusal({ scope: endpoint.scope, always: endpoint.always ?? false }, secret) ??
      ignoredCondition(endpoint, request) ??
      foreignCharset(request);
    if (refusal !== undefined) {
      sendProblem(refusal, request, reply, this.log);
      return;
    }
    if (endpoint.always !== true && endpoint.produces === undefined) this.running.enter(reply.raw);
    done();
  }

  private answerUnrouted(request: FastifyRequest, reply: FastifyReply): void {
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = this.routeTable.methodsOf(path);
    if (methods.length === 0) {
      sendProblem(
        new NodeError('ROUTE_NOT_FOUND', `there is no path ${path}: /docs lists all`),
        request,
        reply,
        this.log,
      );
      return;
    }
    const allowed = methods.join(', ');
    void reply.header('allow', allowed);
    if (request.method === 'OPTIONS') void reply.code(204).send();
    else
      sendProblem(
        new NodeError('METHOD_NOT_ALLOWED', `${request.method} is not allowed here; allowed: ${allowed}`),
        request,
        reply,
        this.log,
      );
  }
}

/**
 * The fastify adapter for NestFactory.create: limits, parsers, the gate before bodies, problem documents for what never
 * reaches a controller. Throws when a certificate file cannot be read.
 */
export function createHttpAdapter(config: NodeConfig, log: Logger): NodeHttpAdapter {
  return new NodeHttpAdapter(config, log.child({ module: 'api' }));
}

function parsed(request: FastifyRequest, body: Buffer, done: (error: Error | null, body?: unknown) => void): void {
  if (endpointOf(request.routeOptions.config)?.input === 'bulk') {
    done(null, body);
    return;
  }
  let value: unknown;
  try {
    value = body.length === 0 ? undefined : parseJson(body, 'the body');
  } catch (error) {
    done(error as Error);
    return;
  }
  done(null, value);
}

/** What HTTP demands of every request of its version 1.1. */
function unheardOf({ raw }: FastifyRequest): NodeError | undefined {
  const { host, expect } = raw.headers;
  if (host === undefined && raw.httpVersion === '1.1')
    return new NodeError('INVALID_REQUEST', 'the request has no `Host` header');
  if (expect === undefined || CONTINUE.test(expect)) return undefined;
  return new NodeError('INVALID_REQUEST', `\`Expect: ${shown(expect)}\` cannot be met; only 100-continue can`);
}

/** A change that would be made whatever its condition says is refused. */
function ignoredCondition({ scope, headers }: EndpointSpec, request: FastifyRequest): NodeError | undefined {
  if (request.method === 'GET' || (scope !== 'write' && scope !== 'admin')) return undefined;
  for (const name of CONDITIONS) {
    if (request.headers[name.toLowerCase()] !== undefined && headers?.includes(name) !== true)
      return new NodeError('INVALID_REQUEST', `${name} is not heeded here: leave it out`);
  }
  return undefined;
}

/** A body that a call does not take, unless it says nothing. */
function unwantedBody(request: FastifyRequest): NodeError | undefined {
  const endpoint = endpointOf(request.routeOptions.config);
  const { body } = request;
  if (endpoint === undefined || endpoint.body !== undefined || body === undefined || body === null) return undefined;
  const fields = typeof body === 'object' && !Array.isArray(body) ? Object.keys(body) : undefined;
  if (fields?.length === 0) return undefined;
  const what = fields === undefined ? 'the body' : `\`${shown(fields[0])}\``;
  return new NodeError('INVALID_REQUEST', `${what} is not known: this call takes no body`);
}

/** What is read as UTF-8 must not say that it is something else. */
function foreignCharset(request: FastifyRequest): NodeError | undefined {
  const charset = CHARSET.exec(request.headers['content-type'] ?? '')?.[1]?.toLowerCase();
  if (charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii') return undefined;
  return new NodeError('UNSUPPORTED_MEDIA_TYPE', `the charset of a body must be utf-8, not ${shown(charset)}`);
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

function certificates(files: { readonly cert: string; readonly key: string }): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(files.cert), key: readFileSync(files.key) };
}
