import { toHex } from '../../../src/kernel/bytes.js';
import { META_SHARD } from '../../../src/kernel/ids.js';
import { entryCollectionId, entryId, entryOp, entryVersion } from '../../../src/modules/log/core/entry-codec.js';
import { documentKey, documentPrefix, idempotencyKey, shardKey } from '../../../src/modules/log/core/keys.js';
import type { LogStore, RowChange } from '../../../src/modules/log/log-store.js';
import { decodeAgreedMap } from '../../../src/modules/replication/core/map-codec.js';
import { MAP_ROW, Replica } from '../../../src/modules/replication/core/replica.js';
import { LooseStore } from '../../../src/modules/replication/loose-store.js';
import { Leader } from '../../../src/modules/replication/core/leader.js';
import { decodeOperation } from '../../../src/modules/replication/core/operation-row.js';
import { ReplicaLog, SETS_ROW } from '../../../src/modules/replication/core/replica-log.js';
import { decodeSets, encodeSets } from '../../../src/modules/replication/core/set-codec.js';
import type { ReplicaPorts } from '../../../src/modules/replication/replica-ports.js';
import { ShardReplica } from '../../../src/modules/replication/shard-replica.js';
import { SnapshotReceiver } from '../../../src/modules/replication/snapshot-receiver.js';
import { decodeRow } from '../../../src/modules/shard/core/rows.js';
import { overrideGetter, overrideMethod, type Undo } from './override.js';

/** What is appended counts as synced. */
export function acknowledgeBeforeSync(): Undo {
  return overrideGetter(ReplicaLog.prototype, 'durable', (log) => log.tail);
}

/** A restarted copy cuts its log to the high-water mark it had heard of, before it has met any primary. */
export function truncateToHighWaterMark(): Undo {
  const opened = new Map<string, ShardReplica>();
  const heard = new WeakMap<ShardReplica, number>();
  const tick = overrideMethod(
    ShardReplica.prototype,
    'tick',
    (before) =>
      function (this: ShardReplica) {
        before.call(this);
        heard.set(this, Math.max(heard.get(this) ?? 0, this.highWaterMark));
      },
  );
  const open = overrideMethod(ShardReplica, 'open', (before) => async (shard, self, bootCount, applied, ports) => {
    const key = `${self} ${shard}`;
    const { tail, start } = ports.log.state(shard);
    const lastOpened = opened.get(key);
    const lastHeard = lastOpened === undefined ? undefined : heard.get(lastOpened);
    // What is agreed already no log was ever cut from.
    const agreed = shard === META_SHARD ? ports.log.row(shardKey(shard, MAP_ROW)) : undefined;
    const to = Math.max(agreed === undefined ? 0 : decodeAgreedMap(agreed).offset, start.offset, lastHeard ?? tail);
    if (to < tail) await cut(ports, shard, to);
    const copy = await before.call(ShardReplica, shard, self, bootCount, Math.min(applied, to), ports);
    opened.set(key, copy);
    return copy;
  });
  return () => [open, tick].forEach((undo) => undo());
}

async function cut({ log, hasher }: ReplicaPorts, shard: number, to: number): Promise<void> {
  const sets = decodeSets(log.row(shardKey(shard, SETS_ROW))).filter(({ offset }) => offset <= to);
  await new LooseStore(log, hasher).cutBranch(shard, to, [{ key: shardKey(shard, SETS_ROW), value: encodeSets(sets) }]);
}

/** What lies beyond a fork is deleted instead of becoming loose. */
export function noLooseRows(): Undo {
  return overrideMethod(
    LooseStore.prototype,
    'cutBranch',
    (before) =>
      async function (this: LooseStore, shard, fork, beside) {
        const { log } = this as unknown as { readonly log: LogStore };
        const { tail, generation } = log.state(shard);
        const rows: RowChange[] = [...(beside ?? [])];
        for (const entry of await log.scan(shard, fork + 1, tail - fork, Number.MAX_SAFE_INTEGER)) {
          const op = entryOp(entry);
          if (op === 'UPSERT' || op === 'DELETE')
            rows.push({
              key: documentKey(generation, shard, entryCollectionId(entry), entryId(entry)),
              value: undefined,
            });
        }
        const counters = await before.call(this, shard, tail);
        await log.truncate(shard, fork, rows);
        return counters;
      },
  );
}

