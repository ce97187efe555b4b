import { LIMITS } from '../../../kernel/limits.js';

/** Candidates a leg contributes to the fusion, over all shards (api.md, Hybrid). */
export const LEG_SIZE_MIN = 50;

/**
 * Deviations of a shard's share a search width allows for. Fewer than for candidates: what falls short narrows a search a
 * little instead of losing a result.
 */
const EF_DEVIATIONS = 2;
/** A graph is not searched narrower than this because there are many of them: 9 of 20 miss as little as one of 100. */
const EF_MIN = 20;
/** Deviations of a shard's share of the candidates. */
const SIZE_DEVIATIONS = 4;

/** How wide a query looks. */
export interface Plan {
  /** Candidates of a leg after its global merge. */
  readonly legSize: number;
  /** Candidates asked of each shard. */
  readonly shardSize: number;
  /** HNSW search width in each shard. */
  readonly ef: number;
}

export interface PlanInput {
  readonly topK: number;
  readonly offset: number;
  readonly hybrid: boolean;
  readonly legSize: number | undefined;
  readonly ef: number;
  readonly shards: number;
  readonly exact: boolean;
}

/**
 * Widths of a query over `shards` shards. A single leg needs only the page itself. Documents fall on shards by hash, so
 * of the best n a shard holds n / shards, give or take four standard deviations of the binomial distribution: asking
 * each for that many misses one of the best n in fewer than 1 of 10 000 queries, and exact answers ask for all n. The
 * search width is divided, too: over all shards as many candidates are kept as one graph would keep, and a few more.
 */
export function planQuery(input: PlanInput): Plan {
  const page = input.offset + input.topK;
  const legSize = Math.min(LIMITS.topKMax, input.legSize ?? (input.hybrid ? Math.max(2 * page, LEG_SIZE_MIN) : page));
  const wanted = Math.max(legSize, page);
  const shardSize = input.exact ? wanted : share(wanted, input.shards, SIZE_DEVIATIONS);
  const ef = Math.max(share(input.ef, input.shards, EF_DEVIATIONS), Math.min(input.ef, EF_MIN), shardSize);
  return { legSize: wanted, shardSize, ef: Math.min(ef, LIMITS.efMax) };
}

function share(wanted: number, shards: number, deviations: number): number {
  if (shards <= 1) return wanted;
  const mean = wanted / shards;
  return Math.min(wanted, Math.ceil(mean + deviations * Math.sqrt(mean * (1 - 1 / shards))));
}
