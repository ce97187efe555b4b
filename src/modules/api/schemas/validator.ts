import { Ajv } from 'ajv';
import type { Static, TSchema } from 'typebox';
import { NodeError } from '../../../kernel/errors.js';
import type { Violation } from '../core/sentences.js';
import { isLimit, sentencesOf } from '../core/sentences.js';

/** Checks a parsed value and returns it, typed; throws INVALID_REQUEST or LIMIT_EXCEEDED in words. */
export type Validator<T> = (value: unknown) => T;

/** Objects with more fields than this are not examined for every violation, only for the first. */
const EXAMINED_FIELDS_MAX = 100;

const options = { strict: true, verbose: true, coerceTypes: false, useDefaults: false, ownProperties: true } as const;
const KEYWORDS = ['x-component', 'x-limit'];
/** Stops at the first violation. */
const quick = new Ajv(options).addVocabulary(KEYWORDS);
/** Finds all, for the answer to a bad request. */
const thorough = new Ajv({ ...options, allErrors: true }).addVocabulary(KEYWORDS);

/**
 * Compiles a schema, once, when it is first needed: all of them are a tenth of what a start takes. Nothing is coerced.
 * @param what the value is called where it has no field name, e.g. `the body`
 */
export function validator<S extends TSchema>(schema: S, what = 'the body'): Validator<Static<S>> {
  let passes: ReturnType<typeof quick.compile> | undefined;
  let explain: ReturnType<typeof thorough.compile> | undefined;
  return (value) => {
    passes ??= quick.compile(schema);
    if (passes(value)) return value as Static<S>;
    if (value === undefined) throw new NodeError('INVALID_REQUEST', `${what} is missing: a JSON object is needed`);
    let violations = passes.errors ?? [];
    if (typeof value === 'object' && value !== null && Object.keys(value).length <= EXAMINED_FIELDS_MAX) {
      explain ??= thorough.compile(schema);
      if (explain(value) !== true) violations = explain.errors ?? violations;
    }
    throw refusal(violations as readonly Violation[], what);
  };
}

function refusal(violations: readonly Violation[], what: string): NodeError {
  return new NodeError(isLimit(violations) ? 'LIMIT_EXCEEDED' : 'INVALID_REQUEST', sentencesOf(violations, what));
}
