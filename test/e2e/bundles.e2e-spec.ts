import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { describe, expect, it } from '@jest/globals';
import { withNode } from './support/node.js';

const DIST = new URL('../../dist/', import.meta.url);
const BUNDLES = ['run-node.js', 'modules/shard/adapters/index-worker.js'];
/** Found by name from the bundle, in node_modules. */
const APART = ['@grpc/grpc-js', 'classic-level', 'hnswlib-node'];

describe('what a node starts with', () => {
  it.each(BUNDLES)('is all in %s, but for packages that stay apart', async (name) => {
    const text = await readFile(new URL(name, DIST), 'utf8');
    const imported = [...text.matchAll(/^import [^;]*?from "([^"]+)"/gm)].map(([, from]) => from);
    expect(imported).not.toEqual([]);
    expect(imported.filter((from) => !isBuiltin(from) && !APART.includes(from))).toEqual([]);
  });

  it.each(BUNDLES)('finds from %s what its modules found beside themselves', async (name) => {
    const text = await readFile(new URL(name, DIST), 'utf8');
    const places = [...text.matchAll(/new URL\("(\.[^"]+)", import\.meta\.url\)/g)].map(([, place]) => place);
    expect(places).toContainEqual(expect.stringMatching(/native-vector-index\.js$/));
    expect(places.filter((place) => !existsSync(new URL(place, new URL(name, DIST))))).toEqual([]);
  });

  it('makes its graphs by the addon, where there is one', async () => {
    await withNode({}, async ({ rest }) => {
      const graph = existsSync(new URL('native/vector-graph.node', DIST)) ? 'native' : 'hnswlib';
      expect((await rest.get('/metrics')).text).toContain(`spector_vector_graph{graph="${graph}"} 1`);
    });
  });
});
