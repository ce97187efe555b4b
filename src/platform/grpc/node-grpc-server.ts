import type {
  ServerInterceptingCallInterface,
  ServerMethodDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  logVerbosity,
  setLogVerbosity,
  status as Status,
} from '@grpc/grpc-js';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { ServerGrpc } from '@nestjs/microservices';
import { GrpcMethodStreamingType } from '@nestjs/microservices/decorators/index.js';
import { assert } from '../../kernel/assert.js';
import { NodeError } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import type { Logger } from '../logging/logger.js';
import type { ServerCall } from './grpc-call.js';
import type { Implementation } from './grpc-calls.js';
import { GrpcCalls } from './grpc-calls.js';
import type { CertificateFiles } from './grpc-certificates.js';
import { certificateOf } from './presented-certificate.js';
import { GrpcCertificates } from './grpc-certificates.js';
import { DETAILS_TRAILER, grpcFailureOf } from './grpc-errors.js';
import { refusalOf } from './grpc-refusals.js';
import { OVERSIZED, methodPath, serviceDefinition } from './package-definition.js';
import type { PeerAuth } from './peer-auth.js';
import { admitPeer } from './peer-identity.js';
import type { ServiceHandlers } from './service-handlers.js';
import { serveUnknownMethods } from './unknown-methods.js';
import type { RefusedHandshake } from './tls-handshakes.js';
import { watchHandshakes } from './tls-handshakes.js';

/** A finished call, for metrics. */
export interface FinishedGrpcCall {
  /** `/package.Service/Method`. */
  readonly method: string;
  /** Name of the gRPC status, e.g. `OK`. */
  readonly code: string;
  readonly ms: number;
}

export interface NodeGrpcServerOptions {
  readonly host: string;
  /** 0 = any; see `port`. */
  readonly port: number;
  /** Undefined: plaintext. */
  readonly tls?: CertificateFiles | undefined;
  /** Services whose methods controllers implement with `@GrpcMethod` and `@GrpcStreamMethod`. */
  readonly services: readonly DescService[];
  /** Milliseconds for running calls to finish once the server stops; then they are cut. */
  readonly drainTimeoutMs: number;
  readonly log: Logger;
  readonly observe?: (call: FinishedGrpcCall) => void;
  /** TLS ended a connection because of a certificate, or its absence. */
  readonly refusedHandshake?: (handshake: RefusedHandshake) => void;
}

// grpc-js writes to the console on its own; what matters of it arrives here as errors and statuses.
setLogVerbosity(logVerbosity.NONE);

/** Pings keep dead peers from being waited for; the stream bound keeps one connection from taking everything. */
const CHANNEL_OPTIONS = {
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_concurrent_streams': 1_024,
  'grpc.max_receive_message_length': LIMITS.grpcMessageBytesMax,
} as const;

/** A stopping server on which no call is worked on keeps its connections for so long, looking that often. */
const IDLE_MAX_MS = 3_000;
const IDLE_LOOK_MS = 100;

/**
 * The one gRPC server of a node, used as Nest's transport `strategy`. Nest's own transport binds before services are
 * registered and hides the port; this one registers the controllers' services, then the plain ones (`addService`: health,
 * peers), and binds last.
 *
 * Controllers: a unary method gets (request, metadata, call) and answers a message; `@GrpcStreamMethod` of a client
 * stream gets (async iterable of requests, metadata, call); a server-streaming `@GrpcMethod` answers an async iterable
 * that ends when `grpcCallContext(call).signal` aborts. No Observable carries a stream. GrpcErrorFilter must be among the
 * filters.
 */
export class NodeGrpcServer extends ServerGrpc {
  readonly #options: NodeGrpcServerOptions;
  readonly #calls: GrpcCalls;
  readonly #certificates: GrpcCertificates | undefined;
  readonly #plain: PlainService[] = [];
  /** Guards of the peers' services, by path of the method. */
  readonly #guards = new Map<string, PeerAuth>();
  #server: Server | undefined;
  #port: number | undefined;

