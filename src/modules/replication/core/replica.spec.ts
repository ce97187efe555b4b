import { describe, expect, it } from '@jest/globals';
import { EPOCH_LEAP_MAX, NO_EPOCH } from '../../../kernel/epoch.js';
import { META_SHARD } from '../../../kernel/ids.js';
import { HLC_ZERO } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { entryOp } from '../../log/core/entry-codec.js';
import { EMPTY_LOG } from '../../log/core/log-state.js';
import { FORCED_EPOCH_LEAP } from '../../ring/core/forced-set.js';
import { exampleMap } from '../../ring/testing/example-map.js';
import { ZERO_COUNTERS } from '../../shard/core/rows.js';
import { NO_BRANCHES } from './branch-epochs.js';
import type { DiskRoom } from './disk-hold.js';
import type { ReplicaEffect } from './effects.js';
import type { ReplicaInput } from './inputs.js';
import { followedLog } from '../testing/followed-log.js';
import { MapState } from './map-state.js';
import type { PeerView } from './peer-view.js';
import type { Hello, ShardPosition, ShardSet } from './protocol.js';
import { ReplicaLog } from './replica-log.js';
import { Replica } from './replica.js';
import type { Proposal } from './write.js';

const [SELF, OTHER] = ['a1'.repeat(16), 'b2'.repeat(16)];
const ALONE: PeerView = { get: () => undefined, nodes: () => [] };
const OP_ID = new Uint8Array(16);

/** A copy whose disk syncs at once, and whose fellow answers nothing. */
class Copy {
  readonly replica: Replica;
  nowMs = 0;
  configured: ShardSet = { mapEpoch: 1, members: [SELF] };
  peers = ALONE;
  room: DiskRoom = 'upserts';
  epochFloor = 0;

  constructor(map?: MapState, followed?: { readonly log: ReplicaLog; readonly applied: number }) {
    const { tail, chain, history, generation } = EMPTY_LOG;
    const ends = {
      generation,
      tail,
      chain,
      start: 0,
      history,
      counters: ZERO_COUNTERS,
      sets: [],
      branches: NO_BRANCHES,
    };
    this.replica = new Replica({
      shard: 0,
      self: SELF,
      bootCount: 1,
      log: followed?.log ?? new ReplicaLog({ shard: 0, hasher: nodeHasher, lastHlc: HLC_ZERO, ...ends }),
      promised: NO_EPOCH,
      strict: map !== undefined,
      times: { heartbeatMs: 500, failoverAfterMs: 1_800 },
      applied: followed?.applied ?? 0,
      map,
      openedMs: 0,
    });
  }

  get now() {
    return { wallMs: 1_000_000 + this.nowMs, monotonicMs: this.nowMs };
  }

  tick(): readonly ReplicaEffect[] {
    this.nowMs += 100;
    const plan = {
      configured: this.configured,
      leaving: false,
      epochFloor: this.epochFloor,
      room: this.room,
      isDropped: () => false,
    };
    return this.step({ kind: 'tick', now: this.now, peers: this.peers, plan, opId: OP_ID });
  }

  /** The effects of an input, and of what follows from it at once. */
  step(input: ReplicaInput): readonly ReplicaEffect[] {
    return this.replica.step(input).flatMap((effect): readonly ReplicaEffect[] => {
      const { now } = this;
      if (effect.kind === 'promise')
        return [effect, ...this.step({ kind: 'promised', epoch: effect.epoch, now, opId: OP_ID })];
      if (effect.kind === 'append' && effect.batch.entries.length > 0)
        return [effect, ...this.step({ kind: 'persisted', offset: effect.tail, now })];
      return [effect];
    });
  }
}

