import type { StatusObject } from '@grpc/grpc-js';
import { status as Status } from '@grpc/grpc-js';
import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { ErrorCode } from '../../kernel/errors.js';
import { ERRORS } from '../../kernel/errors.js';
import type { PeerRefusalCode } from '../../kernel/peer.js';
import { PeerError } from '../../kernel/peer.js';
import type { ErrorInfo } from '../../gen/google/rpc/error_details_pb.js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import { DETAILS_TRAILER, ERROR_DOMAIN, PEER_DOMAIN } from './grpc-errors.js';

const NOT_CONNECTED = /^(No connection established|Name resolution failed|Channel closed before call started)/;
/** Texts of OpenSSL and of Node's TLS about certificates, on either side. */
const CERTIFICATE = /certificate|CERT_|_CERT|altnames|self.signed|SSL routines|SSL alert|EPROTO/i;

/** Whether the call never left because there is no connection: the channel is of no more use. */
export function neverConnected(status: Pick<StatusObject, 'details'>): boolean {
  return NOT_CONNECTED.test(status.details);
}

/**
 * The PeerError behind a status other than OK. A node sends google.rpc.ErrorInfo with every status; one without it was
 * made by the client's side of grpc-js, and its text (of the pinned version, provoked by specs) tells what happened.
 * @param address of the peer, for the message
 */
export function peerErrorOf(status: Pick<StatusObject, 'code' | 'details' | 'metadata'>, address: string): PeerError {
  const info = errorInfoOf(status);
  if (info !== undefined) return rejected(info, status, address);
  const { code, details } = status;
  const failure = (reason: 'REFUSED' | 'TIMEOUT' | 'RESET', said: string) =>
    new PeerError(reason, `${address} ${said}: ${causeIn(details)}`);
  if (code === Status.DEADLINE_EXCEEDED) return new PeerError('TIMEOUT', `${address} did not answer in time`);
  if (neverConnected(status)) {
    if (details.includes('ECONNREFUSED')) return failure('REFUSED', 'refuses connections');
    if (CERTIFICATE.test(details)) return certificateError(details, address);
    return details.startsWith('Channel closed') || /EHOSTUNREACH|ENETUNREACH|ETIMEDOUT/.test(details)
      ? failure('TIMEOUT', 'cannot be connected to')
      : failure('RESET', 'broke the connection');
  }
  switch (code) {
    case Status.RESOURCE_EXHAUSTED:
      return new PeerError('REJECTED', `a message from or to ${address} is too large: ${details}`, 'PAYLOAD_TOO_LARGE');
    case Status.INTERNAL:
      if (details.includes('parsing error'))
        return new PeerError('REJECTED', `the answer of ${address} cannot be read: ${details}`, 'INTERNAL');
      return failure('RESET', 'broke off the call');
    case Status.UNIMPLEMENTED:
      return new PeerError('REJECTED', `${address} does not know the method: ${details}`, 'ROUTE_NOT_FOUND');
    case Status.UNAVAILABLE:
      if (CERTIFICATE.test(details)) return certificateError(details, address);
      return failure('RESET', 'broke the connection');
    default:
      return failure('RESET', 'broke off the call');
  }
}

/** A certificate was refused, ours or theirs; `detail` says which. */
export function certificateError(detail: string, address: string): PeerError {
  // An alert comes from the other side: it did not like ours.
  const whose = /alert/i.test(detail)
    ? `${address} refuses our certificate`
    : `the certificate of ${address} is refused`;
  return new PeerError('REJECTED', `${whose}: ${causeIn(detail)}`, 'UNAUTHENTICATED');
}

/** What grpc-js wraps the cause of a failed connection in says nothing. */
function causeIn(details: string): string {
  return details.replace(/^No connection established\. Last error: /, '').replace(/\. Resolution note: $/, '');
}

function rejected(info: ErrorInfo, { code, details }: Pick<StatusObject, 'code' | 'details'>, address: string) {
  // Its own clock of our deadline went off first: it is as if it had not answered.
  if (code === Status.DEADLINE_EXCEEDED && info.reason === 'QUERY_TIMEOUT')
    return new PeerError('TIMEOUT', `${address} did not answer in time`, 'QUERY_TIMEOUT');
  const message = `${address} says no: ${details}`;
  if (info.domain === PEER_DOMAIN)
    return new PeerError('REJECTED', message, info.reason as PeerRefusalCode, { hints: info.metadata });
  const known = info.domain === ERROR_DOMAIN && info.reason in ERRORS;
  const retryAfterMs = Number(info.metadata['retryAfterMs']);
  return new PeerError('REJECTED', message, known ? (info.reason as ErrorCode) : 'INTERNAL', {
    ...(Number.isFinite(retryAfterMs) ? { retryAfterMs } : {}),
  });
}

function errorInfoOf({ metadata }: Pick<StatusObject, 'metadata'>): ErrorInfo | undefined {
  const [bytes] = metadata.get(DETAILS_TRAILER);
  if (!(bytes instanceof Uint8Array)) return undefined;
  try {
    const [detail] = fromBinary(StatusSchema, bytes).details;
    return detail === undefined ? undefined : anyUnpack(detail, ErrorInfoSchema);
  } catch {
    // Whoever sent that is no node; its status is judged without it.
    return undefined;
  }
}