  /** Throws when a certificate file is bad. */
  constructor(options: NodeGrpcServerOptions) {
    super({ package: [], packageDefinition: {} });
    this.#options = options;
    this.#calls = new GrpcCalls(options.log);
    this.#certificates = options.tls === undefined ? undefined : new GrpcCertificates(options.tls);
  }

  /** Serves another service by plain typed handlers; before `listen`. */
  addService<S extends DescService>(service: S, handlers: ServiceHandlers<S>): this {
    assert(this.#server === undefined, `${service.typeName} must be added before the server listens`);
    this.#plain.push({ service, handlers: handlers as Readonly<Record<string, Implementation>> });
    return this;
  }

  /**
   * Serves a peers' service: `auth` admits or refuses every call before a message of it is read, `peerOf(call)` names the
   * admitted caller, and a request has at most LIMITS.peerMessageBytesMax; before `listen`.
   */
  addPeerService<S extends DescService>(service: S, handlers: ServiceHandlers<S>, auth: PeerAuth): this {
    this.addService(service, handlers);
    for (const method of service.methods) this.#guards.set(methodPath(method), auth);
    return this;
  }

  /** What it presents and demands; undefined without TLS. Shared with connections to peers, so that both follow a reload. */
  get certificates(): GrpcCertificates | undefined {
    return this.#certificates;
  }

  /** The port it listens on. Asserts that it does. */
  get port(): number {
    assert(this.#port !== undefined, 'the gRPC server listens');
    return this.#port;
  }

  /** Rereads the certificates for new connections; throws when they are bad, and keeps the old ones. */
  reloadCertificates(): void {
    this.#certificates?.reload();
  }

  /** Called by Nest once controllers are known: registers everything, binds, then calls back; with an error when it cannot. */
  override async listen(callback: (error?: unknown) => void): Promise<void> {
    try {
      this.#server = this.#createServer();
      this.#port = await bind(
        this.#server,
        this.#options,
        this.#certificates?.credentials() ?? ServerCredentials.createInsecure(),
      );
      if (this.#certificates !== undefined) this.#watchHandshakes(this.#server);
    } catch (error) {
      callback(error);
      return;
    }
    callback();
  }

  /**
   * No new calls; open streams are told to end; running calls get `drainTimeoutMs`, then the connections are cut. When no
   * call is being worked on they are cut sooner: what keeps them open are streams of somebody who says nothing any more.
   */
  override async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    this.#calls.stop();
    const { drainTimeoutMs, log } = this.#options;
    await new Promise<void>((resolve) => {
      let idleMs = 0;
      const watch = setInterval(() => {
        idleMs = this.#calls.underWay > 0 ? 0 : idleMs + IDLE_LOOK_MS;
        if (idleMs >= IDLE_MAX_MS) cut();
      }, IDLE_LOOK_MS);
      const late = setTimeout(() => {
        log.warn({ drainTimeoutMs }, 'gRPC calls were cut: they did not end in time');
        cut();
      }, drainTimeoutMs);
      const ended = (): void => {
        clearInterval(watch);
        clearTimeout(late);
        resolve();
      };
      const cut = (): void => {
        server.forceShutdown();
        ended();
      };
      server.tryShutdown(ended);
    });
  }

  #watchHandshakes(server: Server): void {
    const { refusedHandshake } = this.#options;
    if (refusedHandshake !== undefined) watchHandshakes(server, refusedHandshake);
  }