describe('a primary', () => {
  it('does not answer from its index before that has what was logged before its reign', () => {
    const log = followedLog({ num: 1, uuid: new Uint8Array(16).fill(7) }, 9);
    const copy = new Copy(undefined, { log, applied: 3 });
    const behindMs = (): number | undefined => copy.replica.indexBehindMs(copy.nowMs);
    expect(behindMs()).toBeUndefined();
    while (copy.replica.role !== 'primary') copy.tick();
    expect(behindMs()).toBeGreaterThan(0);
    copy.tick();
    expect(behindMs()).toBeGreaterThan(99);
    copy.step({ kind: 'applied', offset: 8, now: copy.now });
    expect(behindMs()).toBeGreaterThan(0);
    copy.step({ kind: 'applied', offset: 9, now: copy.now });
    // What it logs itself is not waited for.
    expect(copy.replica.log.tail).toBeGreaterThan(9);
    expect(behindMs()).toBeUndefined();
  });
});

describe('a primary that stood still', () => {
  it('answers nothing as the newest there is before its members have said that none came after it', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [SELF, OTHER] };
    while (copy.replica.role !== 'primary') copy.tick();
    const doubted = () => [copy.replica.doubtMs(copy.nowMs), copy.replica.inSync(copy.nowMs)];
    expect(doubted()).toEqual([undefined, true]);
    const last = copy.nowMs;
    copy.nowMs += 4_000;
    // A request that waited in the socket comes before any tick.
    expect(doubted()).toEqual([4_000, false]);
    copy.tick();
    expect(doubted()).toEqual([copy.nowMs - last, false]);
    // Nobody objects.
    for (let i = 0; i < 10; i++) copy.tick();
    expect(doubted()).toEqual([undefined, true]);
    expect(copy.replica.role).toBe('primary');
  });

  it('has no doubt where it is the only one of its set', () => {
    const copy = new Copy();
    while (copy.replica.role !== 'primary') copy.tick();
    copy.nowMs += 4_000;
    expect(copy.replica.doubtMs(copy.nowMs)).toBeUndefined();
  });
});

describe('a primary that hands over', () => {
  const kinds = (effects: readonly ReplicaEffect[]): readonly string[] => effects.map(({ kind }) => kind);
  const written: Proposal = {
    ticket: 1,
    op: 'UPSERT',
    collectionId: 1,
    id: 'a',
    payload: new Uint8Array(3),
    level: 'one',
    opId: OP_ID,
    keyed: false,
    fingerprint: OP_ID,
    sinceMs: 0,
    storedRow: undefined,
    storedOperation: undefined,
  };

  /** One with a follower, which has its log up to `missing` entries before its end. */
  function followed(missing: number): Copy {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [SELF, OTHER] };
    while (copy.replica.role !== 'primary') copy.tick();
    // The set is logged.
    copy.tick();
    const { log, promised } = copy.replica;
    const told = { shard: 0, nodeUuid: OTHER, bootCount: 1, mapEpoch: 1, promised, loose: 0 };
    const hello: Hello = { ...log.end(), ...told };
    copy.step({ kind: 'hello', link: 1, hello, chainThere: log.chain, now: copy.now });
    if (missing > 0) copy.step({ kind: 'propose', proposals: [{ ...written, id: 'b' }], now: copy.now });
    copy.step({ kind: 'applied', offset: log.tail, now: copy.now });
    return copy;
  }

  it.each([
    ['is gone, or silent, after it was asked', 0],
    ['is silent before it has everything', 1],
  ])('keeps the writes that come, and makes them when the follower %s', (_, missing) => {
    const copy = followed(missing);
    const propose = () => copy.step({ kind: 'propose', proposals: [written], now: copy.now });
    const { tail } = copy.replica.log;
    copy.step({ kind: 'transfer', to: OTHER, now: copy.now });
    expect(kinds(copy.tick()).includes('handOver')).toBe(missing === 0);
    expect(propose()).toEqual([{ kind: 'postpone', tickets: [1] }]);
    if (missing === 0) copy.step({ kind: 'linkEnded', link: 1 });
    const askedMs = copy.nowMs;
    while (!kinds(copy.tick()).includes('resume')) expect(propose()).toEqual([{ kind: 'postpone', tickets: [1] }]);
    expect(copy.nowMs - askedMs).toBeLessThanOrEqual(1_100);
    expect([copy.replica.role, copy.replica.log.tail]).toEqual(['primary', tail]);
    expect(kinds(propose())).toContain('append');
  });

  it('sends the writes that it kept to its successor', () => {
    const copy = followed(0);
    const propose = () => copy.step({ kind: 'propose', proposals: [written], now: copy.now });
    copy.step({ kind: 'transfer', to: OTHER, now: copy.now });
    copy.tick();
    propose();
    const epoch = { num: copy.replica.epoch.num + 1, uuid: new Uint8Array(16).fill(0xb2) };
    const request = { shard: 0, epoch, cause: 'transfer' as const, set: copy.configured };
    const effects = copy.step({ kind: 'fence', ticket: 1, from: OTHER, request, now: copy.now });
    expect(kinds(effects)).toEqual(expect.arrayContaining(['resume', 'answerFence']));
    copy.step({ kind: 'announced', leader: { shard: 0, epoch, node: OTHER }, now: copy.now });
    expect(propose()).toMatchObject([
      { kind: 'reply', reply: { outcome: { kind: 'redirect', hint: { node: OTHER } } } },
    ]);
  });

  it('sends a write elsewhere that has no time to wait', () => {
    const copy = followed(0);
    copy.step({ kind: 'transfer', to: OTHER, now: copy.now });
    const hurried = { ...written, untilMs: copy.nowMs + 100 };
    const effects = copy.step({ kind: 'propose', proposals: [hurried], now: copy.now });
    expect(effects).toEqual([{ kind: 'reply', reply: { ticket: 1, outcome: { kind: 'redirect' } } }]);
  });
});

