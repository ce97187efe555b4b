import { readAnswer } from '../../../platform/grpc/peer-answers.js';
import type { PeerChannels, PeerTarget } from '../../../platform/grpc/peer-channels.js';
import type { NodeRecord } from '../core/node-record.js';
import type {
  Exchange,
  Heartbeat,
  Introduction,
  JoinAnswer,
  JoinRequest,
  MembershipPeers,
} from '../membership-peers.js';
import {
  MEMBERSHIP_SERVICE,
  readBeat,
  readExchangeAnswer,
  readIntroduction,
  readJoinAnswer,
  writeBeat,
  writeExchange,
  writeIntroduction,
  writeJoin,
} from '../membership.mapper.js';

export interface GrpcMembershipPeersOptions {
  readonly channels: PeerChannels;
  /** The id of the node that the view knows at an address: whoever answers there must be it. */
  readonly nodeIdAt: (address: string) => string | undefined;
}

const { introduce, join, heartbeat, exchange } = MEMBERSHIP_SERVICE.method;

/** MembershipPeers over the connections between nodes; all on control. */
export class GrpcMembershipPeers implements MembershipPeers {
  readonly #options: GrpcMembershipPeersOptions;

  constructor(options: GrpcMembershipPeersOptions) {
    this.#options = options;
  }

  /** Asks who is there, so nobody in particular is expected. */
  async introduce(address: string, self: Introduction, timeoutMs: number): Promise<Introduction> {
    const request = writeIntroduction(self);
    const answer = await this.#options.channels.unary({ address }, 'control', introduce, request, { timeoutMs });
    return readAnswer(() => readIntroduction(answer), address);
  }

  async join(address: string, request: JoinRequest, timeoutMs: number): Promise<JoinAnswer> {
    const answer = await this.#options.channels.unary({ address }, 'control', join, writeJoin(request), { timeoutMs });
    return readAnswer(() => readJoinAnswer(answer), address);
  }

  async heartbeat(address: string, beat: Heartbeat, timeoutMs: number): Promise<Heartbeat> {
    const target = this.#target(address);
    const answer = await this.#options.channels.unary(target, 'control', heartbeat, writeBeat(beat), { timeoutMs });
    return readAnswer(() => readBeat(answer), address);
  }

  async exchange(address: string, view: Exchange, timeoutMs: number): Promise<readonly NodeRecord[]> {
    const target = this.#target(address);
    const answer = await this.#options.channels.unary(target, 'control', exchange, writeExchange(view), { timeoutMs });
    return readAnswer(() => readExchangeAnswer(answer), address);
  }

  #target(address: string): PeerTarget {
    return { address, nodeId: this.#options.nodeIdAt(address) };
  }
}
