import { ERRORS, NodeError, type ErrorCode } from '../../../kernel/errors.js';
import { PROBLEM_CONTENT_TYPE, problemOf } from '../../../platform/http/problem.js';
import type { EndpointSpec } from '../http/endpoint.js';

/** Stands for the name of an occurrence in examples. */
const INSTANCE = 'urn:uuid:3f0c2a2e-8c1b-4f57-9d0a-5d1f6f6c7a10';
const PROBLEM = { $ref: '#/components/schemas/Problem' } as const;
const RETRY_AFTER = { 'Retry-After': { description: 'Seconds, where it is known.', schema: { type: 'integer' } } };

/** A response of the OpenAPI document. */
type Response = Readonly<Record<string, unknown>>;

/** The errors of a call by HTTP status, each code with an example; `default` for whatever else happens. */
export function errorResponses(endpoint: EndpointSpec, secured: boolean): Readonly<Record<string, Response>> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codesOf(endpoint, secured)) {
    const { http } = ERRORS[code];
    const codes = byStatus.get(http);
    if (codes === undefined) byStatus.set(http, [code]);
    else codes.push(code);
  }
  return {
    ...Object.fromEntries([...byStatus].map(([status, codes]) => [String(status), response(codes)])),
    default: { description: 'An error.', content: { [PROBLEM_CONTENT_TYPE]: { schema: PROBLEM } } },
  };
}

/** What follows from the shape of a call, and what its controller says it can meet beside that. */
function codesOf(endpoint: EndpointSpec, secured: boolean): ReadonlySet<ErrorCode> {
  const { scope, query, body, always, errors = [] } = endpoint;
  const codes = new Set<ErrorCode>();
  if (query !== undefined || body !== undefined) codes.add('INVALID_REQUEST');
  if (body !== undefined) codes.add('LIMIT_EXCEEDED').add('PAYLOAD_TOO_LARGE').add('UNSUPPORTED_MEDIA_TYPE');
  if (secured && scope !== 'open') codes.add('UNAUTHENTICATED').add('FORBIDDEN');
  if (always !== true) codes.add('STARTING').add('DRAINING');
  for (const code of errors) codes.add(code);
  return codes;
}

function response(codes: readonly ErrorCode[]): Response {
  return {
    description: codes.map((code) => `${code}: ${ERRORS[code].title}.`).join(' '),
    ...(codes.some((code) => ERRORS[code].retryable) ? { headers: RETRY_AFTER } : {}),
    content: {
      [PROBLEM_CONTENT_TYPE]: {
        schema: PROBLEM,
        examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])),
      },
    },
  };
}

function example(code: ErrorCode): unknown {
  return problemOf(new NodeError(code, ERRORS[code].title), INSTANCE).problem;
}
