import { NodeProcess, type StartOptions } from './node-process.js';

/**
 * Starts a real node (`node dist/main.js`; build first) on a fresh data directory and free ports, and resolves when it
 * is ready. Rejects with the end of its output when it ends before that.
 *
 *     await using node = await startNode({ env: { SPECTOR_SHARD_COUNT: '4' } });
 */
export function startNode(options: StartOptions = {}): Promise<NodeProcess> {
  return NodeProcess.start(options);
}
