import { META_SHARD } from '../../../src/kernel/ids.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import { branchBeyond, missingIn } from '../../../src/modules/replication/core/branch-epochs.js';
import type { Observation, ObservedCopy } from './observation.js';
import type { Violation } from './violation.js';

/** What the cluster should come to. */
export interface Goal {
  /** Members by shard, as the map has it. */
  readonly sets: ReadonlyMap<number, readonly NodeUuid[]>;
  /** Highest version of each document (`shard|document`) on any surviving disk when the faults stopped; available shards only. */
  readonly union: ReadonlyMap<string, string>;
}

/** Milliseconds after the faults stopped (testing, Invariants). */
export const BUDGETS = { L1: 5_000, L2: 10_000, L3: 2_000, L4: 30_000 } as const;

/** What is still missing, in words, by rule; empty: the cluster has converged. */
export function missing(observation: Observation, goal: Goal): readonly Violation[] {
  const found: Violation[] = [];
  if (new Set(observation.views.values()).size > 1)
    found.push({
      rule: 'L1',
      detail: `views differ: ${[...observation.views].map(([host, view]) => `${host} ${view}`).join(', ')}`,
    });
  for (const [shard, members] of goal.sets) {
    const copies = observation.copies.filter((copy) => copy.shard === shard && members.includes(copy.nodeUuid));
    const primaries = copies.filter((copy) => copy.up && copy.inspection?.role === 'primary');
    if (primaries.length !== 1) {
      found.push({ rule: 'L2', detail: `shard ${shard} has ${primaries.length} primaries` });
      continue;
    }
    found.push(...missingBelow(shard, primaries[0], copies, members));
    found.push(...unmerged(shard, primaries[0], observation.copies));
  }
  return found;
}

/** What copies that are up went through, also removed ones, and the primary's log neither contains nor has merged (7.2). */
function unmerged(shard: number, primary: ObservedCopy, copies: readonly ObservedCopy[]): readonly Violation[] {
  if (shard === META_SHARD) return [];
  const found: Violation[] = [];
  const log = { history: primary.history, lastOffset: primary.tail };
  for (const copy of copies) {
    if (copy.shard !== shard || copy.inspection === undefined) continue;
    const all = [...branchBeyond({ history: copy.history, lastOffset: copy.tail }, 0), ...copy.branches.cut];
    const waiting = missingIn(primary.branches, log, all);
    if (waiting.length > 0)
      found.push({
        rule: 'SESSION',
        detail: `shard ${shard} on ${copy.host} has ${waiting.length} epochs to be merged`,
      });
  }
  return found;
}

function missingBelow(
  shard: number,
  primary: ObservedCopy,
  copies: readonly ObservedCopy[],
  members: readonly NodeUuid[],
): readonly Violation[] {
  const found: Violation[] = [];
  const set = primary.inspection?.set.members ?? [];
  if ([...set].sort().join() !== [...members].sort().join())
    found.push({ rule: 'L4', detail: `shard ${shard}: the primary counts by another set than the map's` });
  const digest = digestOf(primary);
  for (const copy of copies) {
    const { inspection, host } = copy;
    if (inspection === undefined || inspection.faulted) {
      found.push({
        rule: 'L4',
        detail: `shard ${shard} on ${host} is ${inspection === undefined ? 'not open' : 'faulted'}`,
      });
      continue;
    }
    if (inspection.passing !== undefined)
      found.push({ rule: 'L7', detail: `shard ${shard} on ${host} is still ${inspection.passing}` });
    if (copy.tail !== primary.tail || copy.chain !== primary.chain)
      found.push({
        rule: 'L4',
        detail: `shard ${shard} on ${host} ends at ${copy.tail}, its primary at ${primary.tail}`,
      });
    else if (digestOf(copy) !== digest)
      found.push({ rule: 'L4', detail: `shard ${shard} on ${host} has other rows than its primary` });
    if (inspection.loose > 0)
      found.push({ rule: 'L4', detail: `shard ${shard} on ${host} has ${inspection.loose} loose rows` });
    if (inspection.applied < copy.tail)
      found.push({ rule: 'L3', detail: `shard ${shard} on ${host} applied ${inspection.applied} of ${copy.tail}` });
    if (!inspection.selfInSync) found.push({ rule: 'L4', detail: `shard ${shard} on ${host} is not in sync` });
  }
  return found;
}

/** S6: after healing every copy of the set holds the union's maximum, in its rows and in its index. */
export function checkUnion(copies: readonly ObservedCopy[], union: ReadonlyMap<string, string>): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [place, version] of union) {
    const [shard, document] = place.split('|');
    for (const copy of copies) {
      if (copy.shard !== Number(shard)) continue;
      const row = copy.documents.find((candidate) => candidate.document === document);
      if (row === undefined || row.version < version)
        violations.push({
          rule: 'S6',
          detail: `${document} of shard ${shard} on ${copy.host} is at ${row?.version ?? 'no version'}, but ${version} survived`,
        });
    }
  }
  return violations;
}

/** L3: what is stored is in the index. */
export function checkIndexed(copies: readonly ObservedCopy[]): readonly Violation[] {
  const violations: Violation[] = [];
  for (const { documents, indexed, shard, host } of copies) {
    for (const { document, version } of documents) {
      if (indexed.get(document) !== version)
        violations.push({
          rule: 'L3',
          detail: `${document} of shard ${shard} on ${host} is at ${version}, in the index at ${indexed.get(document) ?? 'nothing'}`,
        });
    }
  }
  return violations;
}

function digestOf(copy: ObservedCopy): string {
  return copy.documents
    .map(({ document, version, tombstone }) => `${document}@${version}${tombstone ? '-' : ''}`)
    .join();
}