  #createServer(): Server {
    const server = new Server({ ...CHANNEL_OPTIONS, interceptors: [(method, call) => this.#watched(method, call)] });
    for (const service of this.#options.services)
      this.#register(server, service, (method) => this.#controllerMethod(method));
    for (const { service, handlers } of this.#plain)
      this.#register(server, service, (method) => handlers[method.localName]);
    serveUnknownMethods(server, (call, path) =>
      this.#calls.fail(call, new NodeError('METHOD_NOT_ALLOWED', `There is no method ${path} here`)),
    );
    return server;
  }

  #register(server: Server, service: DescService, find: (method: DescMethod) => Implementation | undefined): void {
    const handlers: UntypedServiceImplementation = {};
    for (const method of service.methods) {
      const run = find(method);
      assert(run !== undefined, `${methodPath(method)} has a handler`);
      handlers[method.name] = this.#calls.handler(method, run);
    }
    const ofPeers = service.methods.some((method) => this.#guards.has(methodPath(method)));
    server.addService(serviceDefinition(service, ofPeers ? LIMITS.peerMessageBytesMax : undefined), handlers);
  }

  /** The method of a controller, as Nest registered it, guards and filters included. */
  #controllerMethod(method: DescMethod): Implementation | undefined {
    const streams = method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming';
    const kinds = streams
      ? [GrpcMethodStreamingType.RX_STREAMING, GrpcMethodStreamingType.PT_STREAMING]
      : [GrpcMethodStreamingType.NO_STREAMING];
    for (const kind of kinds) {
      // Nest types an absent handler as present.
      const found = this.getMessageHandler(method.parent.name, method.name, kind, { path: methodPath(method) }) as
        ControllerMethod | undefined;
      if (found !== undefined) return (request, call) => found(request, call.metadata, call);
    }
    return undefined;
  }

  /**
   * Sees every status a call ends with: counts it, and completes those that grpc-js sends on its own. They bypass
   * interceptors, so the call's own `sendStatus` is replaced.
   */
  #watched(
    method: ServerMethodDefinition<unknown, unknown>,
    call: ServerInterceptingCallInterface,
  ): ServerInterceptingCall {
    const started = performance.now();
    const send = call.sendStatus.bind(call);
    const guard = this.#guards.get(method.path);
    let finished = false;
    call.sendStatus = (status: PartialStatusObject) => {
      const complete = completed(status);
      if (!finished) {
        finished = true;
        // Said by grpc-js, not by the guard or a handler, which count for themselves.
        if (complete !== status && UNREADABLE.has(complete.code ?? Status.UNKNOWN))
          guard?.unreadable({ method: method.path, from: call.getPeer() }, complete.details ?? '');
        this.#options.observe?.({
          method: method.path,
          code: Status[complete.code ?? Status.UNKNOWN],
          ms: performance.now() - started,
        });
      }
      send(complete);
    };
    return guard === undefined ? (call as ServerInterceptingCall) : guarded(method.path, call, guard);
  }
}

interface PlainService {
  readonly service: DescService;
  readonly handlers: Readonly<Record<string, Implementation>>;
}

/** Asks the guard when the metadata arrives; the handler of a refused call or message never learns of it. */
function guarded(path: string, call: ServerInterceptingCallInterface, guard: PeerAuth): ServerInterceptingCall {
  return new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: (metadata, pass) => {
          try {
            const certificate = () => certificateOf(call);
            admitPeer(metadata, guard.admit({ method: path, metadata, from: call.getPeer(), certificate }));
          } catch (error) {
            call.sendStatus(grpcFailureOf(error, '').status);
            return;
          }
          pass(metadata);
        },
        onReceiveMessage: (message, pass) => {
          if (message !== OVERSIZED) {
            pass(message);
            return;
          }
          const said = `The message is larger than the ${LIMITS.peerMessageBytesMax} bytes a node may send: split it`;
          guard.unreadable({ method: path, from: call.getPeer() }, said);
          call.sendStatus(grpcFailureOf(new NodeError('PAYLOAD_TOO_LARGE', said), '').status);
        },
      }),
  });
}

/** What grpc-js ends a call with of which it cannot read a message. */
const UNREADABLE: ReadonlySet<Status> = new Set([Status.INVALID_ARGUMENT, Status.RESOURCE_EXHAUSTED]);

type PartialStatusObject = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];
type ControllerMethod = (request: unknown, metadata: unknown, call: ServerCall) => unknown;

function completed(status: PartialStatusObject): PartialStatusObject {
  const code = status.code ?? Status.UNKNOWN;
  if (code === Status.OK || (status.metadata?.get(DETAILS_TRAILER).length ?? 0) > 0) return status;
  return grpcFailureOf(refusalOf(code, status.details ?? '', LIMITS.grpcMessageBytesMax), '').status;
}

function bind(server: Server, { host, port }: NodeGrpcServerOptions, credentials: ServerCredentials): Promise<number> {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new Error(`cannot listen for gRPC on ${address}: ${error.message}`, { cause: error }));
    });
  });
}