describe('a reign that a hello speaks against', () => {
  it('logs nothing any more in the tick that ends it', () => {
    const copy = new Copy();
    while (copy.replica.role !== 'primary') copy.tick();
    copy.configured = { mapEpoch: 2, members: [SELF, OTHER] };
    copy.tick();
    const { epoch } = copy.replica.reign ?? { epoch: NO_EPOCH };
    const promised = { num: epoch.num + 5, uuid: new Uint8Array(16).fill(9) };
    const hello: Hello = {
      ...copy.replica.log.end(),
      shard: 0,
      nodeUuid: OTHER,
      bootCount: 1,
      mapEpoch: 2,
      promised,
      loose: 0,
    };
    copy.step({ kind: 'hello', link: 1, hello, chainThere: undefined, now: copy.now });
    // The members are asked; the one there is says nothing for a second.
    for (let i = 0; i < 9; i++) copy.tick();
    expect(copy.replica.role).toBe('primary');
    const before = copy.replica.log.tail;
    copy.configured = { mapEpoch: 3, members: [SELF, OTHER, 'c3'.repeat(16)] };
    const effects = copy.tick();
    expect(copy.replica.role).toBe('candidate');
    expect(copy.replica.promised.num).toBe(promised.num + 1);
    expect(effects.map(({ kind }) => kind)).not.toContain('append');
    expect(copy.replica.log.tail).toBe(before);
  });
});