/** A row of another branch is dropped when its operation is known here, whatever its version. */
export function dedupeMergeByOperation(): Undo {
  const known = new WeakMap<ReplicaLog, Set<string>>();
  const logs = new WeakMap<Leader, ReplicaLog>();
  const undos = [
    overrideMethod(
      ReplicaLog.prototype,
      'append',
      (before) =>
        function (this: ReplicaLog, epoch, draft) {
          const operations = known.get(this) ?? new Set();
          known.set(this, operations);
          operations.add(toHex(draft.version.opId));
          return before.call(this, epoch, draft);
        },
    ),
    overrideMethod(
      Replica.prototype,
      'step',
      (before) =>
        function (this: Replica, input) {
          if (this.reign !== undefined) logs.set(this.reign, this.log);
          return before.call(this, input);
        },
    ),
    overrideMethod(
      Leader.prototype,
      'merge',
      (before) =>
        function (this: Leader, loose, stored, branch, own, out) {
          const log = logs.get(this);
          const operations = log === undefined ? undefined : known.get(log);
          const fresh = loose.map((bytes) => own || operations?.has(toHex(entryVersion(bytes).opId)) !== true);
          const kept = <T>(items: readonly T[]): T[] => items.filter((_, i) => fresh[i]);
          before.call(this, kept(loose), kept(stored), branch, own, out);
        },
    ),
  ];
  return () => undos.reverse().forEach((undo) => undo());
}

/** Each copy deletes its tombstones some time after they were written, by itself. */
export function dropTombstonesByTime(): Undo {
  return overrideMethod(ShardReplica, 'open', (before) => async (shard, self, bootCount, applied, ports) => {
    if (shard !== META_SHARD) dropNext(ports, shard);
    return before.call(ShardReplica, shard, self, bootCount, applied, ports);
  });
}

const TOMBSTONES_KEPT_MS = 2_000;

function dropNext({ log, timers, clock, ...rest }: ReplicaPorts, shard: number): void {
  timers.after(TOMBSTONES_KEPT_MS, () => {
    const old = clock.wallMs() - TOMBSTONES_KEPT_MS;
    log
      .rows(documentPrefix(log.state(shard).generation, shard), undefined, 1_000)
      .then((rows) =>
        log.append({
          shard,
          entries: [],
          rows: rows
            .filter(({ value }) => decodeRow(value).tombstone && decodeRow(value).version.hlc.ms < old)
            .map(({ key }) => ({ key, value: undefined })),
        }),
      )
      .then(
        () => dropNext({ log, timers, clock, ...rest }, shard),
        () => undefined,
      );
  });
}

/** A snapshot takes the log's place before it is whole. */
export function flipEarly(): Undo {
  return overrideGetter(SnapshotReceiver.prototype, 'complete', () => true);
}

/** A repeated key is answered with its stored result at once, wherever that is stored. */
export function storedResultAtOnce(): Undo {
  const stores = new WeakMap<ShardReplica, LogStore>();
  const undos = [
    overrideMethod(ShardReplica, 'open', (before) => async (shard, self, bootCount, applied, ports) => {
      const copy = await before.call(ShardReplica, shard, self, bootCount, applied, ports);
      stores.set(copy, ports.log);
      return copy;
    }),
    overrideMethod(
      ShardReplica.prototype,
      'write',
      (before) =>
        function (this: ShardReplica, request) {
          const log = stores.get(this);
          const stored =
            request.key === undefined ? undefined : log?.row(idempotencyKey(this.shard, request.key, this.generation));
          if (stored === undefined || this.role !== 'primary') return before.call(this, request);
          const { version, epoch, offset, created } = decodeOperation(stored);
          return Promise.resolve({
            kind: 'written',
            version,
            epoch,
            reign: 0,
            offset,
            created,
            durable: 1,
            indexed: true,
          });
        },
    ),
  ];
  return () => undos.reverse().forEach((undo) => undo());
}
