import { createHmac, timingSafeEqual } from 'node:crypto';
import type { PeerIdentity } from './peer-identity.js';

/** A proof is accepted this long before and after the time it names: clocks differ. */
export const PROOF_WINDOW_MS = 60_000;

/** What a proof vouches for. The secret itself never travels. */
export interface PeerClaim extends PeerIdentity {
  /** Path of the called method. */
  readonly method: string;
  /** Node id of the callee; '' when the caller does not know it. */
  readonly to: string;
  /** The caller's wall clock, decimal milliseconds. */
  readonly time: string;
  readonly nonce: string;
}

/** HMAC-SHA256 over the claim, hex. None of the parts can hold a line feed: they come out of metadata. */
export function proofOf(secret: string, claim: PeerClaim): string {
  const { method, nodeId, nodeUuid, clusterId, to, time, nonce } = claim;
  return createHmac('sha256', secret)
    .update(['spector peer 1', method, nodeId, nodeUuid, clusterId, to, time, nonce].join('\n'))
    .digest('hex');
}

/** Compares in constant time. */
export function isProof(secret: string, claim: PeerClaim, given: string): boolean {
  const expected = Buffer.from(proofOf(secret, claim));
  const bytes = Buffer.from(given);
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}

/** Nonces kept per node, and nodes. A node that is talked to more often has a shorter memory, never a weaker one. */
const NONCES_MAX = 16_384;
const NODES_MAX = 256;

interface NodeNonces {
  /** In the order in which they came. */
  readonly times: Map<string, number>;
  /** Anything as old as a nonce that had to be forgotten is refused: it could be that one. */
  horizonMs: number;
}

/**
 * Remembers the nonces of proofs that may still be in their window, so that each is accepted once. Only proofs that hold
 * are shown to it: strangers cannot fill it.
 */
export class ReplayGuard {
  readonly #nodes = new Map<string, NodeNonces>();

  /** True when this proof was not seen before; then it is remembered. */
  accept(nodeUuid: string, nonce: string, timeMs: number, nowMs: number): boolean {
    const node = this.#of(nodeUuid, nowMs);
    if (node === undefined || timeMs <= node.horizonMs || node.times.has(nonce)) return false;
    for (const [old, oldMs] of node.times) {
      const full = node.times.size >= NONCES_MAX;
      if (!full && nowMs - oldMs <= PROOF_WINDOW_MS) break;
      node.times.delete(old);
      if (full) node.horizonMs = Math.max(node.horizonMs, oldMs);
    }
    node.times.set(nonce, timeMs);
    return true;
  }

  #of(nodeUuid: string, nowMs: number): NodeNonces | undefined {
    let node = this.#nodes.get(nodeUuid);
    if (node === undefined) {
      if (this.#nodes.size >= NODES_MAX) this.#forgetSilent(nowMs);
      if (this.#nodes.size >= NODES_MAX) return undefined;
      node = { times: new Map(), horizonMs: 0 };
      this.#nodes.set(nodeUuid, node);
    }
    return node;
  }

  /** Drops nodes none of whose proofs is still in its window. */
  #forgetSilent(nowMs: number): void {
    for (const [uuid, { times, horizonMs }] of this.#nodes) {
      const newestMs = Math.max(horizonMs, ...[...times.values()].slice(-1));
      if (nowMs - newestMs > 2 * PROOF_WINDOW_MS) this.#nodes.delete(uuid);
    }
  }
}
