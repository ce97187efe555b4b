import { assert } from '../../../kernel/assert.js';
import { compareEpochs, NO_EPOCH, sameEpoch } from '../../../kernel/epoch.js';
import type { AppendBatch, LogState } from '../log-store.js';
import { CHAIN_BYTES, CHAIN_ZERO } from './entry.js';
import { entryOffset, entryShard } from './entry-codec.js';

/** The state of a shard without a log. */
export const EMPTY_LOG: LogState = {
  tail: 0,
  chain: CHAIN_ZERO,
  epoch: NO_EPOCH,
  start: { offset: 0, chain: CHAIN_ZERO },
  history: [],
  bytes: 0,
};

/** The state after `batch`; asserts that its entries continue the log: dense offsets, epochs that never go back. */
export function afterAppend(state: LogState, batch: AppendBatch): LogState {
  if (batch.entries.length === 0) return state;
  let { tail, chain, epoch, bytes, history } = state;
  for (const entry of batch.entries) {
    assert(entry.offset === tail + 1, `shard ${batch.shard}: offset ${tail + 1} comes next, got ${entry.offset}`);
    assert(
      entry.chain.length === CHAIN_BYTES,
      `shard ${batch.shard}: the chain of offset ${entry.offset} has 16 bytes`,
    );
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
    chain = entry.chain;
    bytes += entry.bytes.length;
  }
  // A copy: the entry's chain is a view that would keep its document.
  return { ...state, tail, chain: new Uint8Array(chain), epoch, bytes, history };
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