describe('a member that knows more to be agreed than its primary has', () => {
  const others = new Uint8Array(16).fill(0xb2);
  const history = [{ epoch: { num: 0, uuid: others }, start: 1 }];
  const end = { lastOffset: 4, lastEpoch: history[0].epoch, chain: new Uint8Array(16), history, start: 0, agreed: 3 };

  /** A copy that reigns over a log of its own, in a set of two. */
  function reigning(): Copy {
    const copy = new Copy();
    while (copy.replica.role !== 'primary') copy.tick();
    copy.configured = { mapEpoch: 2, members: [SELF, OTHER] };
    copy.tick();
    return copy;
  }

  function answered(copy: Copy, changes: Partial<Hello> = {}): unknown {
    const told = { shard: 0, nodeUuid: OTHER, bootCount: 1, mapEpoch: 2, promised: NO_EPOCH, loose: 0 };
    const hello: Hello = { ...end, lastEpoch: { num: 9, uuid: others }, ...told, ...changes };
    const effects = copy.step({ kind: 'hello', link: 1, hello, chainThere: undefined, now: copy.now });
    return effects.find(({ kind }) => kind === 'welcome');
  }

  const later = { history: [{ epoch: { num: 9, uuid: others }, start: 1 }] };
  const behind = { answer: { kind: 'reject', reason: 'BEHIND', hint: { node: SELF } } };

  it('is told so, for a while; then its log is cut like any other', () => {
    const copy = reigning();
    expect(answered(copy, later)).toMatchObject(behind);
    for (let i = 0; i < 29; i++) copy.tick();
    expect(answered(copy, later)).toMatchObject(behind);
    for (let i = 0; i < 2; i++) copy.tick();
    expect(answered(copy, later)).toMatchObject({ answer: { kind: 'diverged', fork: 0 } });
  });

  it.each<readonly [string, Partial<Hello>]>([
    ['nothing is agreed of it', { ...later, agreed: 0 }],
    ['what is agreed is older than what the primary knows to be agreed', {}],
    ['it is of an older set', { ...later, mapEpoch: 1 }],
    ['it is not of the set', { ...later, nodeUuid: 'd4'.repeat(16) }],
    ['its rows are damaged', { ...later, damaged: true }],
  ])('is not when %s', (_, changes) => {
    expect(answered(reigning(), changes)).not.toMatchObject(behind);
  });

  it('is when it is of a set that is not known here yet', () => {
    const hello = { ...later, mapEpoch: 3, nodeUuid: 'd4'.repeat(16) };
    expect(answered(reigning(), hello)).toMatchObject(behind);
  });

  it('is waited for before the log of another one is cut, while nothing of the reign is agreed', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 2, members: [SELF, OTHER, 'c3'.repeat(16)] };
    while (copy.replica.role !== 'primary') copy.tick();
    const restarted = { ...later, agreed: 0 };
    const busy = { answer: { kind: 'reject', reason: 'BUSY' } };
    expect(answered(copy, restarted)).toMatchObject(busy);
    for (let i = 0; i < 9; i++) copy.tick();
    expect(answered(copy, restarted)).toMatchObject(busy);
    // A learner has no word in it, and rows that are damaged are no branch.
    expect(answered(copy, { ...restarted, nodeUuid: 'd4'.repeat(16) })).not.toMatchObject(busy);
    expect(answered(copy, { ...restarted, damaged: true })).not.toMatchObject(busy);
    copy.tick();
    expect(answered(copy, restarted)).toMatchObject({ answer: { kind: 'diverged', fork: 0 } });
  });

  it('knows how far the log goes as soon as its primary says so', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER, SELF] };
    const epoch = { num: 3, uuid: others };
    copy.step({ kind: 'announced', leader: { shard: 0, epoch, node: OTHER }, now: copy.now });
    copy.tick();
    copy.step({ kind: 'welcomed', answer: { kind: 'accept', epoch, from: 1 }, now: copy.now });
    const { tail: prevOffset, chain: prevChain } = copy.replica.log;
    expect(copy.replica.knownTail).toBe(prevOffset);
    const head = { epoch, highWaterMark: 0, tail: 5_000, inSync: [], floor: 0 };
    const batch = { ...head, prevOffset, prevChain, entries: [] };
    copy.step({ kind: 'batch', batch, problem: undefined, stored: [], now: copy.now });
    expect([copy.replica.knownTail, copy.replica.log.tail]).toEqual([5_000, prevOffset]);
  });

  it('stands at once when it is told', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER, SELF] };
    const leader = { shard: 0, epoch: { num: 3, uuid: others }, node: OTHER };
    copy.step({ kind: 'announced', leader, now: copy.now });
    expect(copy.tick().map(({ kind }) => kind)).toContain('follow');
    const answer = { kind: 'reject', reason: 'BEHIND', hint: leader } as const;
    const effects = copy.step({ kind: 'welcomed', answer, now: copy.now });
    expect(effects).toContainEqual(expect.objectContaining({ kind: 'fence', to: [OTHER] }));
    expect(effects.find(({ kind }) => kind === 'fence')).toMatchObject({
      request: { cause: 'heal', epoch: { num: 4 } },
    });
  });
});

