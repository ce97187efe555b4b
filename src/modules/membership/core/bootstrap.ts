import { compareIds } from '../../../kernel/ids.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import type { Introduction } from '../membership-peers.js';

export interface SeedAddress {
  readonly host: string;
  readonly port: number;
}

/** What a node knows of itself before it belongs to a cluster. */
export interface BootstrapFacts {
  readonly nodeId: string;
  readonly nodeUuid: NodeUuid;
  readonly advertisedHost: string;
  readonly grpcPort: number;
  /** Addresses of its own network interfaces. */
  readonly interfaces: readonly string[];
  readonly clusterMode: boolean;
  readonly seeds: readonly SeedAddress[];
  /** The cluster its data directory belongs to; '' for none. */
  readonly storedClusterId: string;
  /** Where it was registered when it was last a part of that cluster. */
  readonly registeredAt?: string | undefined;
  /** Nothing of any cluster was ever written there. */
  readonly emptyDirectory: boolean;
  readonly bootCount: number;
}

/** What came of asking a seed who it is. */
export type SeedAnswer =
  | { readonly kind: 'answered'; readonly introduction: Introduction }
  /** It refused the connection or its name does not resolve: no cluster can be there. */
  | { readonly kind: 'absent' }
  /** Not asked yet, or no answer: there may be a cluster behind it. */
  | { readonly kind: 'silent' };

export type BootstrapDecision =
  /** It belongs to a cluster already. */
  | { readonly kind: 'resume'; readonly clusterId: string }
  | { readonly kind: 'create' }
  /** Ask one of these to be taken in, in this order. */
  | { readonly kind: 'join'; readonly clusterId: string; readonly addresses: readonly string[] }
  | { readonly kind: 'wait'; readonly detail: string };

export function seedText(seed: SeedAddress): string {
  return seed.host.includes(':') ? `[${seed.host}]:${seed.port}` : `${seed.host}:${seed.port}`;
}

/** Whether a seed is this node itself (replication 9.2): port equal, host one of its names. */
export function namesThisNode(seed: SeedAddress, facts: BootstrapFacts): boolean {
  if (seed.port !== facts.grpcPort) return false;
  const host = seed.host.toLowerCase();
  return (
    host === facts.advertisedHost.toLowerCase() ||
    host === facts.nodeId ||
    host === 'localhost' ||
    facts.interfaces.some((address) => address.toLowerCase() === host)
  );
}

/**
 * How a starting node comes into a cluster (replication 9.2). Two clusters must not come of one configuration: only the
 * first address of the seeds may create one, only with an empty directory in its first boot, and only when nobody else can
 * hold one. All others wait until somebody tells of a cluster, and join that. `answers` is by seedText; nodes that were met
 * otherwise may be among them.
 */
export function decideBootstrap(facts: BootstrapFacts, answers: ReadonlyMap<string, SeedAnswer>): BootstrapDecision {
  if (facts.storedClusterId !== '') return { kind: 'resume', clusterId: facts.storedClusterId };
  const fresh = facts.emptyDirectory && facts.bootCount === 1;
  // A cluster of one asks nobody, so nothing speaks against another try after a crash.
  if (!facts.clusterMode || facts.seeds.length === 0)
    return facts.emptyDirectory ? { kind: 'create' } : { kind: 'wait', detail: 'the data directory is not empty' };

  const found = clusters(facts, answers).at(0);
  if (found !== undefined) return { kind: 'join', ...found };

  const [first, ...others] = facts.seeds;
  if (!isSelf(first, facts, answers))
    return { kind: 'wait', detail: `no cluster yet: the first seed, ${seedText(first)}, creates it` };
  if (!fresh) return { kind: 'wait', detail: 'only an empty data directory in its first start may create a cluster' };
  const doubtful = others
    .filter((seed) => !isSelf(seed, facts, answers))
    .find((seed) => (answers.get(seedText(seed)) ?? SILENT).kind === 'silent');
  if (doubtful !== undefined)
    return { kind: 'wait', detail: `the seed ${seedText(doubtful)} does not answer and may hold a cluster` };
  return { kind: 'create' };
}

const SILENT: SeedAnswer = { kind: 'silent' };

function isSelf(seed: SeedAddress, facts: BootstrapFacts, answers: ReadonlyMap<string, SeedAnswer>): boolean {
  if (namesThisNode(seed, facts)) return true;
  const answer = answers.get(seedText(seed));
  return answer?.kind === 'answered' && answer.introduction.nodeUuid === facts.nodeUuid;
}

/** Clusters that were found, the one to join first: one that lasts before a provisional one, the older before the younger. */
function clusters(
  facts: BootstrapFacts,
  answers: ReadonlyMap<string, SeedAnswer>,
): readonly { readonly clusterId: string; readonly addresses: readonly string[] }[] {
  const found: { readonly address: string; readonly introduction: Introduction }[] = [];
  for (const [address, answer] of answers) {
    if (answer.kind !== 'answered' || answer.introduction.clusterId === '') continue;
    if (answer.introduction.nodeUuid !== facts.nodeUuid) found.push({ address, introduction: answer.introduction });
  }
  found.sort((a, b) => byStanding(a.introduction, b.introduction) || compareIds(a.address, b.address));
  const ids = [...new Set(found.map(({ introduction }) => introduction.clusterId))];
  return ids.map((clusterId) => ({
    clusterId,
    addresses: found.filter(({ introduction }) => introduction.clusterId === clusterId).map(({ address }) => address),
  }));
}

function byStanding(a: Introduction, b: Introduction): number {
  return (
    Number(a.provisional) - Number(b.provisional) ||
    a.bootstrappedMs - b.bootstrappedMs ||
    compareIds(a.clusterId, b.clusterId)
  );
}

/** Whether this node's provisional cluster gives way to the other's (replication 9.2). */
export function givesWay(own: Introduction, other: Introduction): boolean {
  if (!own.provisional || own.clusterId === '' || other.clusterId === '' || own.clusterId === other.clusterId)
    return false;
  return byStanding(own, other) > 0;
}
