import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import type { PeerCertificate } from 'node:tls';

/** By HTTP/2 session: a connection presents its certificate once, in its handshake. */
const presented = new WeakMap<object, PeerCertificate>();

/**
 * The certificate that the caller presented and TLS verified, or undefined. grpc-js makes it anew for every call, which
 * takes longer than the call itself; so it is remembered with the session, of which grpc-js keeps a private reference. Were
 * that gone, each call would pay again.
 */
export function certificateOf(call: ServerInterceptingCallInterface): PeerCertificate | undefined {
  const { stream } = call as unknown as { readonly stream?: { readonly session?: object } };
  const session = stream?.session;
  const known = session === undefined ? undefined : presented.get(session);
  if (known !== undefined) return known;
  const certificate = call.getAuthContext().sslPeerCertificate;
  if (session !== undefined && certificate !== undefined) presented.set(session, certificate);
  return certificate;
}
