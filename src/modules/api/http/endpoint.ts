import { RouteConfig } from '@nestjs/platform-fastify';
import type { TObject, TSchema } from 'typebox';
import type { ErrorCode } from '../../../kernel/errors.js';
import type { Scope } from '../auth/api-keys.js';

/** All there is to know of a call beside its handler: what the gate checks and what /openapi.json tells. */
export interface EndpointSpec {
  readonly scope: Scope;
  /** Group in the documentation. */
  readonly tag: string;
  readonly summary: string;
  readonly query?: TObject;
  readonly body?: TSchema;
  /** Without one it is as if it were `{}`. */
  readonly bodyMayMiss?: true;
  /** `bulk` bodies reach the handler unread: a stream of NDJSON or the bytes of JSON. */
  readonly input?: 'json' | 'bulk';
  /** Status → what it means, or the shape of the answer. */
  readonly answers: Readonly<Record<number, string | TSchema>>;
  /** Errors it can meet beside those that follow from the rest. */
  readonly errors?: readonly ErrorCode[];
  /** Media type of the answer; JSON by default. */
  readonly produces?: string;
  /** Request headers that the call understands. */
  readonly headers?: readonly ('If-Match' | 'If-None-Match' | 'Idempotency-Key' | 'Spector-Session')[];
  /** Answers in every state of the node. */
  readonly always?: boolean;
}

/** What a route carries for hooks and parsers. */
export interface EndpointConfig {
  readonly endpoint: EndpointSpec;
}

/** Describes a controller's method; every route of the node carries one. */
export function Endpoint(endpoint: EndpointSpec): MethodDecorator {
  const config: EndpointConfig = { endpoint };
  return RouteConfig(config);
}

/** The description of a route, from its configuration; undefined for the router's own. */
export function endpointOf(config: unknown): EndpointSpec | undefined {
  return (config as Partial<EndpointConfig> | undefined)?.endpoint;
}
