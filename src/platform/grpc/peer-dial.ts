import type { Socket } from 'node:net';
import { connect } from 'node:net';
import type { SecureContext } from 'node:tls';
import { connect as connectTls } from 'node:tls';
import { PeerError } from '../../kernel/peer.js';

/**
 * How sure a dial has to be. accept: the kernel of the peer accepts a connection. answer: the process behind it says
 * something, its settings of HTTP/2 or its half of a TLS handshake; a stopped process accepts and says nothing.
 */
export type DialDepth =
  { readonly kind: 'accept' } | { readonly kind: 'answer'; readonly secureContext: SecureContext | undefined };

/**
 * Tries whether a connection to `host:port` can be made, and closes it again. grpc-js neither ends an attempt to connect
 * nor tells an error's code; this does both, so a channel is only made where somebody answers.
 * @throws PeerError REFUSED, UNRESOLVED, TIMEOUT or RESET
 */
export function dial(address: string, depth: DialDepth, timeoutMs: number): Promise<void> {
  const target = splitAddress(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ ...target, noDelay: true });
    const settle = (error: PeerError | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(
      () => settle(new PeerError('TIMEOUT', `${address} cannot be connected to in ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.on('error', (error) => settle(dialError(error, address)));
    socket.on('close', () => settle(new PeerError('RESET', `${address} closed the connection`)));
    socket.on('connect', () => {
      if (depth.kind === 'accept') settle(undefined);
      else hear(socket, depth.secureContext, () => settle(undefined));
    });
  });
}

/** Calls back when the process at the other end says anything. */
function hear(socket: Socket, secureContext: SecureContext | undefined, heard: () => void): void {
  if (secureContext === undefined) {
    socket.once('data', heard);
    return;
  }
  // Who it is will be checked by the channel's own handshake.
  const secure = connectTls({ socket, secureContext, ALPNProtocols: ['h2'], rejectUnauthorized: false });
  secure.once('secureConnect', heard);
  secure.on('error', heard);
}

function dialError(error: NodeJS.ErrnoException, address: string): PeerError {
  const made = (reason: 'REFUSED' | 'UNRESOLVED' | 'TIMEOUT' | 'RESET', said: string) =>
    new PeerError(
      reason,
      `${address} ${said}: ${error.message === '' ? (error.code ?? '') : error.message}`,
      undefined,
      {
        cause: error,
      },
    );
  switch (error.code) {
    case 'ECONNREFUSED':
      return made('REFUSED', 'refuses connections');
    case 'ENOTFOUND':
      return made('UNRESOLVED', 'does not resolve');
    case 'ECONNRESET':
    case 'EPIPE':
      return made('RESET', 'broke the connection');
    default:
      // No route, no answer of DNS, no more file descriptors here: nothing is known about the peer.
      return made('TIMEOUT', 'cannot be connected to');
  }
}

/** `host:port`, an IPv6 host in brackets. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port) || port < 1 || port > 65_535)
    throw new PeerError('UNRESOLVED', `"${address}" is not an address: it should be host:port`);
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port };
}
