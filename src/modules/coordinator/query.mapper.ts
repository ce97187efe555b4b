import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { ERRORS, type ErrorCode } from '../../kernel/errors.js';
import * as wire from '../../gen/spector/peer/v1/shard_pb.js';
import { keyOf, malformed, readInteger, writeInteger } from '../../platform/grpc/peer-fields.js';
import type { ServiceHandlers } from '../../platform/grpc/service-handlers.js';
import type { ShardCall } from './core/shard-calls.js';
import type { AnswerMessage, AnswerPart, CallFailure, QueryMessage } from './query-stream.js';

/** The query stream on the wire. What is read is checked: @throws NodeError INVALID_REQUEST */
export const SHARD_SERVICE = wire.ShardService;
export type ShardHandlers = ServiceHandlers<typeof wire.ShardService>;
export type { QueryRequest, QueryResponse } from '../../gen/spector/peer/v1/shard_pb.js';

const KINDS: Readonly<Record<ShardCall, wire.CallKind>> = {
  search: wire.CallKind.SEARCH,
  statistics: wire.CallKind.STATISTICS,
  count: wire.CallKind.COUNT,
  read: wire.CallKind.READ,
  page: wire.CallKind.PAGE,
  keys: wire.CallKind.KEYS,
  summary: wire.CallKind.SUMMARY,
  fetch: wire.CallKind.FETCH,
  write: wire.CallKind.WRITE,
  entries: wire.CallKind.ENTRIES,
  change: wire.CallKind.CHANGE,
  transfer: wire.CallKind.TRANSFER,
  conflicts: wire.CallKind.CONFLICTS,
  map: wire.CallKind.MAP,
  operations: wire.CallKind.OPERATIONS,
};

export function writeQuery({ generation, calls, cancelled }: QueryMessage): wire.QueryRequest {
  return create(wire.QueryRequestSchema, {
    generation: writeInteger(generation),
    calls: calls.map(({ id, kind, timeoutMs, body, more }) => ({
      id: writeInteger(id),
      kind: KINDS[kind],
      timeoutMs: Math.ceil(timeoutMs),
      body,
      more,
    })),
    cancelled: cancelled.map(writeInteger),
  });
}

export function readQuery({ generation, calls, cancelled }: wire.QueryRequest): QueryMessage {
  return {
    generation: readInteger(generation, 'generation'),
    calls: calls.map(({ id, kind, timeoutMs, body, more }) => ({
      id: readInteger(id, 'id'),
      kind: keyOf(KINDS, kind, 'kind'),
      timeoutMs,
      body,
      more,
    })),
    cancelled: cancelled.map((id) => readInteger(id, 'cancelled')),
  };
}

export function writeAnswers({ answers, load }: AnswerMessage): wire.QueryResponse {
  return create(wire.QueryResponseSchema, {
    answers: answers.map(({ id, body, more, failure }): MessageInitShape<typeof wire.AnswerSchema> => ({
      id: writeInteger(id),
      body,
      more,
      ...(failure === undefined ? {} : { failure }),
    })),
    load,
  });
}

export function readAnswers({ answers, load }: wire.QueryResponse): AnswerMessage {
  return {
    answers: answers.map(({ id, body, more, failure }): AnswerPart => {
      const part = { id: readInteger(id, 'id'), body, more };
      return failure === undefined ? part : { ...part, failure: readFailure(failure) };
    }),
    load,
  };
}

function readFailure({ code, detail, retryAfterMs }: wire.CallFailure): CallFailure {
  if (!Object.hasOwn(ERRORS, code)) throw malformed(`there is no error code "${code}"`);
  return { code: code as ErrorCode, detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}
