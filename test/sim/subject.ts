import { StaticNode } from './reference/static-node.js';
import { ReplicatedNode } from './world/replicated-node.js';
import type { NodeFactory } from './world/node.js';

/** What the simulator can run, by name. */
export const SUBJECTS: Readonly<Record<string, NodeFactory>> = {
  /** Production's replication and membership. */
  replicated: (ports) => new ReplicatedNode(ports),
  /** The reference that never fails over. */
  static: (ports) => new StaticNode(ports),
};

export const DEFAULT_SUBJECT = 'replicated';
