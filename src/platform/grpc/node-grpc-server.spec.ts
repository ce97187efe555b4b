import 'reflect-metadata';
import http2 from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { ServiceError } from '@grpc/grpc-js';
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import type { Message } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { Controller, Module, UseFilters } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { LIMITS } from '../../kernel/limits.js';
import { NodeError } from '../../kernel/errors.js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../gen/grpc/health/v1/health_pb.js';
import * as pb from '../../gen/spector/v1/spector_pb.js';
import { Readiness } from '../health/readiness.js';
import { createLogger } from '../logging/logger.js';
import type { ServerCall } from './grpc-call.js';
import { grpcCallContext } from './grpc-call.js';
import { GrpcErrorFilter } from './grpc-error-filter.js';
import { grpcHealth } from './grpc-health.js';
import type { FinishedGrpcCall } from './node-grpc-server.js';
import { NodeGrpcServer } from './node-grpc-server.js';
import { serviceDefinition } from './package-definition.js';

const observed = { signals: [] as AbortSignal[], timeouts: [] as (number | undefined)[], produced: 0, ended: 0 };

@Controller()
@UseFilters(GrpcErrorFilter)
class EchoController {
  @GrpcMethod('SpectorService', 'Ingest')
  ingest(request: pb.IngestRequest): pb.IngestResponse {
    if (request.id === 'conflict') throw new NodeError('VERSION_CONFLICT', 'it is version 2 \ud800');
    if (request.id === 'busy') throw new NodeError('OVERLOADED', 'later', { retryAfterMs: 40 });
    if (request.id === 'bug') throw new TypeError('secret of the node');
    return create(pb.IngestResponseSchema, { id: request.id, durable: request.vector?.length ?? 0 });
  }

  @GrpcStreamMethod('SpectorService', 'IngestStream')
  async ingestStream(requests: AsyncIterable<pb.IngestStreamRequest>): Promise<pb.IngestStreamResponse> {
    let total = 0n;
    for await (const request of requests) {
      if (request.item.case === 'delete' && request.item.value.id === 'stop') throw new NodeError('FROZEN', 'enough');
      total++;
    }
    return create(pb.IngestStreamResponseSchema, { total });
  }

  @GrpcMethod('SpectorService', 'Search')
  async search(_request: pb.SearchRequest, _metadata: Metadata, call: ServerCall): Promise<pb.SearchResponse> {
    const { signal, timeoutMs } = grpcCallContext(call);
    observed.signals.push(signal);
    observed.timeouts.push(timeoutMs);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    throw new NodeError('QUERY_TIMEOUT', 'aborted');
  }

  @GrpcMethod('SpectorService', 'Changes')
  async *changes(request: pb.ChangesRequest, _metadata: Metadata, call: ServerCall): AsyncIterable<pb.ChangesResponse> {
    const { signal } = grpcCallContext(call);
    try {
      if (request.cursor === 'old') throw new NodeError('OFFSET_COMPACTED', 'start over');
      const pages = request.cursor === 'flood' ? 1_000 : 3;
      for (let i = 0; i < pages && !signal.aborted; i++) {
        observed.produced++;
        yield create(pb.ChangesResponseSchema, {
          cursor: String(i),
          id: 'x'.repeat(request.cursor === 'flood' ? 64 * 1024 : 1),
        });
      }
      if (request.follow === true)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    } finally {
      observed.ended++;
    }
  }

