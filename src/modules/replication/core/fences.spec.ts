import { describe, expect, it } from '@jest/globals';
import { toHex } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import { followedLog } from '../testing/followed-log.js';
import type { Out } from './effects.js';
import { EpochPromise } from './epoch-promise.js';
import { Fences, type Occupation, type WaitingFence } from './fences.js';
import type { PeerFacts, PeerView } from './peer-view.js';
import type { FenceRequest, ShardLeader } from './protocol.js';

const uuidOf = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const [SELF, PRIMARY, CANDIDATE, OTHER] = [1, 2, 3, 4].map((byte) => toHex(uuidOf(byte)));
const epochOf = (num: number, byte = 3): Epoch => ({ num, uuid: uuidOf(byte) });
const SET = { mapEpoch: 5, members: [SELF, PRIMARY, CANDIDATE] };
const FREE: Occupation = { faulted: false, altering: undefined, reigning: undefined, streaming: undefined };
const HEARD: PeerFacts = {
  live: true,
  gone: false,
  refused: false,
  heardMs: 0,
  reluctant: false,
  full: false,
  position: undefined,
};

/** The fences of a copy that promised epoch 4 and follows the primary of epoch 4. */
class Asked {
  readonly promise = new EpochPromise(epochOf(4, 2), 4);
  readonly fences: Fences;
  readonly out: Out = [];
  primary: PeerFacts | undefined = HEARD;
  other: PeerFacts | undefined;
  leader: ShardLeader | undefined = { shard: 0, epoch: epochOf(4, 2), node: PRIMARY };

  constructor(strict = false) {
    let round = 0;
    const log = followedLog(epochOf(4, 2), 9);
    this.fences = new Fences({
      shard: 0,
      self: SELF,
      strict,
      log,
      promise: this.promise,
      set: () => SET,
      leader: () => this.leader,
      nextRound: () => ++round,
    });
  }

  /** `promise`, or the answer, or the nodes that are probed, or `waits`. */
  ask(request: Partial<FenceRequest> = {}, occupation: Partial<Occupation> = {}, ticket = 1): unknown {
    const fence = fenceOf(request, ticket);
    const peers: PeerView = {
      get: (node) => (node === PRIMARY ? this.primary : node === OTHER ? this.other : undefined),
      nodes: () => (this.primary === undefined ? [] : [PRIMARY]),
    };
    this.out.length = 0;
    if (this.fences.asked(fence, { ...FREE, ...occupation }, peers, this.out)) return 'promise';
    return this.said[0] ?? 'waits';
  }

  /** The tickets of those to be granted; undefined: it was another round. */
  probed(round: number, alive: boolean, occupation: Partial<Occupation> = {}): readonly number[] | undefined {
    this.out.length = 0;
    return this.fences.probed(round, alive, { ...FREE, ...occupation }, this.out)?.map(({ ticket }) => ticket);
  }

  get said(): unknown[] {
    return this.out.map((effect) => {
      if (effect.kind === 'probe') return effect.to;
      if (effect.kind !== 'answerFence') return effect.kind;
      return effect.answer.kind === 'refused' ? effect.answer.reason : effect.answer.kind;
    });
  }

  /** Promises an epoch to the fence with this ticket, as its copy does. */
  promiseTo(epoch: Epoch, ticket: number): void {
    this.promise.make(epoch, this.out);
    this.fences.grant(fenceOf({ epoch }, ticket));
  }

  synced(epoch: Epoch): void {
    this.promise.synced(epoch);
    this.out.length = 0;
    this.fences.promised(epoch, this.out);
  }
}

function fenceOf(request: Partial<FenceRequest>, ticket: number): WaitingFence {
  return {
    ticket,
    from: CANDIDATE,
    request: { shard: 0, set: SET, epoch: epochOf(5), cause: 'suspect', ...request },
  };
}

