import { readU32 } from '../../../kernel/big-endian.js';
import { utf8 } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { NodeUuid } from '../../../kernel/peer.js';
import { assign } from './assignment.js';
import type { ShardPlacement } from './map.js';

/** What a placement is computed from. */
export interface PlacementInput {
  /** Where the copies are now, by shard number. */
  readonly shards: readonly ShardPlacement[];
  /** Nodes that may hold copies, in any order. */
  readonly hosts: readonly NodeUuid[];
  /** Hosts that get no copy they do not have: they are away, and may come back (replication 9.5). */
  readonly away: readonly NodeUuid[];
  /** Copies wanted of every shard. */
  readonly copies: number;
}

/** Per shard the nodes that shall have a copy; the first is the preferred primary. */
export type PlacementTarget = readonly (readonly NodeUuid[])[];

/*
 * Costs, in steps so wide that a lower one never adds up to a higher one (256 shards, 6 copies, 64 nodes): balance first,
 * then copies that stay, then the rank by rendezvous hashing.
 */
const NEW_COPY = 1e6;
const UNBALANCED = 1e13;

/**
 * shard → nodes (replication 9.4): rendezvous hashing under the bounds ⌊copies / hosts⌋ and ⌈copies / hosts⌉ per node, for
 * copies and for preferred primaries. Never two copies on a node; as few new copies as the bounds allow, and the least
 * of them by rank. The last answer is kept: most questions are the same again.
 *
 * Every step towards a target leaves it a cheapest answer, so that a plan made anew after each step still ends.
 */
export class Placer {
  readonly #hasher: Hasher;
  readonly #weights = new Map<string, number>();
  #asked = '';
  #answer: PlacementTarget = [];

  constructor(hasher: Hasher) {
    this.#hasher = hasher;
  }

  place(input: PlacementInput): PlacementTarget {
    const asked = JSON.stringify(input);
    if (asked !== this.#asked) {
      this.#answer = this.#place(input);
      this.#asked = asked;
    }
    return this.#answer;
  }

  #place(input: PlacementInput): PlacementTarget {
    const hosts = [...input.hosts].sort();
    if (hosts.length === 0) return input.shards.map(() => []);
    const ranks = input.shards.map((_, shard) => this.#ranks(shard, hosts));
    const copies = placeCopies(input, hosts, ranks);
    const first = choosePreferred(input, hosts, ranks, copies);
    return copies.map((columns, shard) => {
      const preferred = first[shard];
      const others = columns.filter((column) => column !== preferred);
      others.sort((a, b) => ranks[shard][a] - ranks[shard][b]);
      return [preferred, ...others].filter((column) => column !== undefined).map((column) => hosts[column]);
    });
  }

  /** Per host its place in the shard's order: 0 for the one with the greatest hash. */
  #ranks(shard: number, hosts: readonly NodeUuid[]): readonly number[] {
    const order = hosts.map((_, column) => column);
    const weights = hosts.map((host) => this.#weight(shard, host));
    order.sort((a, b) => weights[b] - weights[a] || a - b);
    const ranks = new Array<number>(hosts.length);
    for (const [rank, column] of order.entries()) ranks[column] = rank;
    return ranks;
  }

  #weight(shard: number, host: NodeUuid): number {
    const key = `${shard} ${host}`;
    let weight = this.#weights.get(key);
    if (weight === undefined) {
      weight = readU32(this.#hasher.sha256Head(utf8(key)), 0);
      if (this.#weights.size >= WEIGHTS_KEPT_MAX) this.#weights.clear();
      this.#weights.set(key, weight);
    }
    return weight;
  }
}

/** Hashes kept: 256 shards on 64 nodes, twice. */
const WEIGHTS_KEPT_MAX = 32_768;

type Ranks = readonly (readonly number[])[];

function placeCopies(input: PlacementInput, hosts: readonly NodeUuid[], ranks: Ranks): readonly (readonly number[])[] {
  const { shards } = input;
  const away = new Set(input.away);
  const held = shards.map(({ members, learners }) => {
    const nodes = new Set([...members, ...learners]);
    return hosts.map((host) => nodes.has(host));
  });
  const needs = held.map((has) =>
    Math.min(input.copies, hosts.filter((host, column) => has[column] || !away.has(host)).length),
  );
  const total = needs.reduce((sum, need) => sum + need, 0);
  const least = Math.floor(total / hosts.length);
  const most = Math.ceil(total / hosts.length);
  return assign({
    rows: shards.length,
    columns: hosts.length,
    needs: (row) => needs[row],
    cost: (row, column) => {
      if (held[row][column]) return 0;
      return away.has(hosts[column]) ? undefined : NEW_COPY + ranks[row][column];
    },
    load: (_, used) => (used < least ? 0 : used < most ? UNBALANCED : (2 + used - most) * UNBALANCED),
    start: stayingCopies(shards, hosts, needs, least),
  });
}

/** Copies that stay whatever else is decided: present ones, members before learners, up to the lower bound of a node. */
function stayingCopies(
  shards: readonly ShardPlacement[],
  hosts: readonly NodeUuid[],
  needs: readonly number[],
  least: number,
): readonly (readonly [number, number])[] {
  const columnOf = new Map(hosts.map((host, column) => [host, column]));
  const used = new Array<number>(hosts.length).fill(0);
  const given = new Array<number>(shards.length).fill(0);
  const pairs: [number, number][] = [];
  const places = Math.max(0, ...shards.map(({ members, learners }) => members.length + learners.length));
  for (let place = 0; place < places; place++) {
    for (const [row, { members, learners }] of shards.entries()) {
      const column = columnOf.get([...members, ...learners][place] ?? '');
      if (column === undefined || used[column] >= least || given[row] >= needs[row]) continue;
      used[column]++;
      given[row]++;
      pairs.push([row, column]);
    }
  }
  return pairs;
}

/** Per shard the column of its preferred primary; undefined for a shard without copies. */
function choosePreferred(
  { shards }: PlacementInput,
  hosts: readonly NodeUuid[],
  ranks: Ranks,
  copies: readonly (readonly number[])[],
): readonly (number | undefined)[] {
  const fixed = shards.map(({ pinned, members }, shard) =>
    pinned === undefined ? undefined : copies[shard].find((column) => hosts[column] === members[0]),
  );
  const pinnedOn = hosts.map((_, column) => fixed.filter((other) => other === column).length);
  const free = shards.flatMap((_, shard) => (fixed[shard] === undefined && copies[shard].length > 0 ? [shard] : []));
  const chosen = assign({
    rows: free.length,
    columns: hosts.length,
    needs: () => 1,
    cost: (row, column) => {
      const shard = free[row];
      if (!copies[shard].includes(column)) return undefined;
      const { members } = shards[shard];
      if (members[0] === hosts[column]) return 0;
      return (members.includes(hosts[column]) ? 1 : 2) * NEW_COPY + ranks[shard][column];
    },
    load: (column, used) => (pinnedOn[column] + used) * UNBALANCED,
    start: [],
  });
  const preferred: (number | undefined)[] = [...fixed];
  for (const [row, [column]] of chosen.entries()) preferred[free[row]] = column;
  return preferred;
}
