import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.mjs';
import { BenchNode, freshDirectory, removeDirectory } from './node.mjs';

const SETTLE_MS = 120_000;
const SETTLE_POLL_MS = 50;
const ASK_MS = 10_000;

/** The shard count of the cluster benches, unless --shards says otherwise. */
export const CLUSTER_SHARDS = 9;

/**
 * @typedef {object} ClusterSettings
 * @property {string} main the node's main file
 * @property {number} nodes
 * @property {number} shards
 * @property {number} replicas copies beside the primary
 * @property {number} threads index threads of each node
 * @property {string | undefined} dataRoot
 * @property {boolean} [profile]
 * @property {Record<string, string>} [environment] further settings, without SPECTOR_
 */

/**
 * What the options say of a cluster; `own` is what its bench wants.
 * @param {Pick<import('../run.mjs').Context, 'options' | 'given'>} context
 * @param {Pick<ClusterSettings, 'nodes' | 'replicas'> & Partial<ClusterSettings>} own
 * @returns {ClusterSettings}
 */
export function clusterSettings({ options, given }, { shards = CLUSTER_SHARDS, ...own }) {
  return {
    main: options.main,
    shards: given.has('shards') ? options.shards[0] : shards,
    threads: options.threads[0],
    dataRoot: options.dataRoot,
    profile: options.profile,
    ...own,
  };
}

/** One node of a cluster: the same name, ports and directory over all its processes. */
export class BenchMember {
  /** @type {BenchNode | undefined} */
  #node;

  /** @param {string} nodeId @param {string} directory @param {Omit<Parameters<typeof BenchNode.start>[0], 'directory'>} settings */
  constructor(nodeId, directory, settings) {
    this.nodeId = nodeId;
    this.directory = directory;
    this.settings = settings;
  }

  /** Its process. @throws when there is none */
  get node() {
    if (this.#node === undefined) throw new Error(`${this.nodeId} does not run`);
    return this.#node;
  }

  get running() {
    return this.#node !== undefined;
  }

  /** Starts it, for the first time or again; resolves when it listens. */
  async start() {
    this.#node = await BenchNode.start({ directory: this.directory, ...this.settings });
    return this.#node;
  }

  async kill() {
    const { node } = this;
    this.#node = undefined;
    await node.kill();
  }

  async stop() {
    const { node } = this;
    this.#node = undefined;
    return node.stop();
  }

  /** The answer of /api/v1/status. @returns {Promise<any>} */
  async status() {
    const { status, body } = await this.node.call('GET', '/api/v1/status', undefined, { timeoutMs: ASK_MS });
    if (status !== 200) throw new Error(`${this.nodeId}: the status was answered ${status}`);
    return body;
  }
}

/** Nodes of one cluster on this machine. */
export class BenchCluster {
  #member;

  /** @param {BenchMember[]} members @param {(nodeId: string, grpcPort: number) => Promise<BenchMember>} member makes another one */
  constructor(members, member) {
    this.members = members;
    this.#member = member;
  }

  /** One more node, with the same settings; it does not run yet. @param {string} nodeId */
  async add(nodeId) {
    const member = await this.#member(nodeId, await freePort());
    this.members.push(member);
    return member;
  }

  /**
   * Starts all nodes and waits until they are one cluster with every copy in sync and every shard led where the map would
   * have it: a copy must have been in sync for 30 s before its node is preferred.
   * @param {ClusterSettings} settings
   */
  static async start({ main, nodes, shards, replicas, threads, dataRoot, profile = false, environment = {} }) {
    const names = Array.from({ length: nodes }, (_, i) => `node-${i + 1}`);
    /** @type {number[]} */
    const grpcPorts = [];
    for (const _ of names) grpcPorts.push(await freePort());
    /** @param {string} nodeId @param {number} grpcPort */
    const member = async (nodeId, grpcPort) =>
      new BenchMember(nodeId, freshDirectory(dataRoot), {
        main,
        shards,
        threads,
        profile,
        environment: {
          NODE_ID: nodeId,
          PORT: String(await freePort()),
          GRPC_PORT: String(grpcPort),
          ADVERTISE: `127.0.0.1:${grpcPort}`,
          CLUSTER_MODE: 'on',
          SEEDS: grpcPorts.map((port) => `127.0.0.1:${port}`).join(','),
          REPLICA_COUNT: String(replicas),
          ...environment,
        },
      });
    const members = [];
    for (const [i, nodeId] of names.entries()) members.push(await member(nodeId, grpcPorts[i]));
    const cluster = new BenchCluster(members, member);
    await Promise.all(members.map((one) => one.start()));
    await cluster.balanced();
    return cluster;
  }

  /** Members that run. */
  get living() {
    return this.members.filter(({ running }) => running);
  }

  get ports() {
    return this.living.map(({ node }) => node.port);
  }

  get pids() {
    return this.living.map(({ node }) => node.pid);
  }

