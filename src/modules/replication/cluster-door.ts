import { fromUtf8, toHex, utf8 } from '../../kernel/bytes.js';
import type { Clock } from '../../kernel/clock.js';
import { NodeError } from '../../kernel/errors.js';
import { META_SHARD } from '../../kernel/ids.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Random } from '../../kernel/random.js';
import { nodeKey } from '../log/core/keys.js';
import type { LogStore } from '../log/log-store.js';
import type { ClusterRegistry, Registration } from '../membership/cluster-registry.js';
import type { NodeRecord } from '../membership/core/node-record.js';
import { liveDocuments } from '../shard/core/rows.js';
import { nodeByUuid } from '../ring/core/map.js';
import { mustRegister, wasRemoved } from '../ring/core/node-operations.js';
import type { ReplicationService } from './replication.service.js';

/** What a disk remembers of its cluster before it has the map. */
interface Belonging {
  readonly clusterId: string;
  /** Wall clock of the bootstrap, when this node made the cluster. */
  readonly bootstrappedMs: number;
}

const BELONGING = nodeKey('cluster');
/** What membership is told instead of an error that passes. */
const PASSING: ReadonlySet<string> = new Set([
  'STARTING',
  'SHARD_UNAVAILABLE',
  'NO_QUORUM',
  'OVERLOADED',
  'WRITE_OUTCOME_UNKNOWN',
]);

/** The map and the data directory, as membership needs them to let nodes in (replication 9.2). */
export class ClusterDoor implements ClusterRegistry {
  constructor(
    private readonly replication: ReplicationService,
    private readonly log: LogStore,
    private readonly clock: Clock,
    private readonly random: Random,
    /** `host:port` other nodes use for gRPC. */
    private readonly address: string,
  ) {}

  /** The cluster this disk belongs to; '' for none. */
  get clusterId(): string {
    const { map } = this.replication;
    return map.known ? map.current().clusterId : (this.#belonging()?.clusterId ?? '');
  }

  async create(): Promise<string> {
    const clusterId = uuidText(this.random.bytes(16));
    await this.#remember({ clusterId: '', bootstrappedMs: this.clock.wallMs() });
    await this.replication.openMap(true);
    await this.replication.found(clusterId, this.address);
    return clusterId;
  }

  async adopt(clusterId: string): Promise<void> {
    await this.#remember({ clusterId, bootstrappedMs: 0 });
  }

  async surrender(): Promise<void> {
    await this.replication.surrender();
    await this.log.append({ shard: META_SHARD, entries: [], rows: [{ key: BELONGING, value: undefined }] });
    await this.log.sync();
  }

  async register(record: NodeRecord, replaces: NodeUuid | undefined): Promise<Registration> {
    const { nodeId, nodeUuid, grpcAddress: address, protocolMin, protocolMax } = record;
    try {
      const { map } = this.replication;
      const node = { nodeId, nodeUuid, address, protocolMin, protocolMax };
      if (!mustRegister(map.current(), node)) return { kind: 'joined' };
      if (nodeByUuid(map.current(), nodeUuid) === undefined && wasRemoved(map.current(), nodeUuid)) {
        const detail = `"${nodeId}" was removed from the cluster; to take part again it starts with an empty data directory (keep this one if it was cut off before: what it alone acknowledged is there)`;
        return { kind: 'refused', detail };
      }
      // A node of the same name gives it up in the same change; `replaces` says that it answers no more.
      const holder = map.current().nodes.find((each) => each.nodeId === nodeId && each.nodeUuid !== nodeUuid);
      if (holder !== undefined && holder.nodeUuid !== replaces)
        return { kind: 'refused', detail: `the name "${nodeId}" belongs to another node` };
      await map.change({
        kind: 'register',
        node,
        ...(holder === undefined ? {} : { replaces: holder.nodeUuid }),
      });
      return { kind: 'joined' };
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      return { kind: PASSING.has(error.code) ? 'later' : 'refused', detail: error.message };
    }
  }

  standing(): { readonly provisional: boolean; readonly bootstrappedMs: number } {
    const { map, identity } = this.replication;
    const bootstrappedMs = this.#belonging()?.bootstrappedMs ?? 0;
    if (!map.known) return { provisional: false, bootstrappedMs };
    const empty = this.replication
      .localShards()
      .every(
        (shard) => this.replication.fault(shard) === undefined && liveDocuments(this.replication.counters(shard)) === 0,
      );
    return { provisional: map.current().nodes.length === 1 && identity.bootCount === 1 && empty, bootstrappedMs };
  }

  #belonging(): Belonging | undefined {
    const bytes = this.log.row(BELONGING);
    return bytes === undefined ? undefined : (JSON.parse(fromUtf8(bytes)) as Belonging);
  }

  async #remember(belonging: Belonging): Promise<void> {
    const value = utf8(JSON.stringify(belonging));
    await this.log.append({ shard: META_SHARD, entries: [], rows: [{ key: BELONGING, value }] });
    await this.log.sync();
  }
}

/** A random UUID (RFC 9562, version 4) of 16 random bytes. */
function uuidText(bytes: Uint8Array): string {
  const uuid = new Uint8Array(bytes);
  uuid[6] = (uuid[6] & 0x0f) | 0x40;
  uuid[8] = (uuid[8] & 0x3f) | 0x80;
  return toHex(uuid).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
