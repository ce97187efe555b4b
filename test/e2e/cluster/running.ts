import type { NodeProcess } from './node-process.js';

/** Every node that was started and not disposed of. */
export const running = new Set<NodeProcess>();

/** For `afterAll`: kills what is left and throws, naming it, when a test forgot a node. */
export async function expectNoNodeLeft(): Promise<void> {
  const left = [...running];
  for (const node of left) await node.dispose();
  if (left.length > 0)
    throw new Error(`nodes were left running: ${left.map((node) => `${node.nodeId} (${node.directory})`).join(', ')}`);
}
