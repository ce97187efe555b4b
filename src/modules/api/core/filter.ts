import { NodeError } from '../../../kernel/errors.js';
import { documentIdProblem } from '../../../kernel/ids.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { Filter, FilterClause, FilterScalar } from '../../shard/core/filter.js';
import { nearestName } from './nearest-name.js';
import { quoted, shown } from './shown.js';

type Fields = Readonly<Record<string, unknown>>;

const GROUPS = ['must', 'should', 'must_not'] as const;
const CLAUSE_FIELDS = ['key', 'match', 'range', 'exists', 'ids', ...GROUPS];
const BOUNDS = ['gt', 'gte', 'lt', 'lte'] as const;

/** Counts clauses over the whole filter. */
interface Budget {
  clauses: number;
}

/**
 * The filter in a parsed JSON value (api.md, Filter), at most 64 clauses and 8 levels; both are checked before going
 * deeper. A group is always an array; a nested filter is a clause with `must`, `should` or `must_not`.
 * @param name of the field, for errors
 */
export function filterOf(value: unknown, name = 'filter'): Filter {
  return group(value, name, 1, { clauses: 0 });
}

function group(value: unknown, name: string, depth: number, budget: Budget): Filter {
  const fields = fieldsOf(value, name);
  if (depth > LIMITS.filterDepthMax)
    throw exceeded(`${quoted(name)} is nested deeper than ${LIMITS.filterDepthMax} levels`);
  refuseUnknown(fields, GROUPS, name);
  return {
    must: clauses(fields.must, `${name}.must`, depth, budget),
    should: clauses(fields.should, `${name}.should`, depth, budget),
    mustNot: clauses(fields.must_not, `${name}.must_not`, depth, budget),
  };
}

function clauses(value: unknown, name: string, depth: number, budget: Budget): readonly FilterClause[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalid(`${quoted(name)} must be an array of clauses, not ${shown(value)}`);
  budget.clauses += value.length;
  if (budget.clauses > LIMITS.filterClausesMax) {
    throw exceeded(`the filter has more than ${LIMITS.filterClausesMax} clauses`);
  }
  return value.map((item: unknown, i) => clause(item, `${name}[${i}]`, depth, budget));
}

function clause(value: unknown, name: string, depth: number, budget: Budget): FilterClause {
  const fields = fieldsOf(value, name);
  refuseUnknown(fields, CLAUSE_FIELDS, name);
  if (GROUPS.some((groupName) => fields[groupName] !== undefined)) {
    return { kind: 'nested', filter: group(value, name, depth + 1, budget) };
  }
  const conditions = (['match', 'range', 'exists', 'ids'] as const).filter((field) => fields[field] !== undefined);
  const condition = conditions[0];
  if (condition === undefined || conditions.length > 1) {
    throw invalid(`${quoted(name)} must hold exactly one of match, range, exists, ids, or must, should, must_not`);
  }
  if (condition === 'ids') {
    refuseUnknown(fields, ['ids'], name);
    return { kind: 'ids', ids: idsOf(fields.ids, `${name}.ids`) };
  }
  const { key } = fields;
  if (typeof key !== 'string' || key === '') throw invalid(`${quoted(`${name}.key`)} must be a non-empty string`);
  switch (condition) {
    case 'match':
      return { kind: 'match', key, any: matchValues(fields.match, `${name}.match`) };
    case 'range':
      return range(key, fields.range, `${name}.range`);
    case 'exists':
      if (typeof fields.exists !== 'boolean') throw invalid(`${quoted(`${name}.exists`)} must be true or false`);
      return { kind: 'exists', key, exists: fields.exists };
  }
}

function matchValues(value: unknown, name: string): readonly FilterScalar[] {
  const fields = fieldsOf(value, name);
  refuseUnknown(fields, ['value', 'any'], name);
  if ((fields.value === undefined) === (fields.any === undefined)) {
    throw invalid(`${quoted(name)} must hold either value or any`);
  }
  if (fields.any === undefined) return [scalar(fields.value, `${name}.value`)];
  return listOf(fields.any, `${name}.any`).map((item, i) => scalar(item, `${name}.any[${i}]`));
}

function scalar(value: unknown, name: string): FilterScalar {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalid(`${quoted(name)} must be a string, a finite number, true, false or null, not ${shown(value)}`);
}

function range(key: string, value: unknown, name: string): FilterClause {
  const fields = fieldsOf(value, name);
  refuseUnknown(fields, BOUNDS, name);
  const given = BOUNDS.filter((bound) => fields[bound] !== undefined);
  if (given.length === 0) throw invalid(`${quoted(name)} must hold at least one of gt, gte, lt, lte`);
  const bounds: Partial<Record<(typeof BOUNDS)[number], number | string>> = {};
  for (const bound of given) bounds[bound] = rangeBound(fields[bound], `${name}.${bound}`);
  if (new Set(Object.values(bounds).map((bound) => typeof bound)).size > 1) {
    throw invalid(`${quoted(name)} must have bounds of one type: all numbers or all strings`);
  }
  return { kind: 'range', key, ...bounds };
}

function rangeBound(value: unknown, name: string): number | string {
  if (typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))) return value;
  throw invalid(`${quoted(name)} must be a finite number or a string, not ${shown(value)}`);
}

/** Document ids of a list, each valid (api.md, Limits). */
export function idsOf(value: unknown, name: string): readonly string[] {
  return listOf(value, name).map((id, i) => {
    if (typeof id !== 'string') throw invalid(`${quoted(`${name}[${i}]`)} must be a string, not ${shown(id)}`);
    const problem = documentIdProblem(id);
    if (problem !== undefined) throw invalid(`${quoted(`${name}[${i}]`)} ${problem}`);
    return id;
  });
}

function listOf(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`${quoted(name)} must be an array, not ${shown(value)}`);
  if (value.length > LIMITS.filterValuesMax) {
    throw exceeded(`${quoted(name)} holds ${value.length} values; at most ${LIMITS.filterValuesMax} are allowed`);
  }
  return value;
}

function fieldsOf(value: unknown, name: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${quoted(name)} must be an object, not ${shown(value)}`);
  }
  return value as Fields;
}

function refuseUnknown(fields: Fields, known: readonly string[], name: string): void {
  for (const field of Object.keys(fields)) {
    if (known.includes(field)) continue;
    const nearest = nearestName(field, known);
    throw invalid(
      `${quoted(name)} has the unknown field ${quoted(field)}${nearest === undefined ? '' : `; did you mean ${quoted(nearest)}?`}`,
    );
  }
}

function invalid(sentence: string): NodeError {
  return new NodeError('INVALID_REQUEST', sentence);
}

function exceeded(sentence: string): NodeError {
  return new NodeError('LIMIT_EXCEEDED', sentence);
}