describe('Fences (5.4)', () => {
  it('has a suspecting candidate wait for its own probe of the primary', () => {
    const asked = new Asked();
    expect(asked.ask()).toEqual([PRIMARY]);
    expect(asked.probed(2, false)).toBeUndefined();
    expect(asked.probed(1, false)).toEqual([1]);
    expect(asked.probed(1, false)).toBeUndefined();
  });

  it('probes once; whoever asks meanwhile waits for it, too, and the highest epoch comes first', () => {
    const asked = new Asked();
    asked.ask();
    expect(asked.ask({ epoch: epochOf(6) }, {}, 2)).toBe('waits');
    expect(asked.probed(1, false)).toEqual([2, 1]);
    asked.ask();
    asked.ask({ epoch: epochOf(6) }, {}, 2);
    expect(asked.probed(2, true)).toEqual([]);
    expect(asked.said).toEqual(['PRIMARY_LIVES', 'PRIMARY_LIVES']);
  });

  it('probes another primary that it learns of meanwhile', () => {
    const asked = new Asked();
    asked.ask();
    asked.leader = { shard: 0, epoch: epochOf(5, 2), node: OTHER };
    asked.other = HEARD;
    expect(asked.ask({ epoch: epochOf(6) }, {}, 2)).toEqual([OTHER]);
    expect(asked.probed(1, false)).toBeUndefined();
    expect(asked.probed(2, false)).toEqual([2, 1]);
  });

  it('grants nothing after a probe when it cannot any more', () => {
    for (const [occupation, reason] of [
      [{ faulted: true }, 'FAULTED'],
      [{ altering: 'replacing' }, 'FAULTED'],
      [{ altering: 'cutting' }, 'PROMISED'],
      [{ reigning: 'acknowledging' }, 'PRIMARY_LIVES'],
    ] as const) {
      const asked = new Asked();
      asked.ask();
      expect(asked.probed(1, false, occupation)).toEqual([]);
      expect(asked.said).toEqual([reason]);
    }
  });

  it('promises at once where no primary can live', () => {
    const asked = new Asked();
    for (const facts of [undefined, { ...HEARD, gone: true }, { ...HEARD, refused: true }]) {
      asked.primary = facts;
      expect(asked.ask()).toBe('promise');
    }
    asked.primary = HEARD;
    for (const leader of [undefined, { node: CANDIDATE }, { node: SELF }]) {
      asked.leader = leader && { shard: 0, epoch: epochOf(4), ...leader };
      expect(asked.ask()).toBe('promise');
    }
    expect(asked.ask({ cause: 'heal' })).toBe('promise');
  });

  it('defends a primary that streams to it, or that it is itself', () => {
    const asked = new Asked();
    expect(asked.ask({}, { streaming: PRIMARY })).toBe('PRIMARY_LIVES');
    expect(asked.ask({}, { reigning: 'acknowledging' })).toBe('PRIMARY_LIVES');
    expect(asked.ask({}, { reigning: 'held' })).toBe('promise');
    expect(asked.ask({ cause: 'heal' }, { reigning: 'acknowledging' })).toBe('promise');
  });

  it('refuses what is promised already, a leap, an older set, and while its log has no end to tell', () => {
    const asked = new Asked();
    expect(asked.ask({ epoch: epochOf(3) })).toBe('PROMISED');
    expect(asked.ask({ epoch: epochOf(5 + 2 ** 21) })).toBe('PROMISED');
    expect(asked.ask({ set: { ...SET, mapEpoch: 4 } })).toBe('SET_NEWER');
    expect(asked.ask({}, { faulted: true })).toBe('FAULTED');
    expect(asked.ask({}, { altering: 'replacing' })).toBe('FAULTED');
    expect(new Asked(true).ask({}, { altering: 'cutting' })).toBe('PROMISED');
    expect(new Asked(true).ask({ set: { ...SET, mapEpoch: 4 }, cause: 'heal' })).toBe('promise');
  });

  it('hints at what it knows when it refuses', () => {
    const asked = new Asked();
    asked.ask({ set: { ...SET, mapEpoch: 4 } });
    expect(asked.out).toMatchObject([
      { ticket: 1, answer: { promised: epochOf(4, 2), set: SET, hint: { node: PRIMARY } } },
    ]);
    asked.ask({ epoch: epochOf(3) });
    expect(asked.out[0]).not.toHaveProperty('answer.set');
  });

  it('says nothing of a promise before it is on the disk', () => {
    const asked = new Asked();
    const epoch = epochOf(5);
    expect(asked.ask({ epoch, cause: 'heal' })).toBe('promise');
    asked.promiseTo(epoch, 1);
    expect(asked.fences.isGranting).toBe(true);
    // Asked again by the same candidate, before and after.
    expect(asked.ask({ epoch }, {}, 2)).toBe('waits');
    asked.synced(epochOf(4, 9));
    expect(asked.said).toEqual([]);
    asked.synced(epoch);
    expect(asked.out).toMatchObject([
      { ticket: 1, answer: { kind: 'granted', setEpoch: 5, end: { lastOffset: 9 } } },
      { ticket: 2, answer: { kind: 'granted' } },
    ]);
    expect(asked.fences.isGranting).toBe(false);
    expect(asked.ask({ epoch }, {}, 3)).toBe('granted');
  });

  it('keeps those that come while the log is cut, the highest epoch first', () => {
    const asked = new Asked();
    for (const [ticket, num] of [5, 7, 6].entries())
      expect(asked.ask({ epoch: epochOf(num) }, { altering: 'cutting' }, ticket)).toBe('waits');
    expect(asked.fences.takeWaiting().map(({ request }) => request.epoch.num)).toEqual([7, 6, 5]);
    expect(asked.fences.takeWaiting()).toEqual([]);
    asked.ask({ epoch: epochOf(5) }, { altering: 'cutting' });
    asked.fences.forsake(asked.out);
    expect(asked.said).toEqual(['FAULTED']);
  });

  it('takes back what a damaged copy cannot keep', () => {
    const asked = new Asked();
    asked.promiseTo(epochOf(5), 1);
    asked.out.length = 0;
    asked.fences.forsake(asked.out);
    expect(asked.said).toEqual(['FAULTED']);
    asked.synced(epochOf(5));
    expect(asked.said).toEqual([]);
    asked.ask({ epoch: epochOf(6) });
    asked.out.length = 0;
    asked.fences.forsake(asked.out);
    expect(asked.said).toEqual(['FAULTED']);
    expect(asked.probed(1, false)).toBeUndefined();
  });
});