  /**
   * Waits until the living nodes agree: one view, one map, every shard with a primary and as many copies in sync as the
   * map and the living nodes allow, at one offset.
   * @param {{ timeoutMs?: number, written?: boolean }} [options] `written`: documents are written meanwhile, and offsets differ
   * @returns {Promise<any>} the status
   */
  async settled({ timeoutMs = SETTLE_MS, written = false } = {}) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      /** @type {string | undefined} */
      let problem;
      /** @type {any[]} */
      let all = [];
      try {
        all = await Promise.all(this.living.map((member) => member.status()));
        for (const status of all) problem ??= unsettled(status, all[0], this.living.length, written);
      } catch (error) {
        problem = String(error);
      }
      if (problem === undefined) return all[0];
      for (const { node } of this.living) node.assertAlive();
      if (performance.now() > deadline) throw new Error(`not settled after ${timeoutMs} ms: ${problem}`);
      await sleep(SETTLE_POLL_MS);
    }
  }

  /** Waits until it is settled and every node leads as many shards as the others, but for one. */
  async balanced() {
    const deadline = performance.now() + SETTLE_MS;
    for (;;) {
      const status = await this.settled();
      const led = this.living.map(({ nodeId }) => ledBy(status, nodeId).length);
      if (Math.max(...led) - Math.min(...led) <= 1) return status;
      if (performance.now() > deadline)
        throw new Error(`the nodes lead ${led.join(', ')} shards after ${SETTLE_MS} ms`);
      await sleep(SETTLE_POLL_MS);
    }
  }

  /**
   * Waits until all copies of all shards have one digest. @param {number} [timeoutMs]
   * @returns {Promise<{ copies: number, different: number }>} `different`: copies that are not as their primary's when the time is over
   */
  async digests(timeoutMs = SETTLE_MS) {
    const deadline = performance.now() + timeoutMs;
    const [{ node }] = this.living;
    const { shardCount } = await this.living[0].status();
    for (;;) {
      let copies = 0;
      let different = 0;
      for (let shard = 0; shard < shardCount; shard++) {
        const { status, body } = await node.call('GET', `/api/v1/shards/${shard}/digest`, undefined, {
          timeoutMs: ASK_MS,
        });
        if (status !== 200) throw new Error(`the digest of shard ${shard} was answered ${status}`);
        copies += body.replicas.length;
        different += body.replicas.filter(
          (/** @type {any} */ replica) => replica.chain !== body.chain || replica.live !== body.live,
        ).length;
      }
      if (different === 0 || performance.now() > deadline) return { copies, different };
      await sleep(SETTLE_POLL_MS);
    }
  }

  /** Entries of all logs of each living node and how many of them its indexes hold. */
  positions() {
    return Promise.all(
      this.living.map(async (member) => {
        const samples = await member.node.metrics();
        const tail = samples.sum('spector_log_tail_offset');
        return {
          member,
          tail,
          applied: tail - samples.sum('spector_index_lag_entries'),
          documents: samples.sum('spector_shard_documents'),
        };
      }),
    );
  }

  /** Ends all nodes in good order, those first that lead nothing, and removes their directories. */
  async dispose() {
    for (const member of this.members) {
      if (member.running) await member.kill();
      removeDirectory(member.directory);
    }
  }
}

/** Entries and bytes that nodes sent one of their followers so far. @param {readonly BenchMember[]} members @param {string} nodeId of the follower */
export async function sentTo(members, nodeId) {
  let [entries, bytes] = [0, 0];
  for (const { node } of members) {
    const sent = (await node.metrics()).sentTo(nodeId);
    entries += sent.entries;
    bytes += sent.bytes;
  }
  return { entries, bytes };
}

/** Shards whose primary a node is. @param {any} status @param {string} nodeId @returns {number[]} */
export function ledBy(status, nodeId) {
  return status.shards
    .filter((/** @type {any} */ { primary }) => primary === nodeId)
    .map((/** @type {any} */ { shard }) => shard);
}

/** What is missing for a cluster to be settled in the eyes of one node. @param {any} status @param {any} first @param {number} active @param {boolean} written */
function unsettled(status, first, active, written) {
  if (status.status !== 'RUNNING' && !(status.status === 'DEGRADED' && active < 1 + status.replicaCount))
    return `${status.nodeId} is ${status.status}`;
  if (status.activeNodes !== active) return `${status.nodeId} sees ${status.activeNodes} active nodes of ${active}`;
  if (status.mapEpoch !== first.mapEpoch) return `${status.nodeId} has map ${status.mapEpoch}, not ${first.mapEpoch}`;
  if (status.viewDigest !== first.viewDigest) return `${status.nodeId} has another view`;
  const wanted = Math.min(1 + status.replicaCount, active);
  for (const { shard, primary, replicas } of status.shards) {
    if (primary === null) return `shard ${shard} has no primary`;
    const synced = replicas.filter((/** @type {any} */ { inSync, role }) => inSync && role !== 'learner');
    if (synced.length < wanted) return `shard ${shard} has ${synced.length} of ${wanted} copies in sync`;
    if (!written && new Set(synced.map((/** @type {any} */ { offset }) => offset)).size !== 1)
      return `the copies of shard ${shard} differ in offset`;
  }
  return undefined;
}
