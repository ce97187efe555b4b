import type { Metadata as MetadataType, StatusObject } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { ERRORS, NodeError } from '../../kernel/errors.js';
import { PeerRefusal } from '../../kernel/peer.js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import type { Failure } from '../errors/failure.js';
import { failureOf } from '../errors/failure.js';

export const ERROR_DOMAIN = 'spector.node';
/** Domain of what nodes refuse each other with. */
export const PEER_DOMAIN = 'spector.peer';
/** The trailer that carries a google.rpc.Status. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';

/** A status as grpc-js sends it, and whether the error was unexpected: then the caller logs it under `instance`. */
export interface GrpcFailure {
  readonly status: StatusObject;
  readonly failure: Failure;
}

/**
 * The gRPC status of anything that was thrown, with its google.rpc.ErrorInfo (api.md, Errors).
 * @param error a NodeError, a PeerRefusal, or anything else: that becomes INTERNAL, and nothing of it is told
 * @param instance names this occurrence in the log; told for unexpected errors
 */
export function grpcFailureOf(error: unknown, instance: string): GrpcFailure {
  if (error instanceof PeerRefusal) return peerRefusal(error);
  const failure = failureOf(error);
  const code = status[ERRORS[failure.code].grpc];
  const metadata = trailers(code, failure.detail, {
    reason: failure.code,
    domain: ERROR_DOMAIN,
    metadata: {
      retryable: String(failure.retryable),
      ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: String(Math.ceil(failure.retryAfterMs)) }),
      ...(failure.unexpected ? { instance } : {}),
    },
  });
  return { failure, status: { code, details: failure.detail, metadata } };
}

function peerRefusal(error: PeerRefusal): GrpcFailure {
  const code = status.FAILED_PRECONDITION;
  const failure = failureOf(new NodeError('FORBIDDEN', error.message));
  const metadata = trailers(code, failure.detail, {
    reason: error.code,
    domain: PEER_DOMAIN,
    metadata: { ...error.hints },
  });
  return { failure, status: { code, details: failure.detail, metadata } };
}

function trailers(code: status, message: string, info: MessageInitShape<typeof ErrorInfoSchema>): MetadataType {
  const details = create(StatusSchema, {
    code,
    message,
    details: [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info))],
  });
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, Buffer.from(toBinary(StatusSchema, details)));
  return metadata;
}
