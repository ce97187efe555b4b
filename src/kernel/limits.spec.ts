import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { LIMITS } from './limits.js';

const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2 };
/** What only nodes send each other. */
const BETWEEN_NODES = ['peerMessageBytesMax', 'replicaBatchBytesMax'];

describe('the limits', () => {
  it('that a client can meet are those of docs/operations.md, with what to do', () => {
    const document = readFileSync('docs/operations.md', 'utf8');
    const rows = [
      ...document.matchAll(/^\|\s*(\w+Max)\s*\|\s*([\d ]*\d)(?: (\w+))?\s*\|\s*\S.*?\|\s*(.*?)\s*\|$/gm),
    ].map(([, name, number, unit, todo]) => ({
      name,
      limit: Number(number.replaceAll(' ', '')) * (UNITS[unit] ?? 1),
      says: name === 'shardsMax' || todo !== '',
    }));
    const told = Object.entries(LIMITS).filter(([name]) => !BETWEEN_NODES.includes(name));
    const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);
    expect(rows.sort(byName)).toEqual(told.map(([name, limit]) => ({ name, limit, says: true })).sort(byName));
  });
});
