import type { Server } from '@grpc/grpc-js';
import type { Http2SecureServer } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../kernel/clock.js';
import { LogLimit } from '../logging/log-limit.js';
import type { Logger } from '../logging/logger.js';

/** A connection that TLS did not let in. */
export interface RefusedHandshake {
  /** `address:port`; '' when it was gone already. */
  readonly from: string;
  /** OpenSSL's word for it, or ours where it has none. */
  readonly problem: string;
}

/** Problems of a handshake that are about certificates; most others are ports being tried, and clients that went away. */
const CERTIFICATE = /certificate|CERT|SIGNATURE|alert|ISSUER/i;
const NO_TLS = 'it speaks no TLS';
const HUNG_UP = 'it hung up in the handshake: it may not trust the certificate of this node';

/**
 * Reports certificates that this server refuses, or for which a client leaves, and nodes that come without TLS. grpc-js drops such connections in silence
 * and keeps its HTTP/2 servers to itself: they are looked up in its private map, and a spec notices when it is gone.
 */
export function watchHandshakes(server: Server, refused: (handshake: RefusedHandshake) => void): void {
  const { http2Servers } = server as unknown as { readonly http2Servers?: ReadonlyMap<Http2SecureServer, unknown> };
  for (const http2Server of http2Servers?.keys() ?? [])
    http2Server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      const problem = problemOf(error, socket);
      if (problem === undefined) return;
      refused({
        from: socket.remoteAddress === undefined ? '' : `${socket.remoteAddress}:${socket.remotePort}`,
        problem,
      });
    });
}

/** What was wrong, or undefined when nobody tried to get in. */
function problemOf(error: NodeJS.ErrnoException, socket: TLSSocket): string | undefined {
  const problem = socketProblem(socket) ?? `${error.code ?? ''} ${error.message}`.trim();
  if (CERTIFICATE.test(problem)) return problem;
  if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER') return NO_TLS;
  // Who does not trust a server tells it nothing; but it had said whom it meant to speak to.
  return error.code === 'ECONNRESET' && typeof socket.servername === 'string' ? HUNG_UP : undefined;
}

/** Node puts the code of what it did not like here, not into the error. */
function socketProblem(socket: TLSSocket): string | undefined {
  const problem: unknown = socket.authorizationError;
  if (problem instanceof Error) return problem.message;
  return typeof problem === 'string' ? problem : undefined;
}

const REPEAT_LOG_MS = 30_000;

/** A listener for `watchHandshakes` that counts every refusal and logs some. */
export function handshakeLog(clock: Clock, log: Logger, count: () => void): (handshake: RefusedHandshake) => void {
  const limit = new LogLimit(clock, REPEAT_LOG_MS);
  return ({ from, problem }) => {
    count();
    const suppressed = limit.take(`${from.slice(0, from.lastIndexOf(':'))} ${problem}`);
    if (suppressed !== undefined) log.warn({ from, problem, suppressed }, messageOf(problem));
  };
}

function messageOf(problem: string): string {
  if (problem === NO_TLS || problem === HUNG_UP) return `a connection failed: ${problem}`;
  return 'refused a TLS connection because of its certificate';
}
