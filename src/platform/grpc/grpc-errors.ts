import type { Metadata as MetadataType, StatusObject } from '@grpc/grpc-js';
import { Metadata, status } from '@grpc/grpc-js';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { ERRORS } from '../../kernel/errors.js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../gen/google/rpc/status_pb.js';
import type { Failure } from '../errors/failure.js';
import { failureOf } from '../errors/failure.js';

export const ERROR_DOMAIN = 'spector.node';
/** The trailer that carries a google.rpc.Status. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';

/** A status as grpc-js sends it, and whether the error was unexpected: then the caller logs it under `instance`. */
export interface GrpcFailure {
  readonly status: StatusObject;
  readonly failure: Failure;
}

/**
 * The gRPC status of anything that was thrown, with its google.rpc.ErrorInfo (api.md, Errors).
 * @param error a NodeError, or anything else: that becomes INTERNAL, and nothing of it is told
 * @param instance names this occurrence in the log; told for unexpected errors
 */
export function grpcFailureOf(error: unknown, instance: string): GrpcFailure {
  const failure = failureOf(error);
  const code = status[ERRORS[failure.code].grpc];
  return { failure, status: { code, details: failure.detail, metadata: trailers(code, failure, instance) } };
}

function trailers(code: status, failure: Failure, instance: string): MetadataType {
  const info = create(ErrorInfoSchema, {
    reason: failure.code,
    domain: ERROR_DOMAIN,
    metadata: {
      retryable: String(failure.retryable),
      ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: String(Math.ceil(failure.retryAfterMs)) }),
      ...(failure.unexpected ? { instance } : {}),
    },
  });
  const details = create(StatusSchema, { code, message: failure.detail, details: [anyPack(ErrorInfoSchema, info)] });
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, Buffer.from(toBinary(StatusSchema, details)));
  return metadata;
}
