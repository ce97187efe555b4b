import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../kernel/bytes.js';
import { META_SHARD } from '../../kernel/ids.js';
import { compareVersions } from '../../kernel/version.js';
import { LevelLogStore } from '../../modules/log/adapters/level-log-store.js';
import { entryVersion } from '../../modules/log/core/entry-codec.js';
import { documentKeyParts, documentPrefix } from '../../modules/log/core/keys.js';
import { LOG_DIRECTORY } from '../../modules/log/log.module.js';
import {
  LogDamagedError,
  OffsetCompactedError,
  type Damage,
  type LogStore,
  type Row,
} from '../../modules/log/log-store.js';
import { looseEntry } from '../../modules/replication/loose-store.js';
import { MapService } from '../../modules/replication/map.service.js';
import { readIdentity } from '../../modules/replication/node-identity.js';
import { toSpec } from '../../modules/replication/collection-spec.js';
import { storedCounters } from '../../modules/replication/stored-copy.js';
import type { ClusterMap } from '../../modules/ring/core/map.js';
import { LiveDigest, liveTerm } from '../../modules/shard/core/digest.js';
import { decodeRow, liveDocuments, shardDigest } from '../../modules/shard/core/rows.js';
import { CHECKPOINT_DIRECTORY } from '../../modules/shard/shard.module.js';
import { ShardService } from '../../modules/shard/shard.service.js';
import { systemClock } from '../../platform/clock/system-clock.js';
import { nodeHasher } from '../../platform/crypto/node-hasher.js';
import type { ShardVerification, VerifyOptions, VerifyReport } from './verify-report.js';

const PAGE = 1_000;

/**
 * Walks the log, the document table and, with `rebuild`, the indexes of a stopped node. Writes nothing but what opening
 * the database writes. Rejects when the directory is in use or cannot be opened.
 */
export async function verifyDataDirectory(options: VerifyOptions): Promise<VerifyReport> {
  const { directory } = options;
  await access(join(directory, LOG_DIRECTORY)).catch((error: unknown) => {
    throw new Error(`${directory} is not the data directory of a node: it holds no ${LOG_DIRECTORY}/`, {
      cause: error,
    });
  });
  const problems: string[] = [];
  const log = await LevelLogStore.open({
    directory: join(directory, LOG_DIRECTORY),
    fsync: { kind: 'os' },
    hasher: nodeHasher,
    onFailure: (error) => problems.push(error.message),
    onWarning: (message) => problems.push(message),
  });
  try {
    const map = MapService.stored(log);
    const nodeUuid = readIdentity(log)?.nodeUuid;
    const node =
      nodeUuid === undefined ? undefined : map?.nodes.find((candidate) => candidate.nodeUuid === toHex(nodeUuid));
    if (map === undefined) problems.push('the directory holds no map: the node never finished its first start');
    const shards: ShardVerification[] = [];
    for (const shard of log.shards())
      if (shard !== META_SHARD) shards.push(await verifyLog(log, shard, map, problems, options));
    const meta = await log.scrub(META_SHARD, new AbortController().signal, 0);
    for (const { offset, problem } of meta.damages)
      problems.push(`the log of the map is damaged at offset ${offset}: ${problem}`);
    if (options.rebuild && map !== undefined) await rebuildAll(log, map, shards, options);
    return { directory, ...(node === undefined ? {} : { nodeId: node.nodeId }), shards, problems };
  } finally {
    await log.close();
  }
}

async function verifyLog(
  log: LogStore,
  shard: number,
  map: ClusterMap | undefined,
  problems: string[],
  options: VerifyOptions,
): Promise<ShardVerification> {
  const { tail, start } = log.state(shard);
  options.onProgress({ shard, phase: 'log', done: 0, total: tail });
  const scrubbed = await log.scrub(shard, new AbortController().signal, 0);
  const damages: Damage[] = [...log.openDamages().filter((damage) => damage.shard === shard), ...scrubbed.damages];
  damages.push(...(await verifyTable(log, shard, map, problems)));
  options.onProgress({ shard, phase: 'log', done: tail, total: tail });
  return {
    shard,
    entries: scrubbed.entries,
    bytes: scrubbed.bytes,
    tail,
    start: start.offset,
    documents: liveDocuments(storedCounters(log, shard)),
    damages: distinct(damages).map(({ offset, problem }) => ({ offset, problem })),
  };
}

