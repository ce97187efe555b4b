import type { TSchema } from 'typebox';
import { ERRORS } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { EndpointSpec } from '../http/endpoint.js';
import type { RegisteredRoute } from '../http/route-table.js';
import { errorResponses } from './error-responses.js';

/** A JSON value under construction. */
type Json = Readonly<Record<string, unknown>>;

/** What the document says of itself. */
export interface OpenApiOptions {
  readonly version: string;
  /** Whether API keys are set. */
  readonly secured: boolean;
}

/** Parts of schemas that code checks instead of the validator. */
const CHECKED_BY_CODE: Json = {
  Vector: {
    examples: [[0.1, 0.9, 0.3]],
    type: 'array',
    items: { type: 'number', format: 'float' },
    minItems: 1,
    maxItems: LIMITS.dimensionsMax,
  },
  Metadata: { type: 'object', additionalProperties: true, examples: [{ year: 2024 }] },
  Ids: { type: 'array', items: { type: 'string' }, maxItems: LIMITS.idsMax, examples: [['doc-1', 'doc-2']] },
  Filter: {
    type: 'object',
    additionalProperties: false,
    description: 'All of must, none of must_not; should alone needs one. At most 64 clauses and 8 levels.',
    examples: [{ must: [{ key: 'year', range: { gte: 2020 } }] }],
    properties: Object.fromEntries(
      ['must', 'should', 'must_not'].map((group) => [
        group,
        { type: 'array', items: { $ref: '#/components/schemas/FilterClause' } },
      ]),
    ),
  },
  FilterClause: {
    oneOf: [
      clause({
        key: { type: 'string' },
        match: { oneOf: [clause({ value: {} }), clause({ any: { type: 'array', items: {} } })] },
      }),
      clause({
        key: { type: 'string' },
        range: {
          type: 'object',
          additionalProperties: false,
          minProperties: 1,
          properties: Object.fromEntries(
            ['gt', 'gte', 'lt', 'lte'].map((bound) => [bound, { oneOf: [{ type: 'number' }, { type: 'string' }] }]),
          ),
        },
      }),
      clause({ key: { type: 'string' }, exists: { type: 'boolean' } }),
      clause({ ids: { type: 'array', items: { type: 'string' } } }),
      { $ref: '#/components/schemas/Filter' },
    ],
  },
  Problem: {
    type: 'object',
    description: 'RFC 9457. A bulk of which nothing was stored adds the members of BulkAnswer.',
    required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'retryable'],
    properties: {
      type: { type: 'string' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string', description: 'What is wrong and what to do.' },
      instance: { type: 'string', description: 'Names this occurrence in the log of the node.' },
      code: { type: 'string', enum: Object.keys(ERRORS) },
      retryable: { type: 'boolean' },
      retryAfterMs: { type: 'integer' },
      shards: { description: 'Of COVERAGE_TOO_LOW.', $ref: '#/components/schemas/ShardsReport' },
    },
  },
};

const HEADERS: Readonly<Record<string, string>> = {
  'If-Match': 'Only over this version: `"<version>"`.',
  'If-None-Match': '`*`: only when there is no such document.',
  'Idempotency-Key': '1–256 visible characters: a repeated write with the same key gets the stored result.',
  'Spector-Session': 'Session token of the newest answer.',
};

const LINES_EXAMPLE = [
  '{"id":"doc-1","title":"Otters","content":"Otters hold hands","vector":[0.1,0.9,0.3],"metadata":{"year":2024}}',
  '{"op":"patch","id":"doc-1","metadata":{"year":2025}}',
  '{"op":"delete","id":"doc-1"}',
  '',
].join('\n');

