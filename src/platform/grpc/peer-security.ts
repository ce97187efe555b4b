import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import type { GrpcCertificates } from './grpc-certificates.js';

/**
 * How nodes know each other (api.md, Security). tls: both sides present a certificate that names their node id. secret:
 * calls carry a proof made with the cluster's secret. open: whoever reaches the port is believed; shown as `insecure`.
 */
export type PeerSecurity =
  | { readonly kind: 'tls'; readonly certificates: GrpcCertificates }
  | { readonly kind: 'secret'; readonly secret: string }
  | { readonly kind: 'open' };

/** The mode a configuration asks for: TLS proves more than a secret, so it goes first. */
export function peerSecurityOf(
  certificates: GrpcCertificates | undefined,
  clusterSecret: string | undefined,
): PeerSecurity {
  if (certificates !== undefined) return { kind: 'tls', certificates };
  return clusterSecret === undefined ? { kind: 'open' } : { kind: 'secret', secret: clusterSecret };
}

/** Whether a certificate is that of a node: its SAN names the id, spelled out; wildcards and common names do not count. */
export function certificateNames(certificate: PeerCertificate, nodeId: string): boolean {
  if (named.get(certificate) === nodeId) return true;
  const parsed = new X509Certificate(certificate.raw);
  if (parsed.checkHost(nodeId, { subject: 'never', wildcards: false }) === undefined) return false;
  named.set(certificate, nodeId);
  return true;
}

/** A name that a certificate was found to have: parsing it for every call would cost more than the call. */
const named = new WeakMap<PeerCertificate, string>();

/** The names in a certificate, for a message about it. */
export function namesIn(certificate: PeerCertificate): string {
  return certificate.subjectaltname ?? 'no name';
}
