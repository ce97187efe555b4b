import type { NodeUuid } from '../../../src/kernel/peer.js';
import { majorityOf } from './observation.js';
import type { Acknowledgement, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** S1, S8: when it is said, the asked number of members of the set have it on disk; learners and others count nowhere. */
export function checkAcknowledgement(ack: Acknowledgement): readonly Violation[] {
  const { operation, set, holders, level, lost = [] } = ack;
  const counted = set.filter((member) => holders.includes(member) || lost.includes(member)).length;
  const needed = level === 'one' ? 1 : level === 'quorum' ? majorityOf(set.length) : set.length;
  const said = `write ${operation.index} of ${operation.document} was acknowledged at ${level}`;
  const violations: Violation[] = [];
  if (ack.afterFailure) violations.push({ rule: 'S1', detail: `${said} by a node whose disk had failed` });
  if (counted < needed)
    violations.push({
      rule: holders.length >= needed ? 'S8' : 'S1',
      detail: `${said} with ${counted} of ${needed} durable copies in a set of ${set.length} (${holders.length} hold it)`,
    });
  if (!set.includes(ack.nodeUuid)) violations.push({ rule: 'S8', detail: `${said} by a node that is not in the set` });
  if (ack.strict && level === 'one') violations.push({ rule: 'S5', detail: `${said} alone, in a strict shard` });
  return violations;
}

/**
 * S1, at the end: an acknowledged write is there, or a higher version is, in every copy of the set; unless the disks its
 * level stood on were destroyed (available: all that had it; strict: a majority of the set).
 */
export function checkSurvival(
  acks: readonly Acknowledgement[],
  copies: readonly ObservedCopy[],
  destroyed: ReadonlySet<NodeUuid>,
): readonly Violation[] {
  const violations: Violation[] = [];
  const best = new Map<string, Acknowledgement>();
  for (const ack of acks) {
    if (ack.strict) {
      if (ack.set.filter((member) => destroyed.has(member)).length < majorityOf(ack.set.length))
        violations.push(...checkEntry(ack, copies));
      continue;
    }
    if (ack.holders.every((holder) => destroyed.has(holder))) continue;
    const key = `${ack.operation.shard}|${ack.operation.document}`;
    const other = best.get(key);
    if (other === undefined || ack.version > other.version) best.set(key, ack);
  }
  for (const ack of best.values()) violations.push(...checkRow(ack, copies));
  return violations;
}

/** Strict: the very entry is where it was, in every log. */
function checkEntry(ack: Acknowledgement, copies: readonly ObservedCopy[]): readonly Violation[] {
  const { shard, index } = ack.operation;
  return copies
    .filter((copy) => copy.shard === shard && copy.start < ack.offset && copy.entries.get(ack.offset) !== ack.version)
    .map((copy) => ({
      rule: 'S1',
      detail: `write ${index} in strict shard ${shard}, acknowledged at offset ${ack.offset} with version ${ack.version}, is not there on ${copy.host}, which has ${copy.entries.get(ack.offset) ?? 'nothing'}`,
    }));
}

/** Available: the document has that version or a higher one. */
function checkRow(ack: Acknowledgement, copies: readonly ObservedCopy[]): readonly Violation[] {
  const violations: Violation[] = [];
  const { shard, document, index, kind } = ack.operation;
  for (const copy of copies) {
    if (copy.shard !== shard) continue;
    const row = copy.documents.find((candidate) => candidate.document === document);
    if (row !== undefined && row.version >= ack.version) continue;
    violations.push({
      rule: row !== undefined && kind === 'DELETE' && !row.tombstone ? 'S2' : 'S1',
      detail: `write ${index} of ${document} in shard ${shard}, acknowledged at ${ack.level} by ${ack.nodeUuid.slice(0, 6)} with version ${ack.version}, is lost on ${copy.host}, which has ${row?.version ?? 'no row'}`,
    });
  }
  return violations;
}
