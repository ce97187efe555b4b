import { equalBytes } from '../../kernel/bytes.js';
import type { Hasher } from '../../kernel/hasher.js';
import { META_SHARD } from '../../kernel/ids.js';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import { verifyEntry } from '../log/core/entry-codec.js';
import { LogDamagedError, type Damage, type LogState, type LogStore } from '../log/log-store.js';
import type { FetchAnswer, FetchRequest } from './core/protocol.js';

/** What healing needs of the node. */
export interface HealingPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  /** Nodes that may have a whole copy of the shard, the primary first. */
  sources(shard: number): readonly NodeUuid[];
  fetch(from: NodeUuid, request: FetchRequest): Promise<FetchAnswer>;
}

/** Consecutive offsets, both inclusive. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** Entry bytes of one answer. */
const FETCH_BYTES = 1024 * 1024;
/** The whole log is checked before it is served again, as fast as the others on the node can bear. */
const CHECK_BYTES_PER_SECOND = 64 * 1024 * 1024;

/**
 * Makes a damaged log whole again (replication 2.12): what is damaged is fetched from a replica whose chain is that
 * of this log on both sides of it, verified, and put back in its place; then the whole log is read, until nothing is wrong with
 * it. An entry that is gone, not only damaged, cannot be put back by itself. Nothing else may change the log meanwhile.
 */
export class LogHealing {
  constructor(private readonly ports: HealingPorts) {}

  /**
   * @param found what is known to be damaged
   * @returns how many entries were replaced, or what could not be
   */
  async heal(shard: number, found: readonly Damage[], signal: AbortSignal): Promise<number | Damage> {
    const { log } = this.ports;
    await log.sync();
    let replaced = 0;
    let read = false;
    for (let damages = found; ;) {
      const lost = damages.find((damage) => this.#isLost(shard, damage));
      if (lost !== undefined) return lost;
      let failed: Damage | undefined;
      for (const span of spansOf(damages, log.state(shard).start.offset)) {
        const count = await this.#restore(shard, span);
        if (count === 0) failed ??= { shard, offset: span.from, problem: 'missing' };
        replaced += count;
      }
      if (signal.aborted) return found[0];
      // What is beside it may be damaged as well: the whole log tells how far it goes.
      if (failed !== undefined && read) return failed;
      read = true;
      const report = await log.scrub(shard, signal, CHECK_BYTES_PER_SECOND);
      if (signal.aborted) return found[0];
      if (report.damages.length === 0) return replaced;
      damages = report.damages;
    }
  }

  /**
   * Records and rows of a shard have no offset, and what lies beyond its end belongs nowhere. With an entry that is gone its
   * batch is gone: the rows it changed, and the results of keys; the map's rows follow from its log (9.1).
   */
  #isLost(shard: number, { offset, problem }: Damage): boolean {
    const { start, tail } = this.ports.log.state(shard);
    if (offset < 1 || offset > tail) return true;
    return shard !== META_SHARD && problem === 'missing' && offset > start.offset;
  }

  /** Fetches the entries of a span from whoever has them; how many were put back, 0 when nobody could help. */
  async #restore(shard: number, span: Span): Promise<number> {
    for (const node of this.ports.sources(shard)) {
      try {
        const count = await this.#restoreFrom(node, shard, span);
        if (count > 0) return count;
      } catch (error) {
        // It does not answer, or what it has is not of this log: another one may.
        if (!(error instanceof PeerError || error instanceof LogDamagedError)) throw error;
      }
    }
    return 0;
  }

  async #restoreFrom(node: NodeUuid, shard: number, { from, to }: Span): Promise<number> {
    const { start, tail, chain } = this.ports.log.state(shard);
    if (from > start.offset) return this.#take(node, shard, { from, to }, undefined);
    // In the part that was compacted there may be no neighbours: equal chains behind it prove equal logs up to there.
    const span = { from, to: Math.min(to, start.offset) };
    return (
      (await this.#take(node, shard, span, { offset: tail, chain })) || (await this.#take(node, shard, span, start))
    );
  }

  /** @param anchor where the chains must be equal, when the neighbours do not tell */
  async #take(
    node: NodeUuid,
    shard: number,
    { from, to }: Span,
    anchor: LogState['start'] | undefined,
  ): Promise<number> {
    const { log, hasher } = this.ports;
    const entries: Uint8Array[] = [];
    while (entries.length <= to - from) {
      const request = { shard, from: from + entries.length, to, anchor: anchor?.offset ?? 0, bytesMax: FETCH_BYTES };
      const answer = await this.ports.fetch(node, request);
      if (anchor !== undefined && !equalBytes(answer.anchorChain, anchor.chain)) return 0;
      if (answer.entries.length === 0) return 0;
      for (const entry of answer.entries) {
        const offset = from + entries.length;
        if (offset > to || verifyEntry(entry, hasher, { shard, offset }) !== undefined) return 0;
        entries.push(entry);
      }
    }
    await log.restore(shard, entries);
    return entries.length;
  }
}

/** Neighbouring offsets together. A broken link above `start` may be the fault of either of the two entries. */
function spansOf(damages: readonly Damage[], start: number): readonly Span[] {
  const offsets = new Set<number>();
  for (const { offset, problem } of damages) {
    offsets.add(offset);
    if (problem === 'chain' && offset - 1 > start) offsets.add(offset - 1);
  }
  const spans: { from: number; to: number }[] = [];
  for (const offset of [...offsets].sort((a, b) => a - b)) {
    const last = spans.at(-1);
    if (last?.to === offset - 1) last.to = offset;
    else spans.push({ from: offset, to: offset });
  }
  return spans;
}
