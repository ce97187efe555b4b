import { isUtf8 } from 'node:buffer';
import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';
import { jsonFault } from '../core/json-fault.js';
import type { JsonScanProblem } from '../core/json-scan.js';
import { JSON_KEYS_MAX, JSON_VALUES_MAX, scanJson, VectorMember } from '../core/json-scan.js';
import { shown } from '../core/shown.js';

/**
 * Parses JSON that came from outside: what could hold the event loop or reach a prototype is refused on the raw bytes,
 * before a parser sees it. A byte order mark is skipped. The member `vector` of an object is a Float32Array already when
 * it is an array of float32 numbers; anything else there is left as JSON has it.
 * @param what the text is called in errors, e.g. `the body`
 * @throws NodeError INVALID_REQUEST with the position of the fault, or LIMIT_EXCEEDED
 */
export function parseJson(bytes: Buffer, what: string): unknown {
  if (!isUtf8(bytes)) throw new NodeError('INVALID_REQUEST', `${what} is not valid UTF-8`);
  const member = new VectorMember();
  const problem = scanJson(bytes, 0, bytes.length, member);
  if (problem !== undefined) throw scanError(problem, what);
  return (member.vector === undefined ? undefined : withVector(bytes, member, member.vector)) ?? parsed(bytes, what);
}

function parsed(bytes: Buffer, what: string): unknown {
  const text = bytes.toString('utf8', hasByteOrderMark(bytes) ? 3 : 0);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NodeError('INVALID_REQUEST', `${what} is not valid JSON: ${faultSentence(text)}`, { cause: error });
  }
}

/** The object without its vector's text, and the vector put in; undefined when the rest is not JSON. */
function withVector(bytes: Buffer, { from, to }: VectorMember, vector: Float32Array): object | undefined {
  const before = bytes.toString('utf8', hasByteOrderMark(bytes) ? 3 : 0, from);
  try {
    const value = JSON.parse(`${before}null${bytes.toString('utf8', to)}`) as { vector: unknown };
    value.vector = vector;
    return value;
  } catch {
    // Parsed as a whole it tells where the fault is.
    return undefined;
  }
}

/** The error of what a scan found. */
export function scanError(problem: JsonScanProblem, what: string): NodeError {
  switch (problem.kind) {
    case 'depth':
      return new NodeError('LIMIT_EXCEEDED', `${what} is nested deeper than ${LIMITS.jsonDepthMax} levels`);
    case 'keys':
      return new NodeError('LIMIT_EXCEEDED', `${what} holds more than ${JSON_KEYS_MAX} object keys`);
    case 'values':
      return new NodeError('LIMIT_EXCEEDED', `${what} holds more than ${JSON_VALUES_MAX} values`);
    case 'forbidden-key':
      return new NodeError(
        'INVALID_REQUEST',
        `${what} holds the key \`${problem.key}\`, which is not allowed anywhere: rename it`,
      );
  }
}

/** Where a text stops being JSON, in words. */
export function faultSentence(text: string): string {
  const { position, expected } = jsonFault(text);
  const before = text.slice(Math.max(0, position - LINES_LOOKED_AT), position);
  const column = before.length - before.lastIndexOf('\n');
  const line = position > LINES_LOOKED_AT ? '' : `line ${before.split('\n').length}, column ${column}, `;
  const found = position >= text.length ? 'it ends there' : `not ${shown(text[position])}`;
  return `at ${line}position ${position} ${expected} is expected, ${found}`;
}

/** Lines are counted this far; later faults are placed by position alone. */
const LINES_LOOKED_AT = 64 * 1024;

function hasByteOrderMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}