  @GrpcMethod('SpectorService', 'GetDocument')
  getDocument() {
    return create(pb.GetDocumentResponseSchema);
  }
  @GrpcMethod('SpectorService', 'PatchDocument')
  patchDocument() {
    return create(pb.PatchDocumentResponseSchema);
  }
  @GrpcMethod('SpectorService', 'DeleteDocument')
  deleteDocument() {
    return create(pb.DeleteDocumentResponseSchema);
  }
  @GrpcMethod('SpectorService', 'ScrollDocuments')
  scrollDocuments() {
    return create(pb.ScrollDocumentsResponseSchema);
  }
  @GrpcMethod('SpectorService', 'CountDocuments')
  countDocuments() {
    return create(pb.CountDocumentsResponseSchema);
  }
  @GrpcMethod('SpectorService', 'PutCollection')
  putCollection() {
    return create(pb.PutCollectionResponseSchema);
  }
  @GrpcMethod('SpectorService', 'ListCollections')
  listCollections() {
    return create(pb.ListCollectionsResponseSchema);
  }
  @GrpcMethod('SpectorService', 'GetStatus')
  getStatus() {
    return create(pb.GetStatusResponseSchema);
  }
}

@Module({ controllers: [EchoController] })
class EchoModule {}

describe('NodeGrpcServer under Nest', () => {
  const lines: string[] = [];
  const log = createLogger({
    level: 'info',
    format: 'json',
    nodeId: 'n',
    destination: { write: (line: string) => void lines.push(line) },
  });
  let app: INestApplication;
  let server: NodeGrpcServer;
  let client: Client;
  let readiness: Readiness;
  let calls: FinishedGrpcCall[];

  beforeEach(async () => {
    lines.length = 0;
    calls = [];
    Object.assign(observed, { signals: [], timeouts: [], produced: 0, ended: 0 });
    readiness = new Readiness();
    server = new NodeGrpcServer({
      host: '127.0.0.1',
      port: 0,
      services: [pb.SpectorService],
      drainTimeoutMs: 300,
      log,
      observe: (call) => calls.push(call),
    });
    server.addService(Health, grpcHealth(readiness, [pb.SpectorService]));
    app = await NestFactory.create(EchoModule, new FastifyAdapter(), { logger: false });
    app.connectMicroservice({ strategy: server });
    await app.startAllMicroservices();
    client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  });

  afterEach(async () => {
    client.close();
    await app.close();
  });

  function unary<O>(path: string, message: Uint8Array, options: { deadlineMs?: number } = {}): Promise<O> {
    const method = Object.values({ ...serviceDefinition(pb.SpectorService), ...serviceDefinition(Health) }).find(
      (one) => one.path === path,
    );
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => method?.responseDeserialize(bytes) as O,
        message,
        new Metadata(),
        options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs },
        (error, value) => (error === null ? resolve(value as O) : reject(error)),
      );
    });
  }

  const ingest = (init: { id: string; vector?: Uint8Array; title?: string }) =>
    unary<pb.IngestResponse>(
      '/spector.v1.SpectorService/Ingest',
      toBinary(pb.IngestRequestSchema, create(pb.IngestRequestSchema, init)),
    );

  async function failure(promise: Promise<unknown>) {
    const error = (await promise.then(
      () => {
        throw new Error('the call succeeded');
      },
      (reason: unknown) => reason,
    )) as ServiceError;
    const bytes = error.metadata.get('grpc-status-details-bin')[0];
    const details = bytes === undefined ? undefined : fromBinary(StatusSchema, bytes as Buffer);
    const info = details?.details[0] === undefined ? undefined : anyUnpack(details.details[0], ErrorInfoSchema);
    return {
      code: error.code,
      details: error.details,
      inner: details?.code,
      reason: info?.reason,
      domain: info?.domain,
      metadata: info?.metadata,
    };
  }

  function changes(init: { cursor?: string; follow?: boolean }) {
    const method = serviceDefinition(pb.SpectorService)['Changes'];
    return client.makeServerStreamRequest<Message, pb.ChangesResponse>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize as (bytes: Buffer) => pb.ChangesResponse,
      create(pb.ChangesRequestSchema, init),
    );
  }

  function ingestStream(
    write: (call: { write(bytes: Buffer): void; end(): void }) => void,
  ): Promise<pb.IngestStreamResponse> {
    return new Promise((resolve, reject) => {
      const call = client.makeClientStreamRequest<Buffer, pb.IngestStreamResponse>(
        '/spector.v1.SpectorService/IngestStream',
        (bytes) => bytes,
        (bytes) => fromBinary(pb.IngestStreamResponseSchema, bytes),
        (error, value) => (error === null ? resolve(value as pb.IngestStreamResponse) : reject(error)),
      );
      write({ write: (bytes) => void call.write(bytes), end: () => void call.end() });
    });
  }

  const item = (id: string) =>
    Buffer.from(
      toBinary(
        pb.IngestStreamRequestSchema,
        create(pb.IngestStreamRequestSchema, { item: { case: 'delete', value: { id } } }),
      ),
    );

  it('serves a controller on a port it chose', async () => {
    expect(server.port).toBeGreaterThan(0);
    const answer = await ingest({ id: 'a', vector: new Uint8Array(16) });
    expect(answer).toMatchObject({ id: 'a', durable: 16 });
    expect(calls).toEqual([{ method: '/spector.v1.SpectorService/Ingest', code: 'OK', ms: expect.any(Number) }]);
  });

  it('gives operating errors their status and ErrorInfo', async () => {
    expect(await failure(ingest({ id: 'conflict' }))).toEqual({
      code: status.ABORTED,
      details: 'it is version 2 \ufffd',
      inner: status.ABORTED,
      reason: 'VERSION_CONFLICT',
      domain: 'spector.node',
      metadata: { retryable: 'false' },
    });
    expect(await failure(ingest({ id: 'busy' }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      metadata: { retryable: 'true', retryAfterMs: '40' },
    });
  });

  it('refuses methods that nobody serves like any other call, whatever the kind, and goes on', async () => {
    const missing = '/spector.v1.SpectorService/Missing';
    const refusal = {
      code: status.UNIMPLEMENTED,
      inner: status.UNIMPLEMENTED,
      reason: 'METHOD_NOT_ALLOWED',
      domain: 'spector.node',
      metadata: { retryable: 'false' },
    };
    const details = (path: string) => `There is no method ${path} here`;
    for (const path of [missing, '/nobody.v1.Knows/This', '/spector.v1.SpectorService/ingest'])
      expect(await failure(unary(path, new Uint8Array([1, 2, 3])))).toEqual({ ...refusal, details: details(path) });
    const long = await failure(unary(`/${'x'.repeat(4_000)}`, new Uint8Array()));
    expect(long).toMatchObject({ ...refusal, details: details(`/${'x'.repeat(199)}`) });
    // Before and while its messages come, large ones too.
    const asItIs = (bytes: Buffer): Buffer => bytes;
    const stream = client.makeBidiStreamRequest(missing, asItIs, asItIs);
    for (let i = 0; i < 20; i++) stream.write(Buffer.alloc(1024 * 1024));
    expect(await failure(drain(stream))).toEqual({ ...refusal, details: details(missing) });
    expect(calls.map(({ method, code }) => [method, code])).toEqual(Array(5).fill(['unknown', 'UNIMPLEMENTED']));
    expect((await ingest({ id: 'still' })).id).toBe('still');
  });

  it('tells nothing of an unexpected error but the instance it logged', async () => {
    const { code, reason, details, metadata } = await failure(ingest({ id: 'bug' }));
    expect({ code, reason }).toEqual({ code: status.INTERNAL, reason: 'INTERNAL' });
    expect(JSON.stringify({ details, metadata })).not.toContain('secret');
    const logged = lines.find((line) => line.includes('secret of the node'));
    expect(logged).toContain(String(metadata?.['instance']));
  });

  it.each([
    ['a truncated field', Buffer.from([0x0a, 0x7f, 0x61])],
    ['a wrong wire type', Buffer.from([0x0b])],
    ['invalid UTF-8 in a string', Buffer.from([0x0a, 0x02, 0xc3, 0x28])],
    ['an endless nesting', Buffer.from(toBinary(pb.IngestRequestSchema, nested(200)))],
  ])('refuses %s as INVALID_ARGUMENT', async (_what, bytes) => {
    const { code, reason } = await failure(unary('/spector.v1.SpectorService/Ingest', bytes));
    expect({ code, reason }).toEqual({ code: status.INVALID_ARGUMENT, reason: 'INVALID_REQUEST' });
    expect((await ingest({ id: 'still' })).id).toBe('still');
  });

  it('refuses messages above the limit, and takes those below', async () => {
    const large = await failure(ingest({ id: 'large', title: 'x'.repeat(LIMITS.grpcMessageBytesMax) }));
    expect(large).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: 'PAYLOAD_TOO_LARGE' });
    expect((await ingest({ id: 'fits', title: 'x'.repeat(LIMITS.grpcMessageBytesMax - 100) })).id).toBe('fits');
  });

  it('passes deadline and cancellation on', async () => {
    const late = await failure(unary('/spector.v1.SpectorService/Search', new Uint8Array(), { deadlineMs: 1_000 }));
    expect(late.code).toBe(status.DEADLINE_EXCEEDED);
    expect(observed.timeouts[0]).toBeGreaterThan(0);
    expect(observed.timeouts[0]).toBeLessThanOrEqual(1_000);
    await until(() => observed.signals[0].aborted);
  });

  it('reads a client stream, and stops at its error', async () => {
    const all = await ingestStream((call) => {
      for (let i = 0; i < 100; i++) call.write(item(`d${i}`));
      call.end();
    });
    expect(all.total).toBe(100n);
    const stopped = await failure(ingestStream((call) => call.write(item('stop'))));
    expect(stopped).toMatchObject({ code: status.UNAVAILABLE, reason: 'FROZEN' });
    const malformed = await failure(ingestStream((call) => call.write(Buffer.from([0x0b]))));
    expect(malformed).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_REQUEST' });
  });

  it('streams answers, and errors of a stream', async () => {
    const cursors: string[] = [];
    for await (const change of changes({})) cursors.push((change as pb.ChangesResponse).cursor);
    expect(cursors).toEqual(['0', '1', '2']);
    const old = changes({ cursor: 'old' });
    expect(await failure(drain(old))).toMatchObject({ code: status.OUT_OF_RANGE, reason: 'OFFSET_COMPACTED' });
  });

  it('produces no faster than the client reads', async () => {
    const flood = changes({ cursor: 'flood' });
    flood.on('error', () => undefined);
    flood.once('data', () => flood.pause());
    await until(() => flood.isPaused());
    await settledAt(() => observed.produced);
    expect(observed.produced).toBeLessThan(500);
    flood.cancel();
    await until(() => observed.ended === 1);
  });

  it('ends followers when it stops, with DRAINING', async () => {
    const follower = changes({ follow: true });
    const ended = failure(drain(follower));
    await until(() => observed.produced === 3);
    await app.close();
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE, reason: 'DRAINING' });
  });

  it('cuts calls that outlast the grace of a stop', async () => {
    const stuck = failure(unary('/spector.v1.SpectorService/Search', new Uint8Array()));
    await until(() => observed.signals.length === 1);
    await app.close();
    expect((await stuck).code).not.toBe(status.OK);
    expect(lines.some((line) => line.includes('gRPC calls were cut'))).toBe(true);
  });

  it('serves health from readiness', async () => {
    const check = (service: string) =>
      unary<{ status: ServingStatus }>(
        '/grpc.health.v1.Health/Check',
        toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service })),
      );
    expect((await check('')).status).toBe(ServingStatus.NOT_SERVING);
    readiness.settle('log');
    expect((await check('spector.v1.SpectorService')).status).toBe(ServingStatus.SERVING);
    expect((await failure(check('nobody'))).code).toBe(status.NOT_FOUND);

    const method = serviceDefinition(Health)['Watch'];
    const watch = client.makeServerStreamRequest<Message, Message>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize as (bytes: Buffer) => Message,
      create(HealthCheckRequestSchema),
    );
    const seen: ServingStatus[] = [];
    watch.on('data', (message: { status: ServingStatus }) => seen.push(message.status));
    watch.on('error', () => undefined);
    await until(() => seen.length === 1);
    readiness.expect('log', 'again');
    readiness.settle('log');
    readiness.stop();
    await until(() => seen.at(-1) === ServingStatus.NOT_SERVING);
    watch.cancel();
  });

  it('does not wait long for one who opened a call and says nothing', async () => {
    const patient = new NodeGrpcServer({ host: '127.0.0.1', port: 0, services: [], drainTimeoutMs: 60_000, log });
    patient.addService(Health, grpcHealth(readiness, []));
    expect(await new Promise<unknown>((resolve) => void patient.listen(resolve))).toBeUndefined();
    const line: Socket[] = [];
    const way = createServer((near) => {
      const far = connect(patient.port, '127.0.0.1');
      line.push(near, far);
      for (const socket of line) socket.on('error', () => undefined);
      near.pipe(far);
      far.pipe(near);
    });
    await new Promise<void>((resolve) => void way.listen(0, '127.0.0.1', resolve));
    const { port } = way.address() as AddressInfo;
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => undefined);
    await new Promise((resolve) => session.once('connect', resolve));
    const silent = session.request({
      ':path': '/grpc.health.v1.Health/Check',
      ':method': 'POST',
      'content-type': 'application/grpc',
    });
    silent.on('error', () => undefined);
    await new Promise((resolve) => session.ping(resolve));
    for (const socket of line) socket.unpipe().pause();
    const startedMs = performance.now();
    await patient.close();
    expect(performance.now() - startedMs).toBeLessThan(30_000);
    session.destroy();
    for (const socket of line) socket.destroy();
    way.close();
    expect(lines.some((line) => line.includes('gRPC calls were cut'))).toBe(false);
  });

  it('says which port was taken', async () => {
    const second = new NodeGrpcServer({ host: '127.0.0.1', port: server.port, services: [], drainTimeoutMs: 1, log });
    const error = await new Promise<unknown>((resolve) => void second.listen(resolve));
    expect(String(error)).toContain(`127.0.0.1:${server.port}`);
  });

  it('survives a client that speaks HTTP/2 but not gRPC', async () => {
    const session = http2.connect(`http://127.0.0.1:${server.port}`);
    for (const headers of [
      { ':path': '/', ':method': 'GET' },
      { ':path': '/nobody/Nothing', ':method': 'POST', 'content-type': 'application/grpc' },
      {
        ':path': '/spector.v1.SpectorService/Ingest',
        ':method': 'POST',
        'content-type': 'application/grpc',
        'grpc-timeout': 'soon',
      },
      {
        ':path': '/spector.v1.SpectorService/Ingest',
        ':method': 'POST',
        'content-type': 'application/grpc',
        'grpc-encoding': 'nonsense',
      },
    ]) {
      const stream = session.request(headers);
      stream.end(Buffer.from([1, 0, 0, 0, 1, 9]));
      await new Promise((resolve) => stream.on('response', resolve).on('error', resolve));
      stream.close();
    }
    session.close();
    expect((await ingest({ id: 'alive' })).id).toBe('alive');
  });
});

function nested(depth: number): pb.IngestRequest {
  let value: Record<string, never> | { readonly n: unknown } = {};
  for (let i = 0; i < depth; i++) value = { n: value };
  return create(pb.IngestRequestSchema, { id: 'deep', metadata: value as never });
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const message of stream) void message;
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 5 s: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until a reading stays the same over ten polls. */
async function settledAt(read: () => number): Promise<void> {
  let last = -1;
  let same = 0;
  await until(() => {
    same = read() === last ? same + 1 : 0;
    last = read();
    return same >= 10;
  });
}
