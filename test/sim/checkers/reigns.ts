import { toHex } from '../../../src/kernel/bytes.js';
import { compareEpochs } from '../../../src/kernel/epoch.js';
import { epochText } from './observation.js';
import type { Acknowledgement, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** A primary that the map takes out of its set gives way when that is agreed. */
const OUTSIDE_MS = 3_000;

/** S4, S8: who reigns over what, over a whole run: an epoch belongs to one start of one node. */
export class Reigns {
  readonly #owners = new Map<string, string>();
  readonly #promises = new Map<string, ObservedCopy>();
  /** Since when a primary has not been of its set. */
  readonly #outside = new Map<string, number>();

  /** @param start names one start of the copy's process */
  see(copy: ObservedCopy, start: string, atMs: number): readonly Violation[] {
    const { inspection, shard, nodeUuid } = copy;
    if (inspection === undefined) return [];
    const violations: Violation[] = [];
    const where = `shard ${shard} on ${copy.host}`;
    if (inspection.role === 'primary') {
      const epoch = `${shard}|${inspection.epoch.num}|${toHex(inspection.epoch.uuid)}`;
      const owner = this.#owners.get(epoch);
      this.#owners.set(epoch, owner ?? start);
      if (owner !== undefined && owner !== start)
        violations.push({
          rule: 'S4',
          detail: `${where}: ${start} reigns in epoch ${epochText(inspection.epoch)}, which was ${owner}'s`,
        });
      if (toHex(inspection.epoch.uuid) !== nodeUuid)
        violations.push({ rule: 'S4', detail: `${where}: reigns in an epoch of another node` });
      if (inspection.faulted) violations.push({ rule: 'S8', detail: `${where}: reigns over a faulted copy` });
      if (inspection.set.members.includes(nodeUuid)) this.#outside.delete(`${epoch}|${nodeUuid}`);
      else if (this.#isOutsideFor(`${epoch}|${nodeUuid}`, atMs) > OUTSIDE_MS)
        violations.push({ rule: 'S8', detail: `${where}: reigns without being in the set` });
    }
    const key = `${nodeUuid}|${shard}`;
    const before = this.#promises.get(key)?.inspection;
    if (before !== undefined && compareEpochs(inspection.promised, before.promised) < 0)
      violations.push({
        rule: 'S4',
        detail: `${where}: the promise fell from ${epochText(before.promised)} to ${epochText(inspection.promised)}`,
      });
    this.#promises.set(key, copy);
    return violations;
  }

  #isOutsideFor(key: string, atMs: number): number {
    const since = this.#outside.get(key) ?? atMs;
    this.#outside.set(key, since);
    return atMs - since;
  }
}

/** S5: in a strict shard writes are exact: the log follows the order of time, and reigns that acknowledge do not overlap. */
export function checkStrictOrder(acks: readonly Acknowledgement[]): readonly Violation[] {
  const violations: Violation[] = [];
  const strict = acks.filter((ack) => ack.strict);
  for (const [at, ack] of strict.entries()) {
    for (const earlier of strict.slice(0, at)) {
      if (earlier.operation.shard !== ack.operation.shard) continue;
      if (earlier.atMs < ack.askedMs && compareEpochs(ack.reign, earlier.reign) < 0)
        violations.push({
          rule: 'S5',
          detail: `shard ${ack.operation.shard}: epoch ${epochText(ack.reign)} acknowledged write ${ack.operation.index}, asked after ${epochText(earlier.reign)} had acknowledged ${earlier.operation.index}`,
        });
      if (earlier.operation === ack.operation) {
        // Changes of the map carry no key: each attempt is judged by the map anew.
        if (earlier.version !== ack.version && ack.operation.kind !== 'MAP')
          violations.push({ rule: 'S5', detail: `write ${ack.operation.index} was executed twice in a strict shard` });
        continue;
      }
      if (earlier.operation.document !== ack.operation.document) continue;
      if (earlier.atMs < ack.operation.invokedMs && ack.offset <= earlier.offset)
        violations.push({
          rule: 'S5',
          detail: `${ack.operation.document}: write ${ack.operation.index} came after ${earlier.operation.index} was acknowledged and stands before it in the log`,
        });
      if (ack.operation.expected !== undefined && ack.operation.expected === earlier.operation.expected)
        violations.push({
          rule: 'S5',
          detail: `${ack.operation.document}: writes ${earlier.operation.index} and ${ack.operation.index} both replaced version ${ack.operation.expected}`,
        });
    }
  }
  return violations;
}
