/**
 * A broken invariant: a programmer error. It stops the process (exit 1); what a copy of a shard does in the background fails
 * that copy alone, until the node is started again.
 */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Checks an invariant; `detail` says what was expected. */
export function assert(condition: unknown, detail: string): asserts condition {
  if (!condition) throw new InvariantError(detail);
}

/** Proves a union was handled whole. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`);
}
