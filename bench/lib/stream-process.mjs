/**
 * One end of a replication stream, in a process of its own: the node's copy of one shard (ShardReplica with its feed and
 * its receiver), its log on disk with syncs, and its connection to the other end, and nothing else of a node; entries
 * are not indexed. Forked by `streamBetween` with a role and a build.
 */
import { fork } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { threadCpu, cpuSince } from './process-stats.mjs';

const PROFILER = new URL('./profiler-preload.mjs', import.meta.url).href;
/** A profile is written a moment after it was asked for. */
const PROFILE_MS = 3_000;
const SHARD = 0;
const UUIDS = { primary: 'a1'.repeat(16), follower: 'f1'.repeat(16) };
const WRITE_TURN = 2_000;
const TICK_MS = 100;
const WAIT_MS = 120_000;
const CONTENT_BYTES = 130;
const DIMENSIONS = 128;

/**
 * Streams `entries` fresh entries of documents (128 dimensions and 20 words, about 900 bytes) from one process to another.
 * @param {{ main: string, entries: number, directories: readonly [string, string], profile?: boolean }} settings `directories` of the primary and the follower; with `profile` each will hold one
 */
export async function streamBetween({ main, entries, directories, profile = false }) {
  const ends = /** @type {const} */ (['primary', 'follower']).map((role, i) => {
    const child = fork(fileURLToPath(import.meta.url), [role, dirname(main), directories[i]], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, BENCH_PROFILE_DIRECTORY: directories[i] },
      execArgv: profile ? ['--import', PROFILER] : [],
    });
    /** @param {object} message @returns {Promise<any>} */
    const ask = (message) =>
      new Promise((resolve, reject) => {
        child.once('message', resolve);
        child.once('exit', (code) => reject(new Error(`the ${role} ended with ${code}`)));
        child.send(message);
      });
    return { child, ask, pid: /** @type {number} */ (child.pid) };
  });
  const [primary, follower] = ends;
  try {
    const { port, bytes, leader } = await primary.ask({ kind: 'write', entries });
    if (profile) await profiled(ends);
    const cpu = ends.map(({ pid }) => threadCpu(pid));
    const startedMs = performance.now();
    const { streamedMs } = await follower.ask({ kind: 'follow', port, leader, entries: entries + 1 });
    const wholeMs = performance.now() - startedMs;
    const [sender, receiver] = ends.map(({ pid }, i) => cpuSince(pid, cpu[i]));
    if (profile) await profiled(ends);
    return { streamedMs, wholeMs, bytes, sender, receiver };
  } finally {
    for (const { child } of ends) child.kill('SIGKILL');
  }
}

