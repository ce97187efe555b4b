import type { FastifyReply, FastifyRequest } from 'fastify';
import { NodeError } from '../../kernel/errors.js';
import { CallSignal } from '../coordinator/call-signal.js';
import type {
  CallContext,
  ReadConsistency,
  ReadOptions,
  SearchRequest,
  WriteCondition,
  WriteConsistency,
  WriteOptions,
} from '../coordinator/core/requests.js';
import { filterOf } from './core/filter.js';
import { searchRequestOf } from './core/search-request.js';
import { quoted } from './core/shown.js';
import { vectorOfJson } from './core/vector.js';
import { idempotencyKeyOf, writeConditionOf } from './core/write-headers.js';
import type { SearchBody } from './schemas/search.js';

const SESSION = /^[A-Za-z0-9_-]{0,16384}$/;
const JSON_CONTENT_TYPE = 'application/json; charset=utf-8';

/** Options of a call that its query and its body may both carry. */
interface Optional {
  readonly collection?: string | undefined;
  readonly consistency?: string | undefined;
  readonly session?: string | undefined;
}

/** The session a client gives: field, query parameter or header `Spector-Session`. */
export function sessionOf(request: FastifyRequest, ...sources: readonly Optional[]): string | undefined {
  const header = request.headers['spector-session'];
  if (Array.isArray(header) || (header !== undefined && !SESSION.test(header))) {
    throw new NodeError('INVALID_REQUEST', 'Spector-Session must be the session token of an answer');
  }
  const session = agreed('session', [...sources.map((source) => source.session), header]);
  return session === '' ? undefined : session;
}

/** How a write is to be done (api.md, REST). `standard` is the consistency the cluster is set to. */
export function writeOptionsOf(
  request: FastifyRequest,
  standard: WriteConsistency,
  ...sources: readonly (Optional & { readonly consistency?: WriteConsistency | undefined })[]
): WriteOptions {
  const idempotencyKey = idempotencyKeyOf(headerOf(request, 'idempotency-key'));
  return {
    collection:
      agreed(
        'collection',
        sources.map(({ collection }) => collection),
      ) ?? 'default',
    consistency:
      agreed(
        'consistency',
        sources.map(({ consistency }) => consistency),
      ) ?? standard,
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  };
}

/** Which copies may answer a read; a session alone implies `session`. */
export function readOptionsOf(
  query: Optional & { readonly consistency?: ReadConsistency | undefined },
  session: string | undefined,
): ReadOptions {
  return {
    collection: query.collection ?? 'default',
    consistency: query.consistency ?? (session === undefined ? 'any' : 'session'),
  };
}

/** The condition in If-Match or If-None-Match. */
export function conditionOf(request: FastifyRequest): WriteCondition | undefined {
  return writeConditionOf(headerOf(request, 'if-match'), headerOf(request, 'if-none-match'));
}

/** The search in a checked body. */
export function searchOf(body: SearchBody, session: string | undefined): SearchRequest {
  const { vector, filter } = body;
  return searchRequestOf({
    ...body,
    vector: vector === undefined ? undefined : vectorOfJson(vector, 'vector'),
    filter: filter === undefined ? undefined : filterOf(filter),
    session,
  });
}

/**
 * What every call carries: a signal that aborts when the client goes away before it has its answer, its own deadline,
 * its session.
 */
export function callOf(reply: FastifyReply, session: string | undefined, timeoutMs?: number): CallContext {
  const signal = new CallSignal();
  const { raw } = reply;
  raw.once('close', () => {
    if (!raw.writableFinished) signal.abort();
  });
  return {
    signal,
    ...(timeoutMs === undefined ? undefined : { timeoutMs }),
    ...(session === undefined ? undefined : { session }),
  };
}

/** Headers that some answers carry. */
export interface AnswerHeaders {
  readonly session?: string;
  /** Becomes the ETag. */
  readonly version?: string;
  readonly location?: string;
}

/** Answers with JSON; `body` may be JSON text already. */
export function sendJson(
  reply: FastifyReply,
  status: number,
  body: object | string,
  headers: AnswerHeaders = {},
): void {
  void reply.code(status).header('content-type', JSON_CONTENT_TYPE);
  if (headers.session !== undefined) void reply.header('spector-session', headers.session);
  if (headers.version !== undefined) void reply.header('etag', `"${headers.version}"`);
  if (headers.location !== undefined) void reply.header('location', headers.location);
  void reply.send(typeof body === 'string' ? body : JSON.stringify(body));
}

/** The one value of a field that several places may carry; INVALID_REQUEST when they differ. */
function agreed<T extends string>(name: string, values: readonly (T | undefined)[]): T | undefined {
  let found: T | undefined;
  for (const value of values) {
    if (value === undefined) continue;
    if (found !== undefined && found !== value) {
      throw new NodeError('INVALID_REQUEST', `${quoted(name)} is given twice, with different values: give it once`);
    }
    found = value;
  }
  return found;
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const header = request.headers[name];
  if (Array.isArray(header)) throw new NodeError('INVALID_REQUEST', `the header ${name} is given more than once`);
  return header;
}
