import type { Static, TObject, TSchema } from 'typebox';
import { NodeError } from '../../../kernel/errors.js';
import { quoted, shown } from '../core/shown.js';
import type { Validator } from './validator.js';
import { validator } from './validator.js';

const BOOLEANS: Readonly<Record<string, boolean>> = {
  true: true,
  on: true,
  1: true,
  false: false,
  off: false,
  0: false,
};

/**
 * Reads query parameters: text becomes what the schema says, strictly; unknown and repeated ones are refused.
 * @returns a function from fastify's parsed query to the typed value
 */
export function queryReader<S extends TObject>(schema: S): Validator<Static<S>> {
  const check = validator(schema, 'the query');
  const properties = schema.properties as Readonly<Record<string, TSchema & { readonly type?: string }>>;
  const none = {} as Static<S>;
  return (query) => {
    const entries = Object.entries(query as Readonly<Record<string, unknown>>);
    if (entries.length === 0) return none;
    const values: Record<string, unknown> = {};
    for (const [name, text] of entries) {
      if (typeof text !== 'string')
        throw new NodeError('INVALID_REQUEST', `query parameter ${quoted(name)} is given more than once`);
      const type = Object.hasOwn(properties, name) ? properties[name]?.type : undefined;
      Object.defineProperty(values, name, { value: valueOf(name, text, type), enumerable: true });
    }
    return check(values);
  };
}

function valueOf(name: string, text: string, type: string | undefined): unknown {
  if (type === 'boolean') {
    const value = Object.hasOwn(BOOLEANS, text) ? BOOLEANS[text] : undefined;
    if (value === undefined) {
      throw new NodeError(
        'INVALID_REQUEST',
        `query parameter ${quoted(name)} must be true, false, on, off, 1 or 0, not ${shown(text)}`,
      );
    }
    return value;
  }
  if (type === 'integer') {
    const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value)) {
      throw new NodeError(
        'INVALID_REQUEST',
        `query parameter ${quoted(name)} must be a whole number, not ${shown(text)}`,
      );
    }
    return value;
  }
  return text;
}
