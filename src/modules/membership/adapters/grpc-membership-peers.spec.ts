import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { toBinary } from '@bufbuild/protobuf';
import { HeartbeatRequestSchema, HeartbeatResponseSchema } from '../../../gen/spector/peer/v1/membership_pb.js';
import { NodeError } from '../../../kernel/errors.js';
import { systemClock } from '../../../platform/clock/system-clock.js';
import { systemRandom } from '../../../platform/clock/system-random.js';
import { NodeGrpcServer } from '../../../platform/grpc/node-grpc-server.js';
import { PeerAuth } from '../../../platform/grpc/peer-auth.js';
import { PeerChannels } from '../../../platform/grpc/peer-channels.js';
import { PeerCredentials } from '../../../platform/grpc/peer-credentials.js';
import { createLogger } from '../../../platform/logging/logger.js';
import { INCARNATION_MAX, type NodeRecord } from '../core/node-record.js';
import type { Exchange, Heartbeat, Introduction, JoinAnswer, MembershipServer } from '../membership-peers.js';
import { MEMBERSHIP_SERVICE, writeBeat, writeBeatAnswer } from '../membership.mapper.js';
import { GrpcMembershipPeers } from './grpc-membership-peers.js';
import { membershipHandlers } from './grpc-membership-server.js';

const log = createLogger({ level: 'silent', format: 'json', nodeId: 'n' });

function record(nodeId: string, digit: string): NodeRecord {
  return {
    nodeId,
    nodeUuid: digit.repeat(32),
    incarnation: INCARNATION_MAX,
    status: 'SUSPECT',
    grpcAddress: `${nodeId}:9090`,
    httpAddress: `${nodeId}:7070`,
    version: '1.2.3',
    protocolMin: 1,
    protocolMax: 2,
  };
}

const self = record('node-1', '1');
const other = record('node-2', '2');
const beat: Heartbeat = {
  clusterId: 'c',
  self,
  load: { diskFreeBytes: 2 ** 40, diskTotalBytes: 2 ** 41, wallMs: 1_790_000_000_000 },
  viewDigest: 'abc',
  mapEpoch: 3,
  positions: new Uint8Array([1, 2, 3]),
  heard: [{ nodeUuid: other.nodeUuid, agoMs: 12 }],
};
const introduction: Introduction = {
  nodeId: 'node-1',
  nodeUuid: self.nodeUuid,
  bootCount: 2,
  clusterId: '',
  provisional: true,
  bootstrappedMs: 1_790_000_000_000,
  protocolMin: 1,
  protocolMax: 1,
  version: '1.2.3',
  grpcAddress: 'node-1:9090',
};
const view: Exchange = { clusterId: 'c', from: self.nodeUuid, viewDigest: 'abc', records: [self, other] };

describe('members over gRPC', () => {
  let server: NodeGrpcServer;
  let channels: PeerChannels;
  let peers: GrpcMembershipPeers;
  let address: string;
  let nodeIdAt: string | undefined;
  let asked: unknown[];
  let joinAnswer: JoinAnswer;

  const members: MembershipServer = {
    onIntroduce: (introduced) => {
      asked.push(introduced);
      return { ...introduced, nodeId: 'node-2', clusterId: 'c', provisional: false };
    },
    onJoin: async (request) => {
      asked.push(request);
      return joinAnswer;
    },
    onHeartbeat: (heard) => {
      asked.push(heard);
      if (heard.viewDigest === 'refuse') throw new NodeError('STARTING', 'not yet');
      return { ...heard, self: other };
    },
    onExchange: (exchange) => {
      asked.push(exchange);
      return exchange.records;
    },
  };

  beforeEach(async () => {
    asked = [];
    nodeIdAt = 'node-2';
    const options = {
      nodeId: 'node-2',
      security: { kind: 'open' },
      clusterId: () => 'c',
      clock: systemClock,
      log,
    } as const;
    server = new NodeGrpcServer({ host: '127.0.0.1', port: 0, services: [], drainTimeoutMs: 50, log });
    const auth = new PeerAuth({ ...options, refused: () => undefined });
    server.addPeerService(
      MEMBERSHIP_SERVICE,
      membershipHandlers(members, () => undefined),
      auth,
    );
    expect(await new Promise((resolve) => void server.listen(resolve))).toBeUndefined();
    address = `127.0.0.1:${server.port}`;
    const own = { ...options, nodeId: 'node-1', nodeUuid: self.nodeUuid, random: systemRandom };
    channels = new PeerChannels({ credentials: new PeerCredentials(own), clock: systemClock, log });
    peers = new GrpcMembershipPeers({ channels, nodeIdAt: () => nodeIdAt });
  });

  afterEach(async () => {
    channels.close();
    await server.close();
  });

  it('say everything in the words of the core', async () => {
    const introduced = await peers.introduce(address, introduction, 2_000);
    expect(introduced).toEqual({ ...introduction, nodeId: 'node-2', clusterId: 'c', provisional: false });
    const answers: JoinAnswer[] = [
      { kind: 'joined', clusterId: 'c', records: [self, other] },
      { kind: 'later', detail: 'no majority' },
      { kind: 'refused', reason: 'DUPLICATE_NODE_ID', detail: 'node-1 is taken' },
    ];
    const join = { record: self, bootCount: 2 };
    for (joinAnswer of answers) expect(await peers.join(address, join, 2_000)).toEqual(joinAnswer);
    expect(await peers.heartbeat(address, beat, 2_000)).toEqual({ ...beat, self: other });
    expect(await peers.exchange(address, view, 2_000)).toEqual([self, other]);
    expect(asked).toEqual([introduction, join, join, join, beat, view]);
  });

  it('are heard only where packets of any size pass', () => {
    expect(toBinary(HeartbeatRequestSchema, writeBeat(beat)).length).toBeGreaterThan(9_000);
    expect(toBinary(HeartbeatResponseSchema, writeBeatAnswer(beat)).length).toBeGreaterThan(9_000);
  });

  it('are refused with a code', async () => {
    await expect(peers.heartbeat(address, { ...beat, viewDigest: 'refuse' }, 2_000)).rejects.toMatchObject({
      reason: 'REJECTED',
      code: 'STARTING',
    });
    nodeIdAt = 'node-5';
    await expect(peers.heartbeat(address, beat, 2_000)).rejects.toMatchObject({ code: 'WRONG_NODE' });
  });

  it('speak for themselves only', async () => {
    const refused = { reason: 'REJECTED', code: 'FORBIDDEN' };
    await expect(peers.introduce(address, { ...introduction, nodeId: 'node-2' }, 2_000)).rejects.toMatchObject(refused);
    await expect(peers.join(address, { record: other, bootCount: 1 }, 2_000)).rejects.toMatchObject(refused);
    await expect(peers.heartbeat(address, { ...beat, self: other }, 2_000)).rejects.toMatchObject(refused);
    await expect(peers.exchange(address, { ...view, from: other.nodeUuid }, 2_000)).rejects.toMatchObject(refused);
    expect(asked).toEqual([]);
  });
});
