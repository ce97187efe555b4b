import { beforeEach, describe, expect, it } from '@jest/globals';
import type { PeerError } from '../../../src/kernel/peer.js';
import type { FollowerMessage, PrimaryMessage, ShardLeader } from '../../../src/modules/replication/core/protocol.js';
import type { Link, LinkEvents } from '../../../src/kernel/link.js';
import { Network } from './network.js';
import type { ReplicaNode } from './node.js';
import { SimProcess } from './process.js';
import { Scheduler } from './scheduler.js';
import { SeededRandom } from './seeded-random.js';

const OFFER: FollowerMessage = { kind: 'offer', offer: { entries: [new Uint8Array(40_000)], last: false, branch: [] } };
const leader: ShardLeader = { shard: 1, epoch: { num: 1, uuid: new Uint8Array(16) }, node: 'b' };

/** What the two ends of a stream and of questions saw. */
class Ends {
  readonly received: string[] = [];
  link: Link<PrimaryMessage> | undefined;
  announced = 0;

  node(name: string): ReplicaNode {
    const unused = () => Promise.reject(new Error('not asked for'));
    return {
      membership: undefined,
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      write: unused,
      inspect: () => undefined,
      view: () => undefined,
      replicas: {
        onFollow: (_from, _shard, link): LinkEvents<FollowerMessage> => {
          this.link = link;
          return {
            message: (message) => this.received.push(`${name} ${message.kind}`),
            ended: (error) => this.received.push(`${name} ended ${(error as PeerError | undefined)?.reason ?? ''}`),
          };
        },
        onFence: unused,
        onProbe: () => Promise.resolve({ alive: true }),
        onPull: unused,
        onFetch: unused,
        onCovers: unused,
        onAnnounce: () => {
          this.announced++;
        },
      },
    };
  }
}