describe('a copy of the map that an operator makes the only voter', () => {
  const THIRD = 'c3'.repeat(16);
  const force = { id: 'f', startedMs: 5 };

  /** It was the only voter, then one of three, and hears nobody. */
  function left(): Copy {
    const known = exampleMap(2, 1);
    const map = { ...known, nodes: known.nodes.map((node) => ({ ...node, nodeUuid: SELF })) };
    const copy = new Copy(new MapState({ map, offset: 0 }, []));
    while (copy.replica.role !== 'primary') copy.tick();
    for (const members of [
      [SELF, OTHER],
      [SELF, OTHER, THIRD],
    ]) {
      const mapEpoch = copy.configured.mapEpoch + 1;
      copy.configured = { mapEpoch, members };
      const { log } = copy.replica;
      const { entry, row } = log.appendSet(log.lastEpoch, { hlc: log.tick(1), opId: OP_ID }, copy.configured);
      log.batch([entry], [row]);
      copy.step({ kind: 'persisted', offset: log.tail, now: copy.now });
    }
    return copy;
  }

  it('reigns at once, far above what it had heard of; the forced map and its set are logged with the BARRIER', () => {
    const copy = left();
    expect(copy.replica.set.members).toEqual([SELF, OTHER, THIRD]);
    const before = copy.replica.epoch.num;
    const effects = copy.step({ kind: 'force', force, now: copy.now });
    expect(copy.replica.role).toBe('primary');
    expect(copy.replica.epoch.num).toBe(before + FORCED_EPOCH_LEAP + 1);
    const [batch] = effects.flatMap((effect) => (effect.kind === 'append' && effect.tail > 0 ? [effect.batch] : []));
    expect(batch.entries.map(({ bytes }) => entryOp(bytes))).toEqual(['BARRIER', 'MAP', 'SET']);
    const [map] = effects.flatMap((effect) => (effect.kind === 'map' ? [effect.map] : []));
    expect(copy.replica.log.set).toEqual({ mapEpoch: map.meta.epoch, members: [SELF] });
    expect(map.operations).toMatchObject([{ id: 'f', task: { kind: 'forceMap', node: SELF }, state: 'done' }]);
    expect(copy.replica.highWaterMark).toBe(copy.replica.log.tail);
  });

  it('is one of three again when another one is followed before its promise is on the disk', () => {
    const copy = left();
    copy.replica.step({ kind: 'force', force, now: copy.now });
    expect([copy.replica.role, copy.replica.set.members]).toEqual(['candidate', [SELF]]);
    const epoch = { num: 9_000, uuid: new Uint8Array(16).fill(9) };
    copy.step({ kind: 'announced', leader: { shard: META_SHARD, epoch, node: OTHER }, now: copy.now });
    expect([copy.replica.role, copy.replica.set.members]).toEqual(['follower', [SELF, OTHER, THIRD]]);
  });

  it('may not be while a majority of the voters of its log answers, or one reigns', () => {
    const copy = left();
    expect(copy.replica.forceMapProblem(ALONE)).toBeUndefined();
    const facts = { live: true, gone: false, refused: false, heardMs: 5, reluctant: false, full: false };
    const peers: PeerView = {
      get: (node) => (node === OTHER ? { ...facts, position: undefined } : undefined),
      nodes: () => [OTHER],
    };
    expect(copy.replica.forceMapProblem(peers)).toEqual({ kind: 'majority' });
  });
});

