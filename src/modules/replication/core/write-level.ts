import type { ClusterMap } from '../../ring/core/map.js';
import type { AckLevel } from './write.js';

/** The consistency a client asked for, made a number of copies (replication 2.8). */
export function levelOf(asked: 'auto' | AckLevel, { settings, nodes }: ClusterMap): AckLevel {
  const wanted = asked === 'auto' ? settings.writeConsistency : asked;
  const strict = settings.partitionMode === 'strict';
  if (wanted === 'auto') return strict || setSize(settings.replicaCount, nodes.length) >= 3 ? 'quorum' : 'one';
  return wanted === 'one' && strict ? 'quorum' : wanted;
}

/** Members of a shard's set: as many as asked for, as many as there are. */
function setSize(replicaCount: number, nodes: number): number {
  return Math.max(1, Math.min(1 + replicaCount, nodes));
}

/** Durable copies of a set of `setSize` that a level asks for (2.8). */
export function copiesNeeded(level: AckLevel, setSize: number): number {
  switch (level) {
    case 'one':
      return 1;
    case 'quorum':
      return Math.floor(setSize / 2) + 1;
    case 'all':
      return setSize;
  }
}
