import type { Observation } from './observation.js';
import type { Violation } from './violation.js';

/** S13: nothing that waits is longer than its bound. */
export function checkQueues({ copies }: Observation): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { host, shard, inspection } of copies) {
    for (const { name, size, bound } of inspection?.queues ?? []) {
      if (size > bound)
        violations.push({ rule: 'S13', detail: `shard ${shard} on ${host}: ${size} wait in ${name}, bound ${bound}` });
    }
  }
  return violations;
}
