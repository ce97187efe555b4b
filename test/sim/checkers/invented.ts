import type { Operation, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** S2: every row is what somebody asked for: that operation, on that document, with that payload. */
export function checkInvented(copies: readonly ObservedCopy[], operations: readonly Operation[]): readonly Violation[] {
  const byOpId = new Map(operations.map((operation) => [operation.opId, operation]));
  const violations: Violation[] = [];
  for (const { host, shard, documents } of copies) {
    for (const { document, version, tombstone, payload } of documents) {
      const operation = byOpId.get(version.slice(16));
      const what = `shard ${shard} on ${host} has ${document} at ${version}`;
      if (operation === undefined) violations.push({ rule: 'S2', detail: `${what}, which nobody wrote` });
      else if (operation.document !== document || operation.shard !== shard)
        violations.push({
          rule: 'S2',
          detail: `${what}, which was written to ${operation.document} of shard ${operation.shard}`,
        });
      else if ((operation.kind === 'DELETE') !== tombstone)
        violations.push({
          rule: 'S2',
          detail: `${what} as ${tombstone ? 'deleted' : 'live'}, but it was ${operation.kind}`,
        });
      else if (payload !== undefined && payload !== operation.payload)
        violations.push({ rule: 'S2', detail: `${what} with another payload than was written` });
    }
  }
  return violations;
}
