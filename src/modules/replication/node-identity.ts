import { fromHex, fromUtf8, toHex, utf8 } from '../../kernel/bytes.js';
import { UUID_BYTES } from '../../kernel/epoch.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import { nodeKey } from '../log/core/keys.js';
import { StorageFailedError, type LogStore } from '../log/log-store.js';

/** Who this disk is (replication 1.1). */
export interface NodeIdentity {
  /** 16 bytes, made with the data directory: a wiped disk is another replica. */
  readonly nodeUuid: Uint8Array;
  /** Starts of this data directory, this one included. */
  readonly bootCount: number;
  /** Who it was before it was retired, in hex: the map may still name that one under its node id. */
  readonly retired?: NodeUuid;
}

interface StoredIdentity {
  readonly nodeUuid: string;
  readonly bootCount: number;
  readonly retired?: NodeUuid;
}

const IDENTITY = nodeKey('identity');

/** Reads or makes the identity and counts this boot, synced before anything else happens (replication 1.1). */
export async function openIdentity(log: LogStore, random: Random): Promise<NodeIdentity> {
  const stored = readIdentity(log);
  return keep(log, {
    ...stored,
    nodeUuid: stored?.nodeUuid ?? random.bytes(UUID_BYTES),
    bootCount: (stored?.bootCount ?? 0) + 1,
  });
}

/** A new identity for a disk whose logs went back unintended: what it acknowledged under the old one may be gone (5.8). */
export async function retireIdentity(log: LogStore, random: Random): Promise<NodeIdentity> {
  const stored = readIdentity(log);
  return keep(log, {
    nodeUuid: random.bytes(UUID_BYTES),
    bootCount: 1,
    ...(stored === undefined ? {} : { retired: toHex(stored.nodeUuid) }),
  });
}

/** Resolves when it is on the disk. */
async function keep(log: LogStore, identity: NodeIdentity): Promise<NodeIdentity> {
  const value: StoredIdentity = { ...identity, nodeUuid: toHex(identity.nodeUuid) };
  await log.append({ shard: META_SHARD, entries: [], rows: [{ key: IDENTITY, value: utf8(JSON.stringify(value)) }] });
  await log.sync();
  return identity;
}

/** The identity a data directory holds, or undefined when it is new. */
export function readIdentity(log: LogStore): NodeIdentity | undefined {
  const bytes = log.row(IDENTITY);
  if (bytes === undefined) return undefined;
  const value = JSON.parse(fromUtf8(bytes)) as StoredIdentity;
  const nodeUuid = fromHex(value.nodeUuid);
  if (nodeUuid?.length !== UUID_BYTES)
    throw new StorageFailedError('the identity of this data directory cannot be read; restore a backup');
  const { bootCount, retired } = value;
  return { nodeUuid, bootCount, ...(retired === undefined ? {} : { retired }) };
}
