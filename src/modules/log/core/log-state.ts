import { assert } from '../../../kernel/assert.js';
import { compareEpochs, NO_EPOCH, sameEpoch } from '../../../kernel/epoch.js';
import type { AppendBatch, LogState, SnapshotEnd } from '../log-store.js';
import { CHAIN_BYTES, CHAIN_ZERO } from './entry.js';
import { entryChain, entryOffset, entryShard } from './entry-codec.js';
import { FIRST_GENERATION } from './keys.js';

/** The state of a shard without a log. */
export const EMPTY_LOG: LogState = {
  tail: 0,
  chain: CHAIN_ZERO,
  epoch: NO_EPOCH,
  start: { offset: 0, chain: CHAIN_ZERO },
  history: [],
  bytes: 0,
  generation: FIRST_GENERATION,
};

/** The state after `batch`; asserts that its entries continue the log: dense offsets, epochs that never go back. */
export function afterAppend(state: LogState, batch: AppendBatch): LogState {
  if (batch.entries.length === 0) return state;
  let { tail, epoch, bytes, history } = state;
  for (const entry of batch.entries) {
    assert(entry.offset === tail + 1, `shard ${batch.shard}: offset ${tail + 1} comes next, got ${entry.offset}`);
    assert(
      entryOffset(entry.bytes) === entry.offset && entryShard(entry.bytes) === batch.shard,
      `the bytes of offset ${entry.offset} of shard ${batch.shard} belong to another place`,
    );
    if (!sameEpoch(entry.epoch, epoch)) {
      assert(
        compareEpochs(entry.epoch, epoch) > 0,
        `shard ${batch.shard}: an epoch never goes back (offset ${entry.offset})`,
      );
      epoch = { num: entry.epoch.num, uuid: new Uint8Array(entry.epoch.uuid) };
      history = [...history, { epoch, start: entry.offset }];
    }
    tail = entry.offset;
    bytes += entry.bytes.length;
  }
  const chain = entryChain(batch.entries[batch.entries.length - 1].bytes);
  return { ...state, tail, chain, epoch, bytes, history };
}

/** The state after compaction moved the start; it never moves back. */
export function afterStart(state: LogState, start: LogState['start']): LogState {
  assert(
    start.offset >= state.start.offset && start.offset <= state.tail,
    'the start of a log stays within it and never moves back',
  );
  return { ...state, start: { offset: start.offset, chain: new Uint8Array(start.chain) } };
}

/** The state after compaction deleted entries of `bytes` altogether. */
export function afterDelete(state: LogState, bytes: number): LogState {
  return { ...state, bytes: Math.max(0, state.bytes - bytes) };
}

/**
 * The state after the entries above `to` were cut off (replication 6.3).
 * @param chain of the entry at `to`
 * @param bytes of the entries that go
 */
export function afterTruncate(state: LogState, to: number, chain: Uint8Array, bytes: number): LogState {
  assert(
    Number.isSafeInteger(to) && to >= state.start.offset && to <= state.tail,
    `a log is truncated between its start ${state.start.offset} and its tail ${state.tail}, not at ${to}`,
  );
  const history = state.history.filter(({ start }) => start <= to);
  const epoch = history.at(-1)?.epoch ?? NO_EPOCH;
  return { ...afterDelete(state, bytes), tail: to, chain: new Uint8Array(chain), epoch, history };
}

/** The state after a received snapshot became the log: it starts and ends at the snapshot's offset (replication 4.7). */
export function afterFlip(generation: number, end: SnapshotEnd): LogState {
  const { offset, history, bytes } = end;
  assert(Number.isSafeInteger(offset) && offset >= 1, 'a snapshot is of an offset');
  assert(end.chain.length === CHAIN_BYTES, 'the chain of a snapshot has 16 bytes');
  const last = history.at(-1);
  assert(last !== undefined && last.start <= offset, 'the last epoch of a snapshot begins at or before its offset');
  const chain = new Uint8Array(end.chain);
  return { tail: offset, chain, epoch: last.epoch, start: { offset, chain }, history, bytes, generation };
}
