import { existsSync } from 'node:fs';
import { afterAll, describe, expect, it, jest } from '@jest/globals';
import { NodeStartError } from '../../../src/cli/processes/node-process.js';
import { http } from './http.js';
import { expectNoNodeLeft } from './running.js';
import { startNode } from './start-node.js';
import { waitFor } from './wait-for.js';

/** Milliseconds: nodes start and stop several times, on a machine that may be busy. */
jest.setTimeout(120_000);
afterAll(expectNoNodeLeft);

describe('a spawned node', () => {
  it('keeps its documents and its ports over a crash, and leaves nothing behind', async () => {
    const node = await startNode({ env: { SPECTOR_SHARD_COUNT: '1' } });
    const { httpPort, pid, directory } = node;
    await node.client().ingest({ id: 'a', title: 'kept' });
    expect(await node.stop()).toEqual({ code: null, signal: 'SIGKILL' });
    await node.restart();
    expect(node.httpPort).toBe(httpPort);
    expect(node.pid).not.toBe(pid);
    expect(await node.client().get('a')).toMatchObject({ id: 'a', title: 'kept' });
    const { status, json, headers } = await http(node.url, '/api/v1/status');
    expect({ status, json }).toMatchObject({ status: 200, json: { status: 'RUNNING', shardCount: 1 } });
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(await node.stop('SIGTERM')).toEqual({ code: 0, signal: null });
    await node.dispose();
    expect(existsSync(directory)).toBe(false);
  });

  it('that does not come up says why', async () => {
    const error: unknown = await startNode({ args: ['--shard-count', 'many'] }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(NodeStartError);
    expect(error).toMatchObject({ exit: { code: 78, signal: null }, message: expect.stringContaining('shard') });
  });

  it('that ends by itself is noticed', async () => {
    const node = await startNode();
    process.kill(node.pid, 'SIGKILL');
    await node.exited;
    await expect(node.dispose()).rejects.toThrow(/ended by itself \(SIGKILL\)/);
  });
});

describe('waitFor', () => {
  it('shows the state of all nodes when time runs out', async () => {
    const node = await startNode({ nodeId: 'shown' });
    await expect(waitFor('what never comes', () => false, 50)).rejects.toThrow(
      /for what never comes; last: false\n--- shown http:.*\n\/readyz: 200 .*\n\/api\/v1\/status: 200/,
    );
    await node.dispose();
  });
});
