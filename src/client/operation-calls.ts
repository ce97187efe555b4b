import type { Transport } from './transport.js';
import type { CallOptions } from './types/calls.js';
import type { Operation, OperationAccepted } from './types/cluster.js';

/** `client.operations`: the long-running changes of the cluster. */
export class OperationCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** How far an operation is; 404 OPERATION_NOT_FOUND when it ended long ago. */
  async get(id: string, options: CallOptions = {}): Promise<Operation> {
    return (await this.#transport.request({ ...options, method: 'GET', path: path(id), repeatable: true }))
      .json as Operation;
  }

  /** Takes an operation back; what has moved stays where it is. */
  async abort(id: string, options: CallOptions = {}): Promise<void> {
    await this.#transport.request({ ...options, method: 'DELETE', path: path(id), repeatable: true });
  }
}

function path(id: string): string {
  return `/api/v1/cluster/operations/${encodeURIComponent(id)}`;
}

/** `client.shards`: how many shards there are, and who leads them. */
export class ShardCalls {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Changes the shard count while the cluster works; 409 OPERATION_CONFLICT from nodes that cannot yet. */
  async reshard(shardCount: number, options: CallOptions = {}): Promise<OperationAccepted> {
    return accepted(this.#transport, 'POST', '/api/v1/cluster/shards', { shardCount }, options);
  }

  /** Makes `node` the primary of a shard it has a copy of. */
  async movePrimary(shard: number, node: string, options: CallOptions = {}): Promise<OperationAccepted> {
    return accepted(this.#transport, 'POST', `/api/v1/cluster/shards/${shard}/primary`, { node }, options);
  }

  /**
   * When every disk of a shard's set is gone: goes on from the copy `node` has or, `empty`, without documents. What only
   * the lost disks had is gone unless one of them comes back. 409 OPERATION_CONFLICT while a copy of the set answers.
   */
  async force(
    shard: number,
    node: string,
    { empty = false, ...options }: CallOptions & { readonly empty?: boolean } = {},
  ): Promise<OperationAccepted> {
    const body = { node, empty, acceptDataLoss: true };
    return accepted(this.#transport, 'POST', `/api/v1/cluster/shards/${shard}/force`, body, options);
  }
}

/** Asks for an operation. Not repeated when a connection broke midway: it may have begun. */
export async function accepted(
  transport: Transport,
  method: 'POST' | 'DELETE',
  operationPath: string,
  body: object | undefined,
  options: CallOptions,
): Promise<OperationAccepted> {
  const content = body === undefined ? {} : { body: { type: 'application/json', content: JSON.stringify(body) } };
  return (await transport.request({ ...options, method, path: operationPath, ...content, repeatable: false }))
    .json as OperationAccepted;
}