/** Begins or ends a profile of each. @param {readonly { child: import('node:child_process').ChildProcess }[]} ends */
async function profiled(ends) {
  for (const { child } of ends) child.kill('SIGUSR2');
  await new Promise((resolve) => setTimeout(resolve, PROFILE_MS));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve();

async function serve() {
  const [, , role, build, directory] = process.argv;
  const load = (/** @type {string} */ file) => import(pathToFileURL(join(build, file)).href);
  const [
    levels,
    replicas,
    { systemClock },
    { systemRandom },
    { systemTimers },
    { nodeHasher },
    { BulkPlaces },
    { TurnShare },
    paces,
    grpc,
  ] = await Promise.all([
    load('modules/log/adapters/level-log-store.js'),
    load('modules/replication/shard-replica.js'),
    load('platform/clock/system-clock.js'),
    load('platform/clock/system-random.js'),
    load('platform/clock/system-timers.js'),
    load('platform/crypto/node-hasher.js'),
    load('modules/replication/bulk-places.js'),
    load('modules/replication/turn-share.js'),
    load('modules/replication/core/move-pace.js'),
    connections(load),
  ]);
  process.once('disconnect', () => process.exit());
  const self = role === 'primary' ? UUIDS.primary : UUIDS.follower;
  const other = role === 'primary' ? UUIDS.follower : UUIDS.primary;
  const log = await levels.LevelLogStore.open({
    directory: join(directory, 'log'),
    fsync: { kind: 'always' },
    hasher: nodeHasher,
    onFailure: (/** @type {Error} */ error) => {
      throw error;
    },
    onWarning: (/** @type {string} */ text) => console.error(text),
  });
  let known = false;
  let applied = 0;
  const facts = () => ({
    live: true,
    gone: false,
    refused: false,
    heardMs: systemClock.monotonicMs(),
    reluctant: false,
    full: false,
    position: undefined,
  });
  const peers = grpc.peers(self);
  /** @type {import('../../src/modules/replication/replica-ports.js').ReplicaPorts} */
  const ports = {
    log,
    hasher: nodeHasher,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    times: { heartbeatMs: 2_000, failoverAfterMs: 6_000 },
    index: {
      apply: (entries) => Promise.resolve((applied += entries.length)),
      rewind: () => Promise.resolve(),
      rebuild: () => Promise.resolve(),
    },
    peers,
    view: () => ({
      get: (/** @type {string} */ node) => (known && node === other ? facts() : undefined),
      nodes: () => (known ? [other] : []),
    }),
    plan: () => ({
      configured: { mapEpoch: 1, members: [UUIDS.primary] },
      leaving: false,
      epochFloor: 0,
      room: 'upserts',
      isDropped: () => false,
    }),
    bulk: new BulkPlaces(),
    moves: new paces.MovePace(Number.MAX_VALUE),
    turns: new TurnShare(systemClock, systemTimers),
    report: {
      map: () => undefined,
      sweep: () => undefined,
      fault: (/** @type {Error} */ error) => {
        throw error;
      },
      durable: () => undefined,
      role: () => undefined,
      held: () => undefined,
      received: () => undefined,
      streamed: () => undefined,
      resumed: () => undefined,
      broken: () => undefined,
    },
  };
  const replica = await replicas.ShardReplica.open(SHARD, self, 1, 0, ports);
  setInterval(() => replica.tick(), TICK_MS);
  process.on('message', (/** @type {any} */ message) => {
    (message.kind === 'write' ? write(message.entries) : follow(message)).then(
      (answer) => process.send?.(answer),
      (error) => {
        console.error(error);
        process.exit(1);
      },
    );
  });

  /** @param {number} entries */
  async function write(entries) {
    const { encodeDocument } = await load('modules/shard/core/document-codec.js');
    await until(() => replica.role === 'primary');
    for (let done = 0; done < entries;) {
      const turn = [];
      for (; done < entries && turn.length < WRITE_TURN; done++) {
        const vector = Float32Array.from({ length: DIMENSIONS }, (_, i) => Math.sin(done * 31 + i));
        const payload = encodeDocument({
          title: `document ${done}`,
          content: 'word '.repeat(CONTENT_BYTES / 5),
          vector,
          metadata: { number: done },
        });
        turn.push(replica.write({ op: 'UPSERT', collectionId: 1, id: `d${done}`, payload, level: 'one' }));
      }
      for (const outcome of await Promise.all(turn))
        if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
    }
    known = true;
    return { port: await grpc.serve(replica), bytes: log.state(SHARD).bytes, leader: replica.leader };
  }

  /** @param {{ port: number, leader: any, entries: number }} message */
  async function follow({ port, leader, entries }) {
    known = true;
    peers.at(port);
    const epoch = { num: leader.epoch.num, uuid: Uint8Array.from(Object.values(leader.epoch.uuid)) };
    replica.announced({ ...leader, epoch });
    replica.tick();
    await until(() => replica.position.tail > 0);
    const startedMs = performance.now();
    await until(() => replica.position.durable >= entries);
    return { streamedMs: performance.now() - startedMs };
  }
}

/** @param {() => boolean} done */
async function until(done) {
  const deadline = performance.now() + WAIT_MS;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`${done} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The node's connections, without security. @param {(file: string) => Promise<any>} load */
async function connections(load) {
  const [
    server,
    auths,
    channelses,
    credentialses,
    loggers,
    peerses,
    handlers,
    mapper,
    { systemClock },
    { systemRandom },
  ] = await Promise.all([
    load('platform/grpc/node-grpc-server.js'),
    load('platform/grpc/peer-auth.js'),
    load('platform/grpc/peer-channels.js'),
    load('platform/grpc/peer-credentials.js'),
    load('platform/logging/logger.js'),
    load('modules/replication/adapters/grpc-replica-peers.js'),
    load('modules/replication/adapters/grpc-replica-server.js'),
    load('modules/replication/replica.mapper.js'),
    load('platform/clock/system-clock.js'),
    load('platform/clock/system-random.js'),
  ]);
  const log = loggers.createLogger({ level: 'warn', format: 'json', nodeId: 'bench' });
  const open = { kind: 'open' };
  const clusterId = () => 'bench';
  return {
    /** The way to the other end, once it is told where that is. @param {string} self */
    peers: (self) => {
      /** @type {{ address: string, nodeId: string } | undefined} */
      let target;
      const credentials = new credentialses.PeerCredentials({
        nodeId: 'follower',
        nodeUuid: self,
        clusterId,
        security: open,
        clock: systemClock,
        random: systemRandom,
      });
      const peers = new peerses.GrpcReplicaPeers({
        channels: new channelses.PeerChannels({ credentials, clock: systemClock, log }),
        resolve: () => target,
        others: () => [],
      });
      return Object.assign(peers, {
        at: (/** @type {number} */ port) => {
          target = { address: `127.0.0.1:${port}`, nodeId: 'primary' };
        },
      });
    },
    /** @param {any} replica @returns {Promise<number>} the port */
    serve: async (replica) => {
      const auth = new auths.PeerAuth({
        nodeId: 'primary',
        security: open,
        clusterId,
        clock: systemClock,
        log,
        refused: () => undefined,
      });
      const grpc = new server.NodeGrpcServer({ host: '127.0.0.1', port: 0, services: [], drainTimeoutMs: 50, log });
      const no = () => {
        throw new Error('nobody asks that here');
      };
      grpc.addPeerService(
        mapper.REPLICA_SERVICE,
        handlers.replicaHandlers(
          {
            onFollow: (/** @type {string} */ from, /** @type {number} */ _shard, /** @type {any} */ link) =>
              replica.onFollow(from, link),
            onFence: no,
            onProbe: no,
            onPull: no,
            onAnnounce: () => undefined,
          },
          () => undefined,
        ),
        auth,
      );
      const problem = await new Promise((resolve) => void grpc.listen(resolve));
      if (problem !== undefined) throw problem;
      return grpc.port;
    },
  };
}
