import type { NodeUuid } from '../../kernel/peer.js';
import type { NodeRecord } from './core/node-record.js';

export type Registration =
  | { readonly kind: 'joined' }
  /** The map cannot change now (no majority, no primary yet): ask again. */
  | { readonly kind: 'later'; readonly detail: string }
  | { readonly kind: 'refused'; readonly detail: string };

/** What membership asks of whoever keeps the map and the data directory; replication provides it. */
export interface ClusterRegistry {
  /** Makes a cluster of this node alone; resolves with its id when that is durable. */
  create(): Promise<string>;
  /** This data directory belongs to that cluster from now on; resolves when that is durable. */
  adopt(clusterId: string): Promise<void>;
  /** Drops the provisional cluster with all it holds, which is no document; resolves when the directory is empty again. */
  surrender(): Promise<void>;
  /**
   * Enters a node into the map, or its new address. `replaces` is a node of the same name that answers no more: it is
   * taken out in the same change. Refused when the name belongs to yet another one.
   */
  register(record: NodeRecord, replaces: NodeUuid | undefined): Promise<Registration>;
  /** Of the cluster of this node: see Introduction. */
  standing(): { readonly provisional: boolean; readonly bootstrappedMs: number };
}
