import type { Epoch } from '../../../kernel/epoch.js';
import { HLC_ZERO } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { AppendEntry, LogStore, RowChange } from '../../log/log-store.js';
import { ReplicaLog, rowNameOf } from '../core/replica-log.js';
import { storedEnd } from '../stored-copy.js';

const SHARD = 0;

export function epochOf(num: number): Epoch {
  return { num, uuid: new Uint8Array(16).fill(num) };
}

/** Logs documents of collection 1 in shard 0, in one batch and in that order, as a primary of the epoch did at that time. */
export async function logDocuments(
  store: LogStore,
  num: number,
  wallMs: number,
  documents: readonly { readonly id: string; readonly payload: Uint8Array }[],
): Promise<void> {
  const log = copyOf(store);
  const entries: AppendEntry[] = [];
  const rows: RowChange[] = [];
  for (const [i, { id, payload }] of documents.entries()) {
    const [rowKey, rowName] = [log.rowKey(1, id), rowNameOf(1, id)];
    const version = { hlc: { ms: wallMs + i, counter: 0 }, opId: new Uint8Array(16).fill(num) };
    const what = { op: 'UPSERT', collectionId: 1, id, version } as const;
    const entry = log.append(epochOf(num), { ...what, payload });
    entries.push(entry);
    rows.push(...log.write(entry, { ...what, rowKey, rowName }, log.row(rowName, store.row(rowKey))));
  }
  await store.append(log.batch(entries, rows));
}

/** Logs the end of collection 1, as a primary of the epoch does; its rows stay, as they do until they are swept. */
export async function logPurge(store: LogStore, num: number, wallMs: number): Promise<void> {
  const log = copyOf(store);
  const version = { hlc: { ms: wallMs, counter: 0 }, opId: new Uint8Array(16).fill(num) };
  const draft = { op: 'COLLECTION_PURGE', collectionId: 1, id: '', payload: new Uint8Array(0), version } as const;
  const entry = log.append(epochOf(num), draft);
  log.supersede(entry.bytes.length);
  log.drop(1);
  await store.append(log.batch([entry], []));
}

function copyOf(store: LogStore): ReplicaLog {
  return new ReplicaLog({ shard: SHARD, hasher: nodeHasher, lastHlc: HLC_ZERO, ...storedEnd(store, SHARD) });
}
