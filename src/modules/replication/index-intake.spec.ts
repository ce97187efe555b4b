import { beforeEach, describe, expect, it } from '@jest/globals';
import { PeerError } from '../../kernel/peer.js';
import type { CheckpointSource, OpenReport, ReceivedCheckpoint } from '../shard/shard-ports.js';
import { IndexIntake, type IndexIntakePorts } from './index-intake.js';
import type { ShardReplica } from './shard-replica.js';
import { ManualTime } from './testing/manual-time.js';

/** A copy of shard 0 that is built here, 10 000 entries behind, whose primary has a checkpoint at 8 000. */
class Node {
  readonly time = new ManualTime();
  tail = 10_000;
  /** What the primary told of its log. */
  told = 0;
  applied = 0;
  members = ['primary'];
  role: ShardReplica['role'] = 'follower';
  leader = 'primary';
  fault: Error | undefined;
  held = false;
  offset: number | undefined = 8_000;
  opened: OpenReport = { replayed: 2_000, fromCheckpoint: true, offset: 10_000 };
  /** What reading the index waits for. */
  read: () => Promise<void> = () => Promise.resolve();
  readonly asked: string[] = [];
  readonly said: string[] = [];
  copy = this.#copyOf();
  readonly intake: IndexIntake;

  constructor() {
    const logger = Object.fromEntries(
      ['info', 'warn', 'error'].map((level) => [level, (_: object, message: string) => this.said.push(message)]),
    );
    this.intake = new IndexIntake({
      replication: {
        self: 'self',
        localShards: () => [0],
        replica: () => this.copy,
        fault: () => this.fault,
        readIndex: async () => {
          this.asked.push('open');
          this.held = false;
          this.applied = this.opened.offset;
          await this.read();
          return this.opened;
        },
      },
      shards: {
        applied: () => this.applied,
        hold: () => void (this.held = true),
        release: () => void (this.held = false),
        receiveCheckpoint: (_shard, source, ahead) => this.#receive(source, ahead),
      },
      log: { state: () => ({ tail: this.tail }) as ReturnType<IndexIntakePorts['log']['state']> },
      peers: {
        checkpoint: async (to) => {
          this.asked.push(to);
          if (this.offset === undefined) throw new PeerError('REJECTED', 'there is none');
          return { offset: this.offset, bytes: new Uint8Array(1) };
        },
      },
      clock: this.time,
      timers: this.time,
      logger: logger as unknown as IndexIntakePorts['logger'],
    });
    this.intake.start();
  }

  async #receive(source: CheckpointSource, ahead: number): Promise<ReceivedCheckpoint | undefined> {
    const { offset } = await source.part(0, '', 0);
    if (offset - this.applied < ahead) return undefined;
    return {
      offset,
      bytes: 1,
      isWanted: () => offset - this.applied >= ahead,
      use: (open) => open(),
      discard: async () => void this.asked.push('discard'),
    };
  }

  #copyOf(): ShardReplica {
    return Object.defineProperties(
      {},
      {
        role: { get: () => this.role },
        leader: { get: () => ({ node: this.leader }) },
        set: { get: () => ({ members: this.members }) },
        knownTail: { get: () => Math.max(this.tail, this.told) },
      },
    ) as ShardReplica;
  }

  /** The copy was dropped, and another one begun. */
  renew(): void {
    this.copy = this.#copyOf();
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      await this.time.pass(50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('IndexIntake', () => {
  let node: Node;
  beforeEach(() => {
    node = new Node();
  });

  it('fetches the checkpoint of the primary, and opens the index from it once the log is there', async () => {
    node.tail = 0;
    node.told = 1_999;
    await node.pass(1_000);
    expect([node.asked, node.held]).toEqual([[], false]);
    node.told = 10_000;
    await node.pass(1_000);
    expect([node.asked, node.held]).toEqual([['primary'], true]);
    node.tail = 8_000;
    await node.pass(200);
    expect([node.asked, node.held]).toEqual([['primary', 'open'], false]);
    expect(node.said).toEqual(['the index of a new copy came from its primary']);
    node.tail = 9_999;
    await node.pass(20_000);
    expect(node.asked).toHaveLength(2);
  });

  it.each<readonly [string, (node: Node) => void]>([
    ['lacks little', (of) => (of.applied = 8_001)],
    ['is counted by a set', (of) => of.members.push('self')],
    ['reigns', (of) => (of.role = 'primary')],
    ['knows no other primary', (of) => (of.leader = 'self')],
    ['is faulted', (of) => (of.fault = new Error('damaged'))],
  ])('leaves a copy alone that %s', async (_, change) => {
    change(node);
    await node.pass(1_000);
    expect(node.asked).toEqual([]);
  });

  it('discards what is of no use any more when the log gets there, or never gets there', async () => {
    node.tail = 5_000;
    await node.pass(500);
    node.applied = 6_500;
    await node.pass(200);
    await node.pass(200);
    expect([node.asked, node.held]).toEqual([['primary', 'discard'], false]);
    node.applied = 0;
    await node.pass(80_000);
    expect(node.asked).toEqual(['primary', 'discard', 'primary', 'discard', 'primary']);
  });

  it('ends what it began for a copy that is another one now', async () => {
    node.tail = 5_000;
    await node.pass(500);
    node.renew();
    node.tail = 8_000;
    await node.pass(200);
    expect(node.asked).toEqual(['primary', 'discard']);
  });

  it('tries again later where there is none, and not again where one could not be opened', async () => {
    node.offset = undefined;
    await node.pass(9_000);
    expect([node.asked, node.held]).toEqual([['primary'], false]);
    expect(node.said).toEqual(['no index came from the primary: it is made here']);
    node.offset = 8_000;
    node.opened = { replayed: 1, fromCheckpoint: false, offset: 1 };
    await node.pass(60_000);
    expect(node.asked).toEqual(['primary', 'primary', 'open']);
    node.renew();
    await node.pass(1_000);
    expect(node.asked).toEqual(['primary', 'primary', 'open', 'primary', 'open']);
  });

  it('is over when its files are there: what is read from them is not waited for, nor complained of', async () => {
    let end: (error: Error) => void = () => undefined;
    node.read = () => new Promise((_, reject) => (end = reject));
    node.tail = 8_000;
    await node.pass(500);
    expect(node.asked).toEqual(['primary', 'open']);
    await node.intake.stop();
    end(new Error('closed'));
    await node.pass(200);
    expect(node.said).toEqual([]);
  });

  it('asks nothing once it is stopped', async () => {
    await node.intake.stop();
    await node.pass(1_000);
    expect(node.asked).toEqual([]);
  });
});