/** Every row points at an entry of its own version, and the rows add up to the counters kept with them. */
async function verifyTable(
  log: LogStore,
  shard: number,
  map: ClusterMap | undefined,
  problems: string[],
): Promise<Damage[]> {
  const known = new Set(map?.collections.map((collection) => collection.id));
  const digest = new LiveDigest();
  const damages: Damage[] = [];
  let live = 0;
  for await (const row of rowsOf(log, documentPrefix(log.state(shard).generation, shard))) {
    const { collectionId, id } = documentKeyParts(row.key);
    // Rows of a dropped collection wait to be deleted, and count no more.
    if (!known.has(collectionId)) continue;
    const { version, offset, tombstone, loose } = decodeRow(row.value);
    const fits = (entry: Uint8Array): boolean => compareVersions(entryVersion(entry), version) === 0;
    const damage = loose
      ? checkLoose(shard, offset, looseEntry(log, shard, collectionId, id), fits)
      : checkEntry(log, shard, offset, fits);
    if (damage !== undefined) damages.push(damage);
    if (tombstone) continue;
    live++;
    digest.add(liveTerm(nodeHasher, collectionId, id, version));
  }
  const counters = storedCounters(log, shard);
  if (live !== liveDocuments(counters))
    problems.push(`shard ${shard} counts ${liveDocuments(counters)} live documents, and its table holds ${live}`);
  if (toHex(digest.bytes()) !== toHex(shardDigest(counters)))
    problems.push(`the live digest of shard ${shard} is not that of its table`);
  return damages;
}

/** The entry of a loose row is in the side store (replication 6.4). */
function checkLoose(
  shard: number,
  offset: number,
  entry: Uint8Array | undefined,
  fits: (entry: Uint8Array) => boolean,
): Damage | undefined {
  if (entry === undefined) return { shard, offset, problem: 'missing' };
  return fits(entry) ? undefined : { shard, offset, problem: 'misplaced' };
}

function checkEntry(
  log: LogStore,
  shard: number,
  offset: number,
  fits: (entry: Uint8Array) => boolean,
): Damage | undefined {
  try {
    return fits(log.readSync(shard, offset)) ? undefined : { shard, offset, problem: 'misplaced' };
  } catch (error) {
    if (error instanceof LogDamagedError) return error.damage;
    if (error instanceof OffsetCompactedError) return { shard, offset, problem: 'missing' };
    throw error;
  }
}

async function* rowsOf(log: LogStore, prefix: Uint8Array): AsyncGenerator<Row> {
  let after: Uint8Array | undefined;
  for (;;) {
    const page = await log.rows(prefix, after, PAGE);
    yield* page;
    if (page.length < PAGE) return;
    after = page[page.length - 1].key;
  }
}

/** The index a node would load, compared with one made from the log alone. */
async function rebuildAll(
  log: LogStore,
  map: ClusterMap,
  shards: ShardVerification[],
  options: VerifyOptions,
): Promise<void> {
  const service = new ShardService({
    log,
    hasher: nodeHasher,
    clock: systemClock,
    directory: join(options.directory, CHECKPOINT_DIRECTORY),
    threads: 0,
    spaceFor: () => false,
    report: () => undefined,
  });
  try {
    for (const [at, verification] of shards.entries()) {
      const { shard, tail, damages } = verification;
      if (damages.length > 0) continue;
      options.onProgress({ shard, phase: 'rebuild', done: 0, total: tail });
      const startedMs = performance.now();
      await service.open(shard, map.collections.map(toSpec));
      const { offset, documents, searches, differences } = await service.verify(shard);
      options.onProgress({ shard, phase: 'rebuild', done: tail, total: tail });
      shards[at] = {
        ...verification,
        rebuild: { offset, documents, searches, differences, ms: performance.now() - startedMs },
      };
    }
  } finally {
    await service.close(false);
  }
}

function distinct(damages: readonly Damage[]): readonly Damage[] {
  return [...new Map(damages.map((damage) => [damage.offset, damage])).values()].sort((a, b) => a.offset - b.offset);
}
