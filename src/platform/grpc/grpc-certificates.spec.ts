import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { PeerCertificate } from 'node:tls';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../gen/grpc/health/v1/health_pb.js';
import { Readiness } from '../health/readiness.js';
import { createLogger } from '../logging/logger.js';
import { GrpcCertificates } from './grpc-certificates.js';
import { grpcHealth } from './grpc-health.js';
import { NodeGrpcServer } from './node-grpc-server.js';

const script = join(import.meta.dirname, '../../../docker/tls/make-certificates.sh');

describe('a gRPC port with TLS', () => {
  let directory: string;
  let server: NodeGrpcServer;
  const file = (name: string) => join(directory, name);

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'spector-tls-'));
    execFileSync(script, [file('ours'), 'node-1'], { stdio: 'pipe' });
    execFileSync(script, [file('foreign'), 'node-1'], { stdio: 'pipe' });
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  beforeEach(async () => {
    for (const name of ['node-1.pem', 'node-1-key.pem', 'ca.pem']) copyFileSync(file(`ours/${name}`), file(name));
    const readiness = new Readiness();
    readiness.settle('test');
    server = new NodeGrpcServer({
      host: '127.0.0.1',
      port: 0,
      tls: { cert: file('node-1.pem'), key: file('node-1-key.pem'), ca: file('ca.pem') },
      services: [],
      drainTimeoutMs: 1_000,
      log: createLogger({ level: 'silent', format: 'json', nodeId: 'n' }),
    }).addService(Health, grpcHealth(readiness, []));
    const problem = await new Promise((resolve) => void server.listen(resolve));
    expect(problem).toBeUndefined();
  });

  afterEach(() => server.close());

  function check(channel: ChannelCredentials): Promise<ServingStatus> {
    const client = new Client(`localhost:${server.port}`, channel);
    return new Promise<ServingStatus>((resolve, reject) => {
      client.makeUnaryRequest(
        '/grpc.health.v1.Health/Check',
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes),
        toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema)),
        (error, value) => (error === null ? resolve(value?.status ?? ServingStatus.UNKNOWN) : reject(error)),
      );
    }).finally(() => client.close());
  }

  const holder = (of: string, who: string) =>
    credentials.createSsl(
      readFileSync(file('ours/ca.pem')),
      readFileSync(file(`${of}/${who}-key.pem`)),
      readFileSync(file(`${of}/${who}.pem`)),
    );

  it('answers holders of a certificate of its authority', async () => {
    expect(await check(holder('ours', 'client'))).toBe(ServingStatus.SERVING);
    expect(await check(holder('ours', 'node-1'))).toBe(ServingStatus.SERVING);
  });

  it('refuses everybody else', async () => {
    await expect(check(credentials.createInsecure())).rejects.toThrow('UNAVAILABLE');
    await expect(check(credentials.createSsl(readFileSync(file('ours/ca.pem'))))).rejects.toThrow('UNAVAILABLE');
    await expect(check(holder('foreign', 'client'))).rejects.toThrow('UNAVAILABLE');
  });

  it('presents a renewed certificate after a reload, to new connections', async () => {
    const before = await presented(server.port);
    execFileSync(script, [file('ours'), 'node-1'], { stdio: 'pipe' });
    for (const name of ['node-1.pem', 'node-1-key.pem']) copyFileSync(file(`ours/${name}`), file(name));
    expect((await presented(server.port)).serialNumber).toBe(before.serialNumber);
    server.reloadCertificates();
    expect((await presented(server.port)).serialNumber).not.toBe(before.serialNumber);
    expect(await check(holder('ours', 'client'))).toBe(ServingStatus.SERVING);
  });

  it('keeps its certificate when the new files are bad', async () => {
    const before = await presented(server.port);
    writeFileSync(file('node-1.pem'), 'not a certificate');
    expect(() => server.reloadCertificates()).toThrow();
    expect((await presented(server.port)).serialNumber).toBe(before.serialNumber);
    copyFileSync(file('ours/node-1.pem'), file('node-1.pem'));
    for (const ca of ['not a certificate', readFileSync(file('ours/ca-key.pem'))]) {
      writeFileSync(file('ca.pem'), ca);
      expect(() => server.reloadCertificates()).toThrow('holds no certificate');
      expect(await check(holder('ours', 'client'))).toBe(ServingStatus.SERVING);
    }
  });

  it('never starts with files that are missing or do not fit', () => {
    const files = { cert: file('ours/node-1.pem'), key: file('ours/node-1-key.pem'), ca: file('ours/ca.pem') };
    expect(() => new GrpcCertificates({ ...files, cert: file('gone.pem') })).toThrow('ENOENT');
    expect(() => new GrpcCertificates({ ...files, key: file('foreign/node-1-key.pem') })).toThrow();
  });

  function presented(port: number): Promise<PeerCertificate> {
    return new Promise((resolve, reject) => {
      const socket = connect(
        {
          port,
          host: '127.0.0.1',
          ALPNProtocols: ['h2'],
          ca: readFileSync(file('ours/ca.pem')),
          cert: readFileSync(file('ours/client.pem')),
          key: readFileSync(file('ours/client-key.pem')),
        },
        () => {
          resolve(socket.getPeerCertificate());
          socket.destroy();
        },
      );
      socket.on('error', reject);
    });
  }
});
