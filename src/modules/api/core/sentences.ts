import { nearestName } from './nearest-name.js';
import { quoted, shown } from './shown.js';

/** What a JSON Schema validator says of one violation; the part of Ajv's ErrorObject that is used. */
export interface Violation {
  readonly keyword: string;
  /** JSON pointer of the value. */
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** The value. */
  readonly data?: unknown;
  /** The schema that was violated. */
  readonly parentSchema?: Readonly<Record<string, unknown>>;
}

/** Violations told in one error; a client fixes a few at a time. */
const SENTENCES_MAX = 5;

/** One readable text for some violations: what is wrong and what to do. */
export function sentencesOf(violations: readonly Violation[], what: string): string {
  const sentences = new Set<string>();
  const unions = violations.filter(({ keyword }) => keyword === 'anyOf').map(({ instancePath }) => instancePath);
  for (const violation of violations) {
    const inUnion = violation.keyword !== 'anyOf' && unions.includes(violation.instancePath);
    if (!inUnion) sentences.add(sentenceOf(violation, what));
  }
  const list = [...sentences];
  const more = list.length - SENTENCES_MAX;
  return list.slice(0, SENTENCES_MAX).join('; ') + (more > 0 ? `; and ${more} more` : '');
}

/** Whether violations are only of limits (api.md, Limits), whose code is LIMIT_EXCEEDED. */
export function isLimit(violations: readonly Violation[]): boolean {
  return violations.every(({ keyword, parentSchema }) => keyword === 'maximum' && parentSchema?.['x-limit'] === true);
}

function sentenceOf(violation: Violation, what: string): string {
  const { keyword, params, data } = violation;
  const field = fieldOf(violation.instancePath);
  const name = field === '' ? what : quoted(field);
  switch (keyword) {
    case 'additionalProperties':
      return unknownField(String(params.additionalProperty), field, violation);
    case 'required':
      return `${quoted(join(field, String(params.missingProperty)))} is missing`;
    case 'type':
      return typeSentence(name, params.type, data);
    case 'enum':
      return `${name} must be ${listed(params.allowedValues)}, not ${shown(data)}`;
    case 'anyOf':
      return `${name} must be ${unionOf(violation.parentSchema)}, not ${shown(data)}`;
    case 'minimum':
    case 'exclusiveMinimum':
      return `${name} must be ${keyword === 'minimum' ? 'at least' : 'more than'} ${String(params.limit)}, not ${shown(data)}`;
    case 'maximum':
    case 'exclusiveMaximum':
      return `${name} must be ${keyword === 'maximum' ? 'at most' : 'less than'} ${String(params.limit)}, not ${shown(data)}`;
    case 'minLength':
      return `${name} must not be empty`;
    case 'maxLength':
      return `${name} must have at most ${String(params.limit)} characters`;
    case 'pattern':
      return `${name} must match ${String(params.pattern)}, unlike ${shown(data)}`;
    default:
      return `${name} is not valid (${keyword})`;
  }
}

function unknownField(name: string, parent: string, violation: Violation): string {
  const known = Object.keys(violation.parentSchema?.properties ?? {});
  const nearest = nearestName(name, known);
  const hint = nearest === undefined ? '' : `; did you mean ${quoted(nearest)}?`;
  return `${quoted(join(parent, name))} is not a known field${hint}`;
}

function typeSentence(name: string, type: unknown, data: unknown): string {
  const wanted = Array.isArray(type) ? type.join(' or ') : String(type);
  const words = WORDS[wanted] ?? wanted;
  return `${name} must be ${words}, not ${shown(data)}`;
}

const WORDS: Readonly<Record<string, string>> = {
  object: 'a JSON object',
  array: 'an array',
  string: 'a string',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'null',
};

function unionOf(schema: Readonly<Record<string, unknown>> | undefined): string {
  const branches = Array.isArray(schema?.anyOf) ? (schema.anyOf as readonly { readonly type?: string }[]) : [];
  return branches.map(({ type }) => WORDS[type ?? ''] ?? type ?? 'another value').join(' or ');
}

function listed(values: unknown): string {
  return Array.isArray(values)
    ? (values.length > 1 ? 'one of ' : '') + values.map(shown).join(', ')
    : 'an allowed value';
}

/** `/fusion/weights/0` → `fusion.weights[0]`. */
function fieldOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : join(path, part)), '');
}

function join(parent: string, name: string): string {
  return parent === '' ? name : `${parent}.${name}`;
}
