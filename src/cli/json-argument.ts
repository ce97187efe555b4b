import { readFile } from 'node:fs/promises';
import type { Filter } from '../client/index.js';
import { UsageError } from './usage-error.js';

/** The JSON an option gives: as text, or, after `@`, in a file. Throws UsageError naming the option. */
export async function jsonArgument(option: string, text: string): Promise<unknown> {
  let source = text;
  if (text.startsWith('@')) {
    try {
      source = await readFile(text.slice(1), 'utf8');
    } catch (cause) {
      throw new UsageError(
        `${option}: cannot read ${text.slice(1)}: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
  }
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new UsageError(
      `${option} takes JSON, or @file with JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** A filter; the node checks its clauses. */
export async function filterArgument(text: string | undefined): Promise<Filter | undefined> {
  if (text === undefined) return undefined;
  const value = await jsonArgument('--filter', text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError('--filter takes an object, e.g. {"must":[{"key":"pos","match":{"value":"noun"}}]}');
  }
  return value;
}

/** A vector: a JSON list of numbers, or an object that has one as `vector` (a document). */
export async function vectorArgument(text: string): Promise<readonly number[]> {
  const value = await jsonArgument('--vector', text);
  const list: unknown = typeof value === 'object' && value !== null && 'vector' in value ? value.vector : value;
  if (!Array.isArray(list) || list.length === 0 || !list.every((item) => typeof item === 'number')) {
    throw new UsageError('--vector takes a list of numbers, e.g. [0.1, 0.2], or @file with one');
  }
  return list;
}
