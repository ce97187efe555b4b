/** Runs a node in this process with its own flags. Loaded only then: no other command needs the node. */
export async function serve(flags: readonly string[]): Promise<void> {
  const { runNode } = await import('../run-node.js');
  await runNode(flags);
}