describe('a number of an epoch that leaps', () => {
  const uuid = new Uint8Array(16).fill(9);
  const reigning = (): Copy => {
    const copy = new Copy();
    while (copy.replica.role !== 'primary') copy.tick();
    copy.configured = { mapEpoch: 2, members: [SELF, OTHER] };
    copy.tick();
    return copy;
  };
  const helloOf = (copy: Copy, num: number): Hello => ({
    ...copy.replica.log.end(),
    shard: 0,
    nodeUuid: OTHER,
    bootCount: 1,
    mapEpoch: 2,
    promised: { num, uuid },
    loose: 0,
  });
  /** What a node says that knows a primary of that epoch, itself or another one that nobody sees. */
  const saying = (copy: Copy, num: number, leader: string): PeerView => {
    const position: ShardPosition = {
      ...copy.replica.position(copy.nowMs),
      documents: 0,
      role: leader === OTHER ? 'primary' : 'replica',
      epoch: { num, uuid },
      leader,
    };
    const facts = {
      live: true,
      gone: false,
      refused: false,
      heardMs: Infinity,
      reluctant: false,
      full: false,
      position,
    };
    return { get: (node) => (node === OTHER ? facts : undefined), nodes: () => [OTHER] };
  };

  it('is not believed of a hello: the reign goes on as if it had not been said', () => {
    const copy = reigning();
    const { epoch } = copy.replica;
    const hello = helloOf(copy, epoch.num + EPOCH_LEAP_MAX + 1);
    const effects = copy.step({ kind: 'hello', link: 1, hello, chainThere: undefined, now: copy.now });
    expect(effects).toMatchObject([{ kind: 'welcome', link: 1, answer: { kind: 'reject', reason: 'STALE_EPOCH' } }]);
    for (let i = 0; i < 30; i++) copy.tick();
    expect([copy.replica.role, copy.replica.epoch]).toEqual(['primary', epoch]);
    expect(copy.replica.couldAcknowledge(epoch, copy.nowMs)).toBe(true);
  });

  it.each([
    ['that says it reigns', OTHER],
    ['that follows one nobody sees', 'c3'.repeat(16)],
  ])('is not believed of a node %s', (_, leader) => {
    const copy = reigning();
    const { epoch } = copy.replica;
    copy.peers = saying(copy, epoch.num + EPOCH_LEAP_MAX + 1, leader);
    for (let i = 0; i < 30; i++) copy.tick();
    expect([copy.replica.role, copy.replica.epoch, copy.replica.promised]).toEqual(['primary', epoch, epoch]);
    // One that is no leap is: this primary fences above it, or gives way.
    copy.peers = saying(copy, epoch.num + EPOCH_LEAP_MAX, leader);
    for (let i = 0; i < 30; i++) copy.tick();
    expect(copy.replica.role).not.toBe('primary');
  });

  it('is not promised to a primary that answers a hello with it', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER, SELF] };
    const leader = { shard: 0, epoch: { num: 3, uuid }, node: OTHER };
    copy.step({ kind: 'announced', leader, now: copy.now });
    const follow = copy.tick().find(({ kind }) => kind === 'follow');
    expect(follow).toMatchObject({ to: OTHER });
    const answer = { kind: 'accept', epoch: { num: 3 + EPOCH_LEAP_MAX + 1, uuid }, from: 1 } as const;
    copy.step({ kind: 'welcomed', answer, now: copy.now });
    expect(copy.replica.promised).toEqual(NO_EPOCH);
    expect(copy.replica.log.tail).toBe(0);
  });
});