describe('the network', () => {
  let scheduler: Scheduler;
  let network: Network;
  let ends: Ends;
  let a: SimProcess;
  let b: SimProcess;

  const hardware = { wallOffsetMs: 0, rate: 1, monotonicOffsetMs: 0 };
  const probe = async () => {
    const answered = network
      .replicaPeers(a, 'a')
      .probe('b', { shard: 1, epoch: leader.epoch }, 1_000)
      .then(
        ({ alive }) => String(alive),
        (error: unknown) => (error as PeerError).reason,
      );
    await scheduler.run(scheduler.nowMs + 1_500);
    return answered;
  };
  const follow = () =>
    network.replicaPeers(a, 'a').follow('b', 1, {
      message: (message) => ends.received.push(`a ${message.kind}`),
      ended: (error) => ends.received.push(`a ended ${(error as PeerError | undefined)?.reason ?? ''}`),
    });

  beforeEach(() => {
    const fail = (_process: unknown, error: unknown) => {
      throw error;
    };
    scheduler = new Scheduler(new SeededRandom(1), fail);
    network = new Network({
      scheduler,
      random: new SeededRandom(2),
      tap: { answered: () => undefined, streamed: () => undefined },
      note: () => undefined,
      count: () => undefined,
      onError: fail,
    });
    ends = new Ends();
    a = new SimProcess(1, 'a', scheduler, hardware);
    b = new SimProcess(2, 'b', scheduler, hardware);
    network.attach({ process: a, nodeUuid: 'a', node: ends.node('a') });
    network.attach({ process: b, nodeUuid: 'b', node: ends.node('b') });
  });

  it('carries a question and its answer', async () => {
    expect(await probe()).toBe('true');
  });

  it('refuses at once where no process is, and resets who waits for one that dies', async () => {
    b.pause();
    const waiting = probe();
    scheduler.in(500, undefined, () => {
      b.kill();
      network.detach(b);
    });
    expect(await waiting).toBe('RESET');
    const before = scheduler.nowMs;
    expect(await probe()).toBe('REFUSED');
    expect(scheduler.nowMs - before).toBeLessThanOrEqual(1_500);
  });

  it('is silent over a blocked direction, either one, and behind a pause', async () => {
    network.block('a', 'b');
    expect(await probe()).toBe('TIMEOUT');
    network.unblock('a', 'b');
    network.block('b', 'a');
    expect(await probe()).toBe('TIMEOUT');
    network.unblock('b', 'a');
    b.pause();
    expect(await probe()).toBe('TIMEOUT');
    b.resume();
    expect(await probe()).toBe('true');
  });

  it('doubles, loses and breaks questions as told', async () => {
    const { faults } = network.path('a', 'b');
    faults.duplicateRate = 1;
    network.replicaPeers(a, 'a').announce(leader);
    await scheduler.run(scheduler.nowMs + 100);
    expect(ends.announced).toBe(2);
    faults.duplicateRate = 0;
    faults.dropRate = 1;
    expect(await probe()).toBe('TIMEOUT');
    faults.dropRate = 0;
    faults.resetRate = 1;
    expect(await probe()).toBe('RESET');
  });

  it('keeps the order of a stream, through a short blockade as well', async () => {
    network.path('a', 'b').faults.delayMaxMs = 300;
    const link = follow();
    for (let i = 0; i < 5; i++) link.send({ kind: 'ack', ack: { ...ACK, durableOffset: i } });
    link.send(OFFER);
    network.block('a', 'b');
    await scheduler.run(scheduler.nowMs + 1_000);
    expect(ends.received).toEqual([]);
    network.unblock('a', 'b');
    await scheduler.run(scheduler.nowMs + 2_000);
    expect(ends.received).toEqual([...Array<string>(5).fill('b ack'), 'b offer']);
  });

  it('gives a stream up that stays blocked, and tells both ends', async () => {
    follow().send(OFFER);
    await scheduler.run(scheduler.nowMs + 100);
    network.block('b', 'a');
    await scheduler.run(scheduler.nowMs + 5_000);
    expect(ends.received.slice(1).sort()).toEqual(['a ended RESET', 'b ended RESET']);
  });

  it('ends the stream of a process that dies, behind what it had sent', async () => {
    follow().send(OFFER);
    await scheduler.run(scheduler.nowMs + 100);
    ends.link?.send({ kind: 'answer', answer: { kind: 'accept', epoch: leader.epoch, from: 1 } });
    b.kill();
    network.detach(b);
    await scheduler.run(scheduler.nowMs + 100);
    expect(ends.received).toEqual(['b offer', 'a answer', 'a ended RESET']);
  });

  it('closes a stream in order', async () => {
    const link = follow();
    link.send(OFFER);
    link.close();
    await scheduler.run(scheduler.nowMs + 100);
    expect(ends.received).toEqual(['b offer', 'b ended ']);
  });

  it('holds a sender back whose messages wait, until they are taken', async () => {
    const link = follow();
    b.pause();
    let room = true;
    for (let i = 0; i < 5 && room; i++) room = link.send(OFFER);
    expect(room).toBe(false);
    let drained = false;
    void link.drained().then(() => {
      drained = true;
    });
    await scheduler.run(scheduler.nowMs + 500);
    expect(drained).toBe(false);
    b.resume();
    await scheduler.run(scheduler.nowMs + 500);
    expect(drained).toBe(true);
  });

  it('lets only plain values travel, and shares none of them', async () => {
    const peers = network.replicaPeers(a, 'a');
    const bytes = new Uint8Array(16);
    const seen: ShardLeader[] = [];
    network.attach({
      process: b,
      nodeUuid: 'b',
      node: {
        ...ends.node('b'),
        replicas: { ...ends.node('b').replicas, onAnnounce: (_from, heard) => void seen.push(heard) },
      },
    });
    peers.announce({ ...leader, epoch: { num: 1, uuid: bytes } });
    await scheduler.run(scheduler.nowMs + 100);
    bytes[0] = 1;
    expect(seen[0].epoch.uuid[0]).toBe(0);
    expect(() => follow().send({ kind: 'ack', ack: new Map() } as never)).toThrow('plain values');
  });
});

const ACK = { durableOffset: 0, appliedOffset: 0, chain: new Uint8Array(16), creditBytes: 0 };