/** The OpenAPI 3.1 document of the node's routes: from the same schemas that validate them. */
export function openApiOf(routes: readonly RegisteredRoute[], options: OpenApiOptions): Json {
  const components: Record<string, unknown> = { ...CHECKED_BY_CODE };
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, endpoint } of routes) {
    if (method === 'HEAD') continue;
    const template = path.replaceAll(/:([A-Za-z]+)/g, '{$1}');
    (paths[template] ??= {})[method.toLowerCase()] = operation(method, path, endpoint, options, components);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Spector Node',
      version: options.version,
      description: 'Hybrid (vector and keyword) search in which the log is the database. Unknown fields are refused.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: components,
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  };
}

function operation(
  method: string,
  path: string,
  endpoint: EndpointSpec,
  options: OpenApiOptions,
  components: Record<string, unknown>,
): Json {
  const secured = options.secured && endpoint.scope !== 'open';
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+(.?)/g, (_, next: string) => next.toUpperCase())}`,
    tags: [endpoint.tag],
    summary: endpoint.summary,
    ...(secured
      ? { description: `Needs a key of scope ${endpoint.scope}.`, security: [{ apiKey: [] }, { bearer: [] }] }
      : {}),
    parameters: [...pathParameters(path), ...queryParameters(endpoint, components), ...headerParameters(endpoint)],
    ...(endpoint.body === undefined ? {} : { requestBody: requestBody(endpoint, endpoint.body, components) }),
    responses: {
      ...errorResponses(endpoint, options.secured),
      ...Object.fromEntries(
        Object.entries(endpoint.answers).map(([status, answer]) => [
          status,
          response(Number(status), answer, endpoint, components),
        ]),
      ),
    },
  };
}

function requestBody(endpoint: EndpointSpec, body: TSchema, components: Record<string, unknown>): Json {
  const schema = plain(body, components);
  const lines = {
    'application/x-ndjson': {
      schema: { type: 'string', description: 'One item of `documents` a line.', examples: [LINES_EXAMPLE] },
    },
  };
  const required = endpoint.bodyMayMiss !== true;
  return { required, content: { 'application/json': { schema }, ...(endpoint.input === 'bulk' ? lines : {}) } };
}

function response(
  status: number,
  answer: string | TSchema,
  endpoint: EndpointSpec,
  components: Record<string, unknown>,
): Json {
  const type = endpoint.produces ?? 'application/json';
  if (typeof answer === 'string') return { description: answer, content: { [type]: {} } };
  const description = status < 400 ? 'Done.' : 'Not now.';
  return { description, content: { [type]: { schema: plain(answer, components) } } };
}

function pathParameters(path: string): readonly Json[] {
  return [...path.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: name === 'n' ? 'integer' : 'string' },
  }));
}

function queryParameters({ query }: EndpointSpec, components: Record<string, unknown>): readonly Json[] {
  return Object.entries(query?.properties ?? {}).map(([name, schema]) => {
    const { description, ...rest } = plain(schema, components);
    return { name, in: 'query', required: false, schema: rest, ...(description === undefined ? {} : { description }) };
  });
}

function headerParameters({ headers = [] }: EndpointSpec): readonly Json[] {
  return headers.map((name) => ({
    name,
    in: 'header',
    required: false,
    schema: { type: 'string' },
    description: HEADERS[name],
  }));
}

/** A schema as OpenAPI has it: annotations of ours resolved, titled shapes moved to the components. */
function plain(schema: unknown, components: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const { 'x-component': component, 'x-limit': _limit, ...rest } = schema as Record<string, unknown>;
  if (typeof component === 'string') return { $ref: `#/components/schemas/${component}`, ...rest };
  // What examples hold are values, whose members may be called as a schema's are.
  for (const [key, value] of Object.entries(rest))
    result[key] = key === 'examples' ? value : plainValue(value, components);
  if (typeof result.title !== 'string') return result;
  const { title, ...described } = result;
  components[title] = described;
  return { $ref: `#/components/schemas/${title}` };
}

function plainValue(value: unknown, components: Record<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item) => plainValue(item, components));
  return typeof value === 'object' && value !== null ? plain(value, components) : value;
}

function clause(properties: Json): Json {
  return { type: 'object', additionalProperties: false, required: Object.keys(properties), properties };
}
