import { StaticNode } from './reference/static-node.js';
import type { NodeFactory } from './world/node.js';

/** What the simulator runs. */
export interface Subject {
  readonly factory: NodeFactory;
  /** It elects primaries and heals: the faults may be any. */
  readonly failsOver: boolean;
}

export const SUBJECTS: Readonly<Record<string, Subject>> = {
  static: { factory: (ports) => new StaticNode(ports), failsOver: false },
};
export const DEFAULT_SUBJECT = 'static';
