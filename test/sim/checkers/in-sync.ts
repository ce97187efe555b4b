import { compareEpochs, NO_EPOCH, sameEpoch } from '../../../src/kernel/epoch.js';
import { epochText } from './observation.js';
import type { Observation, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/**
 * In sync means: applied up to the high-water mark of 2 s ago, heard 2 s and an interval ago (replication 7.1). What was
 * agreed just before a path closed is known to nobody behind it; and samples are taken now and then.
 */
const IN_SYNC_MS = 2_000;
const SLACK_MS = 1_000;

interface Sample {
  readonly atMs: number;
  readonly highWaterMark: number;
}

/** S9: what a primary publishes as in sync is; and what calls itself in sync is. */
export class InSync {
  readonly #lagMs: number;
  readonly #samples = new Map<string, Sample[]>();
  /** Since when a copy is there and answering, or is not. */
  readonly #since = new Map<string, { readonly there: boolean; readonly ms: number }>();

  constructor(heartbeatMs: number) {
    this.#lagMs = IN_SYNC_MS + heartbeatMs + SLACK_MS;
  }

  see(observation: Observation): readonly Violation[] {
    const { atMs, copies } = observation;
    for (const copy of copies) {
      const key = `${copy.shard}|${copy.nodeUuid}`;
      const there = copy.up;
      if (this.#since.get(key)?.there !== there) this.#since.set(key, { there, ms: atMs });
    }
    return copies.flatMap((copy) => this.#judge(copy, observation));
  }

  #judge(primary: ObservedCopy, { atMs, copies }: Observation): readonly Violation[] {
    const { inspection, shard } = primary;
    if (!primary.up || !primary.awake || inspection?.role !== 'primary') return [];
    if (copies.some((other) => reignsAbove(other, primary))) return [];
    const key = `${shard}|${primary.nodeUuid}|${inspection.epoch.num}`;
    const samples = this.#samples.get(key) ?? [];
    this.#samples.set(key, samples);
    samples.push({ atMs, highWaterMark: inspection.highWaterMark });
    while (samples.length > 1 && samples[1].atMs <= atMs - this.#lagMs) samples.shift();
    const [then] = samples;
    if (then.atMs > atMs - this.#lagMs) return [];
    const violations: Violation[] = [];
    for (const member of copies) {
      if (member.shard !== shard || member.nodeUuid === primary.nodeUuid) continue;
      // It promised another reign: that this one is over its primary learns in a moment.
      if (compareEpochs(member.inspection?.promised ?? NO_EPOCH, inspection.epoch) > 0) continue;
      const claimed = inspection.inSync.includes(member.nodeUuid) ? 'its primary' : itself(member, primary);
      const since = this.#since.get(`${shard}|${member.nodeUuid}`);
      if (claimed === undefined || since === undefined || atMs - since.ms < this.#lagMs) continue;
      const applied = member.inspection?.applied ?? 0;
      if (since.there && (!member.awake || applied >= then.highWaterMark)) continue;
      violations.push({
        rule: 'S9',
        detail: `shard ${shard}: ${member.host} is in sync by ${claimed}, but ${since.there ? `applied ${applied} of ${then.highWaterMark}` : `is gone for ${Math.round(atMs - since.ms)} ms`}, in epoch ${epochText(inspection.epoch)}`,
      });
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