describe('a follower whose disk is down to its reserve', () => {
  const epoch = { num: 3, uuid: new Uint8Array(16).fill(9) };

  /** A copy that streams from OTHER, which lives and says so. */
  function following(): Copy {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER, SELF] };
    primaryIs(copy, false);
    copy.step({ kind: 'announced', leader: { shard: 0, epoch, node: OTHER }, now: copy.now });
    hears(copy, copy.tick());
    return copy;
  }

  /** What the primary answers to a hello. */
  function hears(copy: Copy, effects: readonly ReplicaEffect[]): void {
    if (effects.some(({ kind }) => kind === 'follow'))
      copy.step({ kind: 'welcomed', answer: { kind: 'accept', epoch, from: 1 }, now: copy.now });
  }

  function primaryIs(copy: Copy, full: boolean): void {
    const standing = copy.replica.position(copy.nowMs);
    const position: ShardPosition = { ...standing, documents: 0, role: 'primary', epoch, leader: OTHER };
    const facts = { live: true, gone: false, refused: false, heardMs: Infinity, reluctant: full, full, position };
    copy.peers = { get: (node) => (node === OTHER ? facts : undefined), nodes: () => [OTHER] };
  }

  /** Kinds of effects of so much time, without those of talk. */
  function pass(copy: Copy, ms: number): readonly string[] {
    const kinds: string[] = [];
    for (let passed = 0; passed < ms; passed += 100) {
      const effects = copy.tick();
      hears(copy, effects);
      kinds.push(...effects.map(({ kind }) => kind));
    }
    return kinds;
  }

  it('ends its stream, suspects nobody for it, and follows again when there has been room for a while', () => {
    const copy = following();
    copy.room = 'deletes';
    expect(copy.tick()).toEqual([{ kind: 'held', held: true }, { kind: 'unfollow' }]);
    expect(copy.replica.position(copy.nowMs)).toMatchObject({ held: true, inSync: false });
    expect(pass(copy, 20_000)).toEqual([]);
    expect(copy.replica.role).toBe('follower');
    copy.room = 'upserts';
    expect(pass(copy, 4_000)).toEqual([]);
    const again = pass(copy, 2_000);
    expect(again.slice(0, 2)).toEqual(['held', 'follow']);
    expect(copy.replica.position(copy.nowMs).held).toBe(false);
  });

  it('goes on with a primary whose disk is full as well: what comes then are deletes; not with the last of its disk', () => {
    const copy = following();
    copy.room = 'deletes';
    primaryIs(copy, true);
    expect(pass(copy, 1_500)).not.toContain('held');
    copy.room = 'nothing';
    expect(copy.tick()).toEqual([{ kind: 'held', held: true }, { kind: 'unfollow' }]);
    copy.room = 'deletes';
    expect(copy.tick()).toMatchObject([{ kind: 'held', held: false }, { kind: 'follow' }]);
    // The primary has room again, and sends upserts.
    primaryIs(copy, false);
    expect(copy.tick()).toEqual([{ kind: 'held', held: true }, { kind: 'unfollow' }]);
  });

  it('reigns when no other copy can', () => {
    const copy = following();
    copy.room = 'nothing';
    copy.tick();
    copy.configured = { mapEpoch: 2, members: [SELF] };
    copy.peers = ALONE;
    pass(copy, 10_000);
    expect(copy.replica.role).toBe('primary');
    expect(copy.replica.position(copy.nowMs).held).toBe(false);
  });
});

