import { compareEpochs } from '../../../src/kernel/epoch.js';
import { sameEpoch } from '../../../src/kernel/epoch.js';
import { epochText } from './observation.js';
import type { Observation, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** In sync means: applied up to the high-water mark of so long ago, and heard since (replication 7.1), with some slack for sampling. */
const LAG_MS = 2_000 + 1_000 + 500;

interface Sample {
  readonly atMs: number;
  readonly highWaterMark: number;
}

/** S9: what a primary publishes as in sync is; and what calls itself in sync is. */
export class InSync {
  readonly #samples = new Map<string, Sample[]>();
  /** Since when each process runs. */
  readonly #upSince = new Map<string, number>();

  see({ atMs, copies }: Observation): readonly Violation[] {
    const violations: Violation[] = [];
    for (const copy of copies) {
      const key = `${copy.shard}|${copy.nodeUuid}`;
      if (!copy.up) this.#upSince.delete(key);
      else if (!this.#upSince.has(key)) this.#upSince.set(key, atMs);
    }
    for (const primary of copies) {
      const { inspection, shard } = primary;
      if (!primary.up || !primary.awake || inspection?.role !== 'primary') continue;
      if (copies.some((other) => reignsAbove(other, primary))) continue;
      const key = `${shard}|${primary.nodeUuid}|${inspection.epoch.num}`;
      const samples = this.#samples.get(key) ?? [];
      this.#samples.set(key, samples);
      samples.push({ atMs, highWaterMark: inspection.highWaterMark });
      while (samples.length > 1 && samples[1].atMs <= atMs - LAG_MS) samples.shift();
      const [then] = samples;
      if (then.atMs > atMs - LAG_MS) continue;
      for (const member of copies) {
        if (member.shard !== shard || member.nodeUuid === primary.nodeUuid) continue;
        const claimed = inspection.inSync.includes(member.nodeUuid) ? 'its primary' : itself(member, primary);
        if (claimed === undefined) continue;
        const applied = member.inspection?.applied ?? 0;
        const late = member.inspection !== undefined && applied < then.highWaterMark;
        const gone = !member.up || (!member.awake && claimed === 'its primary');
        const downSince = this.#upSince.get(`${shard}|${member.nodeUuid}`);
        if (!late && !gone) continue;
        if (downSince !== undefined && atMs - downSince < LAG_MS) continue;
        violations.push({
          rule: 'S9',
          detail: `shard ${shard}: ${member.host} is in sync by ${claimed}, but ${gone ? 'is not there' : `applied ${applied} of ${then.highWaterMark}`}, in epoch ${epochText(inspection.epoch)}`,
        });
      }
    }
    return violations;
  }
}

function reignsAbove(other: ObservedCopy, primary: ObservedCopy): boolean {
  return (
    other.shard === primary.shard &&
    other.inspection?.role === 'primary' &&
    primary.inspection !== undefined &&
    compareEpochs(other.inspection.epoch, primary.inspection.epoch) > 0
  );
}

function itself(member: ObservedCopy, primary: ObservedCopy): 'itself' | undefined {
  const { inspection } = member;
  if (!member.up || !member.awake || inspection?.selfInSync !== true || primary.inspection === undefined)
    return undefined;
  return sameEpoch(inspection.epoch, primary.inspection.epoch) ? 'itself' : undefined;
}
