import { NodeError } from '../../../kernel/errors.js';
import type { ApiKey } from '../../../platform/config/node-config.js';
import type { Scope } from './api-keys.js';
import { ApiKeys } from './api-keys.js';

/** What the gate must know of the node's state; Readiness has it. */
export interface ReadinessState {
  readonly ready: boolean;
  readonly stopping: boolean;
  onChange(listener: () => void): () => void;
}

/** What a call asks of the gate. */
export interface GatedCall {
  readonly scope: Scope;
  /** True for calls that answer in every state of the node: status, health, metrics, docs. */
  readonly always: boolean;
}

/**
 * Who may pass, checked before a body is read: data calls wait for the node to have been ready once (STARTING) and are
 * refused while it stops (DRAINING); then the API key. A node that stops being ready while it runs keeps serving:
 * the coordinator knows better what of it still works.
 */
export class RequestGate {
  private readonly keys: ApiKeys;
  private state: 'starting' | 'running' | 'stopping' = 'starting';

  constructor(apiKeys: readonly ApiKey[]) {
    this.keys = new ApiKeys(apiKeys);
  }

  /** Follows the node's readiness from now on. */
  follow(readiness: ReadinessState): void {
    const update = () => {
      if (readiness.stopping) this.state = 'stopping';
      else if (readiness.ready) this.state = 'running';
    };
    update();
    readiness.onChange(update);
  }

  /** Why the call is refused, or undefined. */
  refusal(call: GatedCall, secret: string | undefined): NodeError | undefined {
    const unauthorized = this.keys.refusal(secret, call.scope);
    if (unauthorized !== undefined || call.always || this.state === 'running') return unauthorized;
    return this.state === 'starting'
      ? new NodeError('STARTING', 'the node is starting: /readyz says what it waits for', { retryAfterMs: 1_000 })
      : new NodeError('DRAINING', 'the node is shutting down: ask another one', { retryAfterMs: 1_000 });
  }
}