describe('a copy whose log is being changed', () => {
  const uuid = new Uint8Array(16).fill(9);
  const epoch = { num: 3, uuid };
  const leader = { shard: 0, epoch, node: OTHER };
  const history = [{ epoch, start: 1 }];
  const end = { lastOffset: 9, lastEpoch: epoch, chain: new Uint8Array(16), history, start: 0, agreed: 0 };
  const gone = { live: false, gone: true, refused: true, heardMs: -Infinity, reluctant: false, full: false };

  /** A copy whose snapshot is whole and takes the log's place, when its primary dies. */
  function replacing(): Copy {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER, SELF] };
    copy.step({ kind: 'announced', leader, now: copy.now });
    expect(copy.tick().map(({ kind }) => kind)).toContain('follow');
    const at = { ...end, merged: [] };
    const answer = { kind: 'snapshot', epoch, fork: 0, at } as const;
    expect(copy.step({ kind: 'welcomed', answer, now: copy.now })).toContainEqual({ kind: 'receive', at, fork: 0 });
    copy.step({ kind: 'replacing' });
    copy.step({ kind: 'streamEnded', now: copy.now });
    const facts = { ...gone, position: undefined };
    copy.peers = { get: (node) => (node === OTHER ? facts : undefined), nodes: () => [OTHER] };
    return copy;
  }

  function kindsOf(copy: Copy, ms: number): readonly string[] {
    const kinds: string[] = [];
    for (let passed = 0; passed < ms; passed += 100) kinds.push(...copy.tick().map(({ kind }) => kind));
    return kinds;
  }

  it('neither stands nor follows, nor grants a fence, until that has ended', () => {
    const copy = replacing();
    expect(kindsOf(copy, 10_000)).toEqual([]);
    copy.step({ kind: 'announced', leader: { ...leader, epoch: { num: 4, uuid } }, now: copy.now });
    expect(kindsOf(copy, 2_000)).toEqual([]);
    const request = { shard: 0, epoch: { num: 9, uuid }, cause: 'heal', set: copy.configured } as const;
    expect(copy.step({ kind: 'fence', ticket: 1, from: OTHER, request, now: copy.now })).toMatchObject([
      { kind: 'answerFence', answer: { kind: 'refused', reason: 'FAULTED' } },
    ]);
    const { chain, start, lastOffset: tail } = end;
    const log = {
      generation: 2,
      tail,
      chain,
      start,
      history,
      counters: ZERO_COUNTERS,
      sets: [],
      branches: NO_BRANCHES,
    };
    copy.step({ kind: 'replaced', log, applied: tail, now: copy.now });
    expect(kindsOf(copy, 200)).toContain('follow');
  });

  it('reigns when it has ended, and nobody else is there', () => {
    const copy = replacing();
    expect(kindsOf(copy, 5_000)).not.toContain('promise');
    const { chain, start, lastOffset: tail } = end;
    const sets = { sets: [], branches: NO_BRANCHES, counters: ZERO_COUNTERS };
    const log = { generation: 2, tail, chain, start, history, ...sets };
    copy.step({ kind: 'replaced', log, applied: tail, now: copy.now });
    expect(kindsOf(copy, 5_000)).toContain('promise');
  });
});

describe('a copy outside of the set whose nodes are all gone', () => {
  it('reigns when an operator names it, in an epoch above all that anybody may know', () => {
    const copy = new Copy();
    copy.configured = { mapEpoch: 1, members: [OTHER] };
    const facts = { live: false, gone: true, refused: true, heardMs: -Infinity, reluctant: false, full: false };
    const gone = { ...facts, position: undefined };
    copy.peers = { get: (node) => (node === OTHER ? gone : undefined), nodes: () => [OTHER] };
    copy.step({ kind: 'announced', leader: { shard: 0, epoch: { num: 3, uuid: OP_ID }, node: OTHER }, now: copy.now });
    for (let i = 0; i < 100; i++) copy.tick();
    expect(copy.replica.role).toBe('follower');
    copy.configured = { mapEpoch: 2, members: [SELF] };
    copy.epochFloor = 4_099;
    for (let i = 0; i < 20; i++) copy.tick();
    expect(copy.replica.role).toBe('primary');
    expect(copy.replica.epoch.num).toBe(4_100);
    expect(copy.replica.set).toEqual({ mapEpoch: 2, members: [SELF] });
  });
});
