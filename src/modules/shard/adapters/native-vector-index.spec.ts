import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compiledAddon } from '../../../../test/contract/native-addon.js';
import { Clusters, shapeOf } from '../../../../test/contract/vector-index.suite.js';

const DIMENSIONS = 8;
const VECTORS = 300;

/** What graph.h writes before the links of nodes that are on higher layers. */
const HEADER = { bytes: 64, entry: 20, top: 24, upper: 48 };
const NODE_BYTES = 4 + 1 + 4;

const addon = compiledAddon();

describe('a file of the native graph', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'native-graph-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it.each<readonly [string, (file: DataView, upperAt: number, groundAt: number) => void]>([
    ['an entry that is no node', (file) => file.setUint32(HEADER.entry, VECTORS, true)],
    ['a top the entry is not on', (file) => file.setUint32(HEADER.top, 30, true)],
    ['a link on a higher layer that leads nowhere', (file, upperAt) => file.setUint32(upperAt, VECTORS, true)],
    ['a link on the ground that leads nowhere', (file, _, groundAt) => file.setUint32(groundAt, 0x7fff_ffff, true)],
  ])('is refused with %s', async (_, harm) => {
    const shape = shapeOf(DIMENSIONS);
    const clusters = new Clusters(3, DIMENSIONS, 5);
    const graph = addon.create(shape, 0);
    for (let label = 0; label < VECTORS; label++) graph.add(label, clusters.next(), 1);
    const path = join(directory, 'graph');
    await graph.save(path);
    graph.dispose();
    const bytes = await readFile(path);
    const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const upperAt = HEADER.bytes + NODE_BYTES * VECTORS + 4 * Math.ceil(VECTORS / 32);
    harm(file, upperAt, upperAt + 4 * Number(file.getBigUint64(HEADER.upper, true)));
    const harmed = join(directory, 'harmed');
    await writeFile(harmed, bytes);
    addon.load(shape, path, VECTORS, 0).dispose();
    expect(() => addon.load(shape, harmed, VECTORS, 0)).toThrow('links that lead nowhere');
  });
});
