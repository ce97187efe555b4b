import type { NodeUuid } from '../../kernel/peer.js';
import { NodeError } from '../../kernel/errors.js';
import { LogDamagedError } from '../log/log-store.js';
import type { ReplicationService } from '../replication/replication.service.js';
import { AnswerBytes } from './core/answer-bytes.js';
import type { FieldSelection } from './core/requests.js';
import type { StoredSegments, WantedEntry } from './core/shard-calls.js';
import type { Deadline } from './deadline.js';
import { failureOf, reasonOf, type FanOut, type ShardFailed } from './fan-out.js';
import type { LocalShards } from './local-shards.js';
import type { Routes } from './routes.js';

/** A document that won, and the node whose copy said so. */
export interface Winner extends WantedEntry {
  readonly shard: number;
  readonly node: NodeUuid;
}

/** Payloads of winners: those that are here at once, whichever copy found them, the others with one message a node. */
export class WinnerFetch {
  constructor(
    private readonly routes: Routes,
    private readonly fanOut: FanOut,
    private readonly local: LocalShards,
    private readonly replication: ReplicationService,
  ) {}

  /**
   * The payload of each winner, in order, with at least the fields asked for; undefined for one that was superseded since, or whose shard cannot say. When
   * the node that answered is gone, another copy is asked for the same version; when none has it, the shard is put into
   * `failed`. A promise, and a need for a deadline, only when a winner is elsewhere.
   * @throws NodeError LIMIT_EXCEEDED when they are too large together
   */
  fetch(
    winners: readonly Winner[],
    collectionId: number,
    fields: FieldSelection,
    deadline: () => Deadline,
    failed: Map<number, ShardFailed>,
  ): readonly (StoredSegments | undefined)[] | Promise<readonly (StoredSegments | undefined)[]> {
    const { self } = this.routes;
    const bytes = new AnswerBytes(fields);
    if (winners.every(({ node }) => node === self))
      return winners.map((winner) => bytes.add(this.#here(winner, collectionId, fields, failed)));
    const found = winners.map((winner) =>
      winner.node === self ? undefined : bytes.add(this.#fromOwnCopy(winner, collectionId, fields)),
    );
    if (found.every((payload) => payload !== undefined)) return found;
    return this.#everywhere(winners, found, collectionId, fields, deadline(), failed, bytes);
  }

  /**
   * A winner that another node's copy found, when this node has a copy too and that one has the same version: an entry
   * never changes. Whatever is the matter with the own copy, the other is asked.
   */
  #fromOwnCopy(winner: Winner, collectionId: number, fields: FieldSelection): StoredSegments | undefined {
    const { shard } = winner;
    if (!this.routes.shards()[shard].copies.some(({ self, faulted }) => self && !faulted)) return undefined;
    try {
      return this.local.fetchOne(shard, collectionId, winner, fields);
    } catch (error) {
      if (error instanceof LogDamagedError) this.replication.faultShard(shard, error);
      else if (!(error instanceof NodeError)) throw error;
      return undefined;
    }
  }

  #here(
    winner: Winner,
    collectionId: number,
    fields: FieldSelection,
    failed: Map<number, ShardFailed>,
  ): StoredSegments | undefined {
    const { shard } = winner;
    if (failed.has(shard)) return undefined;
    try {
      return this.local.fetchOne(shard, collectionId, winner, fields);
    } catch (error) {
      const damaged = error instanceof LogDamagedError;
      if (!damaged && !(error instanceof NodeError)) throw error;
      if (damaged) this.replication.faultShard(shard, error);
      failed.set(shard, {
        node: this.routes.nodeIdOf(this.routes.self),
        reason: damaged || error.code === 'LOG_CORRUPT' ? 'FAULTED' : 'UNREACHABLE',
      });
      return undefined;
    }
  }

  /** @param found those that are here */
  async #everywhere(
    winners: readonly Winner[],
    found: readonly (StoredSegments | undefined)[],
    collectionId: number,
    fields: FieldSelection,
    deadline: Deadline,
    failed: Map<number, ShardFailed>,
    bytes: AnswerBytes,
  ): Promise<readonly (StoredSegments | undefined)[]> {
    const payloads = [...found];
    const byShard = new Map<
      number,
      { readonly wanted: WantedEntry[]; readonly at: number[]; readonly from: NodeUuid }
    >();
    winners.forEach(({ shard, node, id, offset, versionMs, versionCounter }, at) => {
      if (payloads[at] !== undefined) return;
      const wanted = { id, offset, versionMs, versionCounter };
      const group = byShard.get(shard);
      if (group === undefined) byShard.set(shard, { wanted: [wanted], at: [at], from: node });
      else {
        group.wanted.push(wanted);
        group.at.push(at);
      }
    });
    const tried = new Map<number, Set<NodeUuid>>();
    let open = [...byShard].map(([shard, { from }]) => ({ shard, node: from }));
    while (open.length > 0) {
      const byNode = new Map<NodeUuid, number[]>();
      for (const { shard, node } of open) {
        let before = tried.get(shard);
        if (before === undefined) tried.set(shard, (before = new Set()));
        before.add(node);
        const shards = byNode.get(node);
        if (shards === undefined) byNode.set(node, [shard]);
        else shards.push(shard);
      }
      const missed = await Promise.all(
        [...byNode].map(async ([node, shards]) => {
          const wanted = shards.map((shard) => byShard.get(shard)?.wanted ?? []);
          return this.#fromNode(node, { collectionId, shards, wanted, fields }, deadline, (shard, found) =>
            byShard.get(shard)?.at.forEach((at, i) => {
              payloads[at] = bytes.add(found[i]);
            }),
          );
        }),
      );
      open = [];
      for (const { shard, failure } of missed.flat()) {
        const node = deadline.signal.aborted ? undefined : this.#another(shard, tried.get(shard));
        if (node === undefined) failed.set(shard, failure);
        else open.push({ shard, node });
      }
    }
    return payloads;
  }

  /** Asks one node; the shards it cannot say anything of, with why. */
  async #fromNode(
    node: NodeUuid,
    ask: {
      readonly collectionId: number;
      readonly shards: readonly number[];
      readonly wanted: readonly (readonly WantedEntry[])[];
      readonly fields: FieldSelection;
    },
    deadline: Deadline,
    take: (shard: number, found: readonly (StoredSegments | undefined)[]) => void,
  ): Promise<readonly { readonly shard: number; readonly failure: ShardFailed }[]> {
    const nodeId = this.routes.nodeIdOf(node);
    const all = (reason: ShardFailed['reason']) =>
      ask.shards.map((shard) => ({ shard, failure: { node: nodeId, reason } }));
    try {
      const options = { timeoutMs: deadline.remainingMs, signal: deadline.signal };
      const call = this.fanOut.accessOf(node).call('fetch', ask, options);
      const replies = await deadline.race<Awaited<typeof call>, undefined>(call, () => undefined);
      if (replies === undefined) return all('TIMEOUT');
      return ask.shards.flatMap((shard) => {
        const reply = replies.find((candidate) => candidate.shard === shard);
        if (reply?.refusal === undefined && reply !== undefined) {
          take(shard, reply.value);
          return [];
        }
        const reason = reply === undefined ? 'UNREACHABLE' : reasonOf(reply.refusal);
        return [{ shard, failure: { node: nodeId, reason } }];
      });
    } catch (error) {
      const reason = failureOf(error);
      if (reason === undefined) throw error;
      return all(reason);
    }
  }

  /** A copy that was not asked yet: this node's before others, then the freshest. */
  #another(shard: number, tried: ReadonlySet<NodeUuid> | undefined): NodeUuid | undefined {
    return [...this.routes.shards()[shard].copies]
      .filter(
        ({ node, status, faulted, role }) =>
          status !== 'UNAVAILABLE' && !faulted && role !== 'learner' && tried?.has(node) !== true,
      )
      .sort((a, b) => Number(b.self) - Number(a.self) || b.offset - a.offset || (a.node < b.node ? -1 : 1))
      .at(0)?.node;
  }
}
