import { beforeEach, describe, expect, it } from '@jest/globals';
import { equalBytes, toHex, utf8 } from '../../../kernel/bytes.js';
import { HLC_ZERO, versionText } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { decodeEntry, entryChain, entryOp, entryVersion, verifyEntry } from '../../log/core/entry-codec.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { idempotencyKey, shardKey } from '../../log/core/keys.js';
import { ZERO_COUNTERS, encodeRow, liveDocuments, shardDigest } from '../../shard/core/rows.js';
import { branchBeyond, decodeBranches, NO_BRANCHES, type BranchEpoch } from './branch-epochs.js';
import type { Out, ReplicaEffect } from './effects.js';
import { APPLY_LATE_MS, APPLY_PACE_MS, Followers, IN_SYNC_MS } from './followers.js';
import { INDEX_WAIT_MS } from './acknowledgements.js';
import { BEHIND_ENTRIES } from './nomination.js';
import { INDEX_LATE_MS, Leader, LEADER_OPS_MAX, THROTTLED_MAX, THROTTLE_MS } from './leader.js';
import type { LogEnd } from './protocol.js';
import { BRANCHES_ROW, ReplicaLog } from './replica-log.js';
import type { Proposal, Reply, WriteOutcome } from './write.js';

const uuid = new Uint8Array(16).fill(7);
const SELF = toHex(uuid);
const GRANTED_UNTIL_MS = 500;
const GATHERING_UNTIL_MS = 800;
let ticket = 0;

/** A reign over an empty log, as its replica drives it. */
class Reign {
  readonly log: ReplicaLog;
  readonly followers = new Followers();
  readonly leader: Leader;

  constructor({
    setSize = 1,
    epoch = 1,
    grantedBy = 0,
    gathering = false,
    dropped = [],
    after = { lastOffset: 0, chain: CHAIN_ZERO, history: [] },
  }: {
    setSize?: number;
    epoch?: number;
    grantedBy?: number;
    gathering?: boolean;
    /** Collections that the map had once. */
    dropped?: readonly number[];
    /** The log it begins on. */
    after?: Pick<LogEnd, 'lastOffset' | 'chain' | 'history'>;
  } = {}) {
    this.log = new ReplicaLog({
      shard: 3,
      hasher: nodeHasher,
      generation: 1,
      tail: after.lastOffset,
      chain: after.chain,
      start: 0,
      history: after.history,
      lastHlc: HLC_ZERO,
      counters: ZERO_COUNTERS,
      sets: [],
      branches: NO_BRANCHES,
    });
    const members = [SELF, ...Array.from({ length: setSize - 1 }, (_, i) => toHex(new Uint8Array(16).fill(i + 20)))];
    this.leader = new Leader(
      {
        log: this.log,
        epoch: { num: epoch, uuid },
        self: SELF,
        strict: false,
        set: () => ({ mapEpoch: 1, members }),
        isDropped: (collectionId) => dropped.includes(collectionId),
        followers: this.followers,
        silentMs: 2_000,
        heartbeatMs: 500,
        map: undefined,
        expected: { nodes: new Set(members.slice(1, 1 + grantedBy)), untilMs: GRANTED_UNTIL_MS },
        gatheringUntilMs: gathering ? GATHERING_UNTIL_MS : 0,
      },
      0,
    );
  }

  get tail(): number {
    return this.log.tail;
  }

  begin(): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.begin(1_000, new Uint8Array(16), out));
  }

  propose(proposals: readonly Proposal[], wallMs: number, nowMs = 0): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.propose(proposals, wallMs, nowMs, out));
  }

  merge(
    loose: readonly Uint8Array[],
    stored: readonly (Uint8Array | undefined)[],
    branch: readonly BranchEpoch[] = [],
  ): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.merge(loose, stored, branch, false, out));
  }

  merged(branch: readonly BranchEpoch[]): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.merged(branch, 5_000, new Uint8Array(16), out));
  }

  persisted(nowMs = 0): readonly ReplicaEffect[] {
    return this.#step((out) => {
      this.log.persisted(this.tail);
      this.leader.progress(nowMs, out);
    });
  }

  applied(nowMs = 0, offset = this.tail): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.applied(offset, nowMs, out));
  }

  hold(held: boolean, nowMs: number): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.hold(held, nowMs, out));
  }

  tick(nowMs: number): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.acknowledge(nowMs, out));
  }

  fail(detail: string): readonly ReplicaEffect[] {
    return this.#step((out) => this.leader.fail(detail, out));
  }

  #step(act: (out: Out) => void): readonly ReplicaEffect[] {
    const out: Out = [];
    act(out);
    return out;
  }
}

function leader(options: { setSize?: number; grantedBy?: number } = {}): Reign {
  const made = new Reign(options);
  made.begin();
  made.persisted();
  made.applied();
  return made;
}

function proposal(id: string, change: Partial<Proposal> = {}): Proposal {
  return {
    ticket: ++ticket,
    op: 'UPSERT',
    collectionId: 1,
    id,
    payload: utf8('payload'),
    level: 'one',
    opId: new Uint8Array(16).fill(ticket),
    keyed: false,
    fingerprint: new Uint8Array(16),
    sinceMs: 0,
    storedRow: undefined,
    storedOperation: undefined,
    ...change,
  };
}

const propose = (machine: Reign, proposals: readonly Proposal[], wallMs = 2_000): readonly ReplicaEffect[] =>
  machine.propose(proposals, wallMs);

/** Durable and applied up to the tail; the replies that came out. */
function settle(machine: Reign): Reply[] {
  return repliesOf([...machine.persisted(), ...machine.applied()]);
}

const repliesOf = (effects: readonly ReplicaEffect[]): Reply[] =>
  effects.flatMap((effect) => (effect.kind === 'reply' ? [effect.reply] : []));

function write(machine: Reign, asked: Proposal, wallMs?: number): WriteOutcome {
  const refused = repliesOf(propose(machine, [asked], wallMs))[0] as Reply | undefined;
  return (refused ?? settle(machine)[0]).outcome;
}

function written(outcome: WriteOutcome): Extract<WriteOutcome, { kind: 'written' }> {
  if (outcome.kind !== 'written') throw new Error(JSON.stringify(outcome));
  return outcome;
}

function appendOf(effects: readonly ReplicaEffect[]): Extract<ReplicaEffect, { kind: 'append' }> {
  const append = effects.find((effect) => effect.kind === 'append');
  if (append === undefined) throw new Error('nothing was appended');
  return append;
}

describe('Leader', () => {
  it('opens its reign with a BARRIER of its epoch, and chains every entry to the one before', () => {
    const machine = new Reign({ epoch: 4 });
    const barrier = appendOf(machine.begin()).batch.entries[0];
    expect(decodeEntry(barrier.bytes)).toMatchObject({ op: 'BARRIER', offset: 1, shard: 3, epoch: { num: 4 } });
    machine.persisted();
    const [first, second] = appendOf(propose(machine, [proposal('a'), proposal('b')])).batch.entries;
    expect(
      verifyEntry(first.bytes, nodeHasher, { shard: 3, offset: 2, prevChain: entryChain(barrier.bytes) }),
    ).toBeUndefined();
    expect(
      verifyEntry(second.bytes, nodeHasher, { shard: 3, offset: 3, prevChain: entryChain(first.bytes) }),
    ).toBeUndefined();
  });

  it('answers only when the entry is durable and applied', () => {
    const machine = leader();
    expect(repliesOf(propose(machine, [proposal('a')]))).toEqual([]);
    expect(repliesOf(machine.persisted())).toEqual([]);
    const [reply] = repliesOf(machine.applied());
    expect(reply.outcome).toMatchObject({
      kind: 'written',
      offset: 2,
      epoch: 1,
      created: true,
      durable: 1,
      indexed: true,
    });
  });

  it('acknowledges a durable write as not indexed once the index is late', () => {
    const machine = leader();
    propose(machine, [proposal('a')]);
    machine.persisted(100);
    expect(repliesOf(machine.tick(100 + INDEX_WAIT_MS - 1))).toEqual([]);
    const [reply] = repliesOf(machine.tick(100 + INDEX_WAIT_MS));
    expect(reply.outcome).toMatchObject({ kind: 'written', indexed: false });
  });

  it('versions supersede what they could have seen, also when the clock went backwards', () => {
    const before = leader();
    const { rows, entries } = appendOf(propose(before, [proposal('a')], 5_000)).batch;
    // Another reign, whose clock is behind the one that wrote the row.
    const second = written(write(leader(), proposal('a', { storedRow: rows[0].value }), 1_001));
    expect(second.version.hlc).toEqual({ ms: 5_000, counter: 1 });
    expect(versionText(second.version) > versionText(decodeEntry(entries[0].bytes).version)).toBe(true);
    expect(second.created).toBe(false);
    // Of one reign, also across ids.
    const machine = leader();
    propose(machine, [proposal('a')], 5_000);
    propose(machine, [proposal('b')], 4_000);
    const [one, two] = settle(machine).map(({ outcome }) => versionText(written(outcome).version));
    expect(two > one).toBe(true);
  });

  it('sees its own unpersisted rows: conditions of one batch build on each other', () => {
    const machine = leader();
    const batch = [
      proposal('a', { condition: { kind: 'absent' } }),
      proposal('a', { condition: { kind: 'absent' } }),
      proposal('a', { op: 'DELETE', condition: { kind: 'present' } }),
      proposal('a', { op: 'DELETE', condition: { kind: 'present' } }),
      proposal('a', { condition: { kind: 'absent' } }),
    ];
    const refused = repliesOf(propose(machine, batch)).map(({ ticket: at, outcome }) => [
      at,
      outcome.kind === 'refused' ? outcome.code : 'written',
    ]);
    expect(refused).toEqual([
      [batch[1].ticket, 'VERSION_CONFLICT'],
      [batch[3].ticket, 'DOCUMENT_NOT_FOUND'],
    ]);
    expect(settle(machine).map(({ outcome }) => written(outcome).offset)).toEqual([2, 3, 4]);
  });

  it('writes under a version only when it is the live one', () => {
    const machine = leader();
    const refused = write(machine, proposal('a', { condition: { kind: 'version', version: '0'.repeat(48) } }));
    expect(refused).toMatchObject({ kind: 'refused', code: 'VERSION_CONFLICT' });
    const { rows, entries } = appendOf(propose(leader(), [proposal('b')])).batch;
    const storedRow = rows[0].value;
    const version = versionText(decodeEntry(entries[0].bytes).version);
    const fresh = leader();
    expect(write(fresh, proposal('b', { storedRow, condition: { kind: 'absent' } }))).toMatchObject({
      code: 'VERSION_CONFLICT',
    });
    expect(write(fresh, proposal('b', { storedRow, condition: { kind: 'version', version } }))).toMatchObject({
      kind: 'written',
      created: false,
    });
    expect(write(leader(), proposal('b', { storedRow, condition: { kind: 'present' } }))).toMatchObject({
      kind: 'written',
      created: false,
    });
  });

  it('answers a repeated key with the stored result, in flight and from the store, and refuses another payload', () => {
    const machine = leader();
    const opId = new Uint8Array(16).fill(200);
    const key = { opId, keyed: true, fingerprint: new Uint8Array(16).fill(1) };
    const batch = appendOf(propose(machine, [proposal('a', key), proposal('a', key)])).batch;
    expect(batch.entries.length).toBe(1);
    expect(settle(machine).map(({ outcome }) => written(outcome).offset)).toEqual([2, 2]);
    const storedOperation = batch.rows[1].value;
    const again = repliesOf(
      propose(machine, [proposal('a', { ...key, storedOperation, condition: { kind: 'absent' } })]),
    );
    expect(written(again[0].outcome)).toMatchObject({ offset: 2, created: true });
    const other = write(machine, proposal('a', { ...key, storedOperation, fingerprint: new Uint8Array(16).fill(2) }));
    expect(other).toMatchObject({ kind: 'refused', code: 'IDEMPOTENCY_CONFLICT' });
    expect(machine.tail).toBe(2);
  });

  it('logs where a keyed request begins once, changing no row but that of its key, and a follower has the same', () => {
    const machine = leader();
    const opId = new Uint8Array(16).fill(201);
    const key = { opId, keyed: true, fingerprint: new Uint8Array(16).fill(1) };
    const begin = (change: Partial<Proposal> = {}) =>
      proposal('', { op: 'BARRIER', collectionId: 0, payload: new Uint8Array(0), ...key, ...change });
    const { batch } = appendOf(propose(machine, [begin(), begin(), proposal('a')]));
    expect(batch.entries.map(({ bytes }) => entryOp(bytes))).toEqual(['BARRIER', 'UPSERT']);
    expect(settle(machine).map(({ outcome }) => written(outcome).offset)).toEqual([2, 2, 3]);
    const row = batch.rows.find(({ key: name }) => equalBytes(name, idempotencyKey(3, opId)));
    const later = repliesOf(propose(machine, [begin({ storedOperation: row?.value })]));
    expect(written(later[0].outcome)).toMatchObject({ offset: 2, created: false });
    const other = begin({ storedOperation: row?.value, fingerprint: new Uint8Array(16).fill(2) });
    expect(write(machine, other)).toMatchObject({ kind: 'refused', code: 'IDEMPOTENCY_CONFLICT' });
    const follower = new Reign();
    const reign = appendOf(follower.begin()).batch.entries;
    expect(reign).toHaveLength(1);
    follower.persisted();
    const followed = follower.log.follow(
      batch.entries.map(({ bytes }) => bytes),
      [undefined, undefined],
    );
    expect(followed.batch.rows).toEqual(batch.rows);
  });

  it('counts live documents and their digest as the rows have them, whatever the order', () => {
    const one = leader();
    const two = leader();
    propose(one, [proposal('a', { opId: uuid }), proposal('b', { opId: uuid })]);
    propose(one, [proposal('b', { op: 'DELETE' })]);
    expect(liveDocuments(one.log.counters())).toBe(1);
    propose(two, [proposal('a', { opId: uuid })]);
    expect(shardDigest(one.log.counters())).toEqual(shardDigest(two.log.counters()));
  });

  it('drops a collection at once and refuses writes to it', () => {
    const machine = leader();
    propose(machine, [proposal('a'), proposal('b', { collectionId: 2 })]);
    const effects = propose(machine, [proposal('', { op: 'COLLECTION_PURGE', payload: new Uint8Array(0) })]);
    expect(liveDocuments(machine.log.counters())).toBe(1);
    expect(appendOf(effects).batch.entries.map(({ bytes }) => decodeEntry(bytes).op)).toEqual(['COLLECTION_PURGE']);
    expect(machine.persisted()).toContainEqual({ kind: 'sweep', collectionId: 1 });
    expect(repliesOf(propose(machine, [proposal('c')]))[0].outcome).toMatchObject({ code: 'COLLECTION_NOT_FOUND' });
  });

  it('does not count on followers that fell silent, though their streams are open', () => {
    const machine = leader({ setSize: 3 });
    machine.followers.accept(1, toHex(new Uint8Array(16).fill(20)), 1, 0);
    const [quorum] = [proposal('a', { level: 'quorum' })];
    expect(repliesOf(machine.propose([quorum], 1_000, 2_000))).toEqual([]);
    expect(repliesOf(machine.propose([proposal('b', { level: 'quorum' })], 1_000, 2_001))[0].outcome).toMatchObject({
      code: 'NO_QUORUM',
    });
  });

  it('refuses what it has no room for, and what its set cannot acknowledge, before anything is appended', () => {
    const machine = leader({ setSize: 3 });
    expect(repliesOf(propose(machine, [proposal('a', { level: 'quorum' })]))[0].outcome).toMatchObject({
      code: 'NO_QUORUM',
    });
    expect(repliesOf(propose(machine, [proposal('a', { level: 'all' })]))[0].outcome).toMatchObject({
      code: 'NO_QUORUM',
    });
    expect(machine.tail).toBe(1);
    const many = Array.from({ length: LEADER_OPS_MAX + 1 }, (_, i) => proposal(`d${i}`));
    const refused = repliesOf(propose(machine, many));
    expect(refused.map(({ outcome }) => outcome)).toEqual([
      expect.objectContaining({ code: 'OVERLOADED', retryAfterMs: 100 }),
    ]);
    expect(machine.tail).toBe(1 + LEADER_OPS_MAX);
  });

  it('counts whoever granted the reign as reachable until its stream must have come', () => {
    const machine = leader({ setSize: 3, grantedBy: 2 });
    expect(repliesOf(machine.propose([proposal('a', { level: 'quorum' })], 2_000, GRANTED_UNTIL_MS - 1))).toEqual([]);
    const [late] = repliesOf(machine.propose([proposal('b', { level: 'quorum' })], 2_000, GRANTED_UNTIL_MS));
    expect(late.outcome).toMatchObject({ code: 'NO_QUORUM' });
  });

  it('keeps a write that needs followers which may still come, and proposes it anew when they are there or late', () => {
    const kinds = (effects: readonly ReplicaEffect[]): string[] => effects.map(({ kind }) => kind);
    const machine = new Reign({ setSize: 3, gathering: true });
    machine.begin();
    machine.persisted();
    const write = proposal('a', { level: 'quorum' });
    expect(machine.propose([write], 2_000, 100)).toEqual([{ kind: 'postpone', tickets: [write.ticket] }]);
    expect(machine.tail).toBe(1);
    expect(machine.tick(200)).toEqual([]);
    machine.followers.accept(1, toHex(new Uint8Array(16).fill(20)), 1, 300);
    expect(kinds(machine.tick(300))).toEqual(['resume']);
    expect(kinds(machine.propose([write], 2_000, 300))).toEqual(['append']);
    // A copy that does not come is waited for no longer.
    const all = proposal('b', { level: 'all' });
    expect(kinds(machine.propose([all], 2_000, 400))).toEqual(['postpone']);
    expect(kinds(machine.tick(GATHERING_UNTIL_MS - 1))).toEqual([]);
    expect(kinds(machine.tick(GATHERING_UNTIL_MS))).toEqual(['resume']);
    const [late] = repliesOf(machine.propose([all], 2_000, GATHERING_UNTIL_MS));
    expect(late.outcome).toMatchObject({ code: 'NO_QUORUM' });
  });

  it('refuses a write that waits for followers before its caller gives up', () => {
    const machine = new Reign({ setSize: 3, gathering: true });
    machine.begin();
    machine.persisted();
    const hurried = proposal('a', { level: 'quorum', untilMs: 500 });
    expect(machine.propose([hurried], 2_000, 100)).toEqual([{ kind: 'postpone', tickets: [hurried.ticket] }]);
    expect(machine.tick(299)).toEqual([]);
    expect(machine.tick(300)).toEqual([{ kind: 'resume' }]);
    expect(repliesOf(machine.propose([hurried], 2_000, 300))[0].outcome).toMatchObject({ code: 'NO_QUORUM' });
  });

  it('logs nothing while its reign is in doubt, and proposes it anew when that is over', () => {
    const machine = leader();
    expect(machine.hold(true, 100)).toEqual([]);
    const [write, hurried] = [proposal('a'), proposal('b', { untilMs: 500 })];
    expect(machine.propose([write], 2_000, 100)).toEqual([{ kind: 'postpone', tickets: [write.ticket] }]);
    expect(machine.propose([hurried], 2_000, 100)).toEqual([{ kind: 'postpone', tickets: [hurried.ticket] }]);
    expect(machine.tick(299)).toEqual([]);
    expect(machine.tick(300)).toEqual([{ kind: 'resume' }]);
    const [late] = repliesOf(machine.propose([hurried], 2_000, 300));
    expect(late.outcome).toMatchObject({ code: 'NO_QUORUM' });
    expect(machine.propose([write], 2_000, 300)).toEqual([{ kind: 'postpone', tickets: [write.ticket] }]);
    expect(machine.tail).toBe(1);
    expect(machine.hold(false, 400)).toEqual([{ kind: 'resume' }]);
    expect(machine.propose([write], 2_000, 400).map(({ kind }) => kind)).toEqual(['append']);
    // What was made before it stood still is answered when it is confirmed.
    machine.hold(true, 500);
    expect(repliesOf(machine.persisted(500))).toEqual([]);
    machine.applied(500);
    expect(repliesOf(machine.hold(false, 600)).map(({ ticket }) => ticket)).toEqual([write.ticket]);
  });

  it('lets what waits for followers go when the reign ends', () => {
    const machine = new Reign({ setSize: 3, gathering: true });
    machine.propose([proposal('a', { level: 'quorum' })], 2_000, 100);
    expect(machine.fail('the disk').at(0)).toEqual({ kind: 'resume' });
  });

  it('throttles while the index is late', () => {
    const machine = leader();
    propose(machine, [proposal('a')]);
    machine.persisted();
    const asked = (nowMs: number): readonly Reply[] => repliesOf(machine.propose([proposal('b')], 3_000, nowMs));
    expect(asked(INDEX_LATE_MS)).toEqual([]);
    expect(asked(INDEX_LATE_MS + 1)[0].outcome).toMatchObject({ code: 'OVERLOADED' });
    machine.applied();
    expect(asked(INDEX_LATE_MS + 2)).toEqual([]);
  });

  describe('while its index is far behind what it inherited', () => {
    const INHERITED = 20_000;
    let machine: Reign;
    beforeEach(() => {
      const epoch = { num: 1, uuid };
      machine = new Reign({
        epoch: 2,
        after: { lastOffset: INHERITED, chain: CHAIN_ZERO, history: [{ epoch, start: 1 }] },
      });
      machine.begin();
      machine.persisted();
    });
    const write = (nowMs: number): readonly WriteOutcome[] =>
      repliesOf([
        ...machine.propose([proposal('a')], 3_000, nowMs),
        ...(machine.log.durable < machine.tail ? machine.persisted(nowMs) : []),
      ]).map(({ outcome }) => outcome);

    it('a write is answered when it is durable, as not indexed', () => {
      for (let nowMs = 0; nowMs < 10_000; nowMs += 100)
        expect(write(nowMs)).toMatchObject([{ kind: 'written', indexed: false }]);
    });

    it('a search is answered once it has what was answered meanwhile', () => {
      const [answered] = write(100);
      expect(answered).toMatchObject({ kind: 'written', offset: INHERITED + 2 });
      machine.applied(200, INHERITED + 1);
      expect(machine.leader.owed).toBe(INHERITED + 2);
      machine.applied(300);
      // From now on a write waits for the index, and what does not wait is not owed.
      expect(write(400)).toEqual([]);
      expect(repliesOf(machine.tick(400 + INDEX_WAIT_MS))).toHaveLength(1);
      expect(machine.leader.owed).toBe(INHERITED + 2);
    });

    it('a write waits for it when it is nearly there', () => {
      machine.applied(0, INHERITED - BEHIND_ENTRIES + 1);
      expect(write(100)).toEqual([]);
      expect(repliesOf(machine.applied(200)).map(({ outcome }) => outcome)).toMatchObject([{ indexed: true }]);
    });

    it('one write is taken for two entries that the index takes, beyond the first of them', () => {
      for (let i = 0; i < LEADER_OPS_MAX; i++) expect(write(0)).toMatchObject([{ kind: 'written' }]);
      expect(write(0)).toMatchObject([{ code: 'OVERLOADED' }]);
      expect(machine.leader.inFlight).toEqual({ ops: 0, bytes: 0 });
      machine.applied(100, 200);
      for (let i = 0; i < 100; i++) expect(write(100)).toMatchObject([{ kind: 'written' }]);
      expect(write(100)).toMatchObject([{ code: 'OVERLOADED' }]);
      machine.applied(200);
      expect(write(200)).toEqual([]);
    });
  });

  describe('while a copy in sync applies late', () => {
    const link = 1;
    const kinds = (effects: readonly ReplicaEffect[]): string[] => effects.map(({ kind }) => kind);
    let machine: Reign;

    /** The follower says that it has all on disk, and this much in its index. */
    const ack = (appliedOffset: number, nowMs: number): void => {
      const durableOffset = machine.tail;
      machine.followers.ack(
        link,
        { durableOffset, appliedOffset, chain: CHAIN_ZERO, creditBytes: 0 },
        machine.tail,
        nowMs,
      );
    };
    /** A follower that had all at 0, and of what was logged then has nothing in its index since. */
    const slow = (upToMs: number): void => {
      for (let nowMs = 500; nowMs <= upToMs; nowMs += 500) ack(1, nowMs);
    };

    beforeEach(() => {
      machine = leader({ setSize: 2 });
      machine.followers.accept(link, toHex(new Uint8Array(16).fill(20)), 1, 0);
      ack(1, 0);
      machine.propose([proposal('a')], 2_000, 0);
      machine.persisted();
      machine.applied();
    });

    it('a write waits until it has caught up', () => {
      slow(1_000);
      expect(kinds(machine.propose([proposal('in time')], 2_000, APPLY_PACE_MS))).toEqual(['append']);
      const write = proposal('b', { sinceMs: APPLY_LATE_MS + 1 });
      expect(machine.propose([write], 2_000, APPLY_LATE_MS + 1)).toEqual([
        { kind: 'postpone', tickets: [write.ticket] },
      ]);
      expect(machine.tick(APPLY_LATE_MS + 100)).toEqual([]);
      ack(2, APPLY_LATE_MS + 200);
      expect(machine.tick(APPLY_LATE_MS + 200)).toEqual([{ kind: 'resume' }]);
      expect(kinds(machine.propose([write], 2_000, APPLY_LATE_MS + 200))).toEqual(['append']);
    });

    it('a write that waited for one that is only a little behind is made all the same', () => {
      slow(500);
      const sinceMs = 400;
      const write = proposal('b', { sinceMs });
      expect(kinds(machine.propose([write], 2_000, sinceMs))).toEqual(['postpone']);
      expect(machine.tick(sinceMs + THROTTLE_MS - 1)).toEqual([]);
      expect(machine.tick(sinceMs + THROTTLE_MS)).toEqual([{ kind: 'resume' }]);
      expect(kinds(machine.propose([write], 2_000, sinceMs + THROTTLE_MS))).toEqual(['append']);
    });

    it('a write that waited for long is refused, and told when to come again; so many wait at most', () => {
      slow(1_500);
      const sinceMs = 1_050;
      const many = Array.from({ length: THROTTLED_MAX + 1 }, (_, i) => proposal(`d${i}`, { sinceMs }));
      const effects = machine.propose(many, 2_000, sinceMs);
      const overloaded = { code: 'OVERLOADED', retryAfterMs: 100 };
      expect(repliesOf(effects).map(({ outcome }) => outcome)).toEqual([expect.objectContaining(overloaded)]);
      expect(machine.tail).toBe(2);
      expect(machine.tick(sinceMs + THROTTLE_MS - 1)).toEqual([]);
      // At a step of a tenth of a second, all together.
      expect(machine.tick(1_600)).toEqual([{ kind: 'resume' }]);
      expect(repliesOf(machine.propose(many, 2_000, 1_600))).toHaveLength(many.length);
      const hurried = proposal('h', { sinceMs: 1_600, untilMs: 1_750 });
      expect(repliesOf(machine.propose([hurried], 2_000, 1_600))[0].outcome).toMatchObject(overloaded);
    });

    it('but not when it is silent, nor when it is out of sync', () => {
      slow(500);
      expect(kinds(machine.propose([proposal('silent')], 2_000, 1_501))).toEqual(['append']);
      const outOfSyncMs = IN_SYNC_MS + 500;
      slow(outOfSyncMs);
      expect(kinds(machine.propose([proposal('b', { sinceMs: outOfSyncMs })], 2_000, outOfSyncMs))).toEqual([
        'postpone',
      ]);
      expect(machine.tick(outOfSyncMs + 1)).toEqual([{ kind: 'resume' }]);
      expect(kinds(machine.propose([proposal('b')], 2_000, outOfSyncMs + 1))).toEqual(['append']);
    });

    it('what waits goes when the reign ends', () => {
      slow(1_000);
      machine.propose([proposal('b', { sinceMs: 1_400 })], 2_000, 1_400);
      expect(machine.fail('the disk').at(0)).toEqual({ kind: 'resume' });
    });
  });

  it('after a failure the outcome of what was under way is unknown, and nothing more is admitted', () => {
    const machine = leader();
    propose(machine, [proposal('a')]);
    expect(repliesOf(machine.fail('the disk'))[0].outcome).toMatchObject({
      code: 'WRITE_OUTCOME_UNKNOWN',
    });
    expect(repliesOf(propose(machine, [proposal('b')]))[0].outcome).toMatchObject({ code: 'LOG_CORRUPT' });
  });

  it('lists what a row of another branch beats, unless that branch had it and superseded it knowingly', () => {
    // Both logs go to offset 2 in epoch 1; the branch goes on in it, the base begins epoch 2.
    const branch = leader();
    const seen = appendOf(propose(branch, [proposal('a')], 2_000)).batch;
    settle(branch);
    const fork = branch.log.end();
    const rowOf = ({ rows }: typeof seen): Uint8Array | undefined => rows[0].value;
    const [late, lone] = appendOf(propose(branch, [proposal('a'), proposal('b')], 9_000)).batch.entries;

    const base = new Reign({ epoch: 2, after: fork });
    const conflicts = (effects: readonly ReplicaEffect[]): unknown[] =>
      effects.flatMap((effect) => (effect.kind === 'conflict' ? [effect.loser] : []));
    base.begin();
    base.persisted();
    expect(conflicts(base.merge([late.bytes], [rowOf(seen)]))).toEqual([]);
    base.persisted();
    // Written on the base meanwhile, which the branch could not see.
    const own = appendOf(propose(base, [proposal('b')], 3_000)).batch;
    base.persisted();
    expect(conflicts(base.merge([lone.bytes], [rowOf(own)]))).toEqual([own.entries[0].offset]);
  });

  it('lists what it beats before that is on the disk, too: the entry itself', () => {
    const [first, second] = [5_000, 6_000].map((ms, i) => {
      const branch = new Reign({ epoch: 2 + i });
      branch.begin();
      return appendOf(propose(branch, [proposal('a')], ms)).batch.entries[0].bytes;
    });
    const base = new Reign({ epoch: 9 });
    base.begin();
    const own = appendOf(propose(base, [proposal('a')], 3_000)).batch.entries[0].bytes;
    const winner = { versionText: versionText(entryVersion(first)), entry: first };
    const [conflict, merged] = base.merge([first], [undefined]);
    expect(conflict).toEqual({ kind: 'conflict', loser: own, winner });
    const loser = appendOf([merged]).batch.entries[0].bytes;
    expect(base.merge([second], [undefined])[0]).toMatchObject({ kind: 'conflict', loser });
  });

  it('lists a delete, and a loose row of its own, that a row of another branch beats', () => {
    const branch = leader();
    const [higher] = appendOf(propose(branch, [proposal('a')], 9_000)).batch.entries;
    const losers = (effects: readonly ReplicaEffect[]): unknown[] =>
      effects.flatMap((effect) => (effect.kind === 'conflict' ? [effect.loser] : []));
    const base = new Reign({ epoch: 2 });
    base.begin();
    propose(base, [proposal('a')], 3_000);
    const deleted = propose(base, [proposal('a', { op: 'DELETE', payload: new Uint8Array(0) })], 4_000);
    base.persisted();
    const { entries, rows } = appendOf(deleted).batch;
    expect(losers(base.merge([higher.bytes], [rows[0].value]))).toEqual([entries[0].offset]);
    const other = new Reign({ epoch: 3 });
    other.begin();
    other.persisted();
    const version = { hlc: { ms: 5_000, counter: 0 }, opId: new Uint8Array(16).fill(1) };
    const loose = encodeRow({ version, offset: 7, tombstone: false, loose: true, bytes: 0 });
    expect(losers(other.merge([higher.bytes], [loose]))).toEqual([{ collectionId: 1, id: 'a' }]);
  });

  it('takes nothing for a collection that was dropped in an earlier reign, and lists what another branch has of it', () => {
    const branch = leader();
    const [ghost] = appendOf(propose(branch, [proposal('a')], 9_000)).batch.entries;
    const next = new Reign({ epoch: 3, dropped: [0, 1] });
    next.begin();
    next.persisted();
    expect(repliesOf(propose(next, [proposal('b')]))[0].outcome).toMatchObject({ code: 'COLLECTION_NOT_FOUND' });
    expect(next.merge([ghost.bytes], [undefined])).toEqual([
      { kind: 'conflict', loser: ghost.bytes, winner: { versionText: '' } },
    ]);
    expect(liveDocuments(next.log.counters())).toBe(0);
    // What says that it is dropped is still logged, and what is of no collection.
    const payload = new Uint8Array(0);
    const others = [
      proposal('', { op: 'COLLECTION_PURGE', payload }),
      proposal('', { op: 'BARRIER', collectionId: 0, payload, keyed: true }),
    ];
    expect(appendOf(propose(next, others)).batch.entries).toHaveLength(2);
  });

  it('takes nothing for a collection that its log dropped before it reigned, though the map still has it', () => {
    const before = leader();
    const stored = appendOf(propose(before, [proposal('a')])).batch.rows[0].value;
    settle(before);
    const next = new Reign({ epoch: 3, after: before.log.end() });
    // Followed, and not swept yet.
    next.log.drop(1);
    next.begin();
    next.persisted();
    for (const op of ['DELETE', 'UPSERT'] as const)
      expect(repliesOf(propose(next, [proposal('a', { op, storedRow: stored })]))[0].outcome).toMatchObject({
        code: 'COLLECTION_NOT_FOUND',
      });
  });

  it('knows what a branch saw that had begun a reign of its own, by the fork at which it was cut off', () => {
    // Both logs go to offset 2 in epoch 1; the branch goes on in epoch 2, the base in epoch 3.
    const common = leader();
    const seen = appendOf(propose(common, [proposal('a')], 2_000)).batch;
    settle(common);
    const fork = common.log.end();
    const rowOf = ({ rows }: typeof seen): Uint8Array | undefined => rows[0].value;
    const branch = new Reign({ epoch: 2, after: fork });
    branch.begin();
    branch.persisted();
    const [late, lone] = appendOf(propose(branch, [proposal('a'), proposal('b')], 9_000)).batch.entries;
    branch.persisted();
    const cut = branchBeyond(branch.log.end(), fork.lastOffset);
    expect(cut).toEqual([{ epoch: branch.leader.epoch, end: 5, fork: 2 }]);

    const base = new Reign({ epoch: 3, after: fork });
    const losers = (effects: readonly ReplicaEffect[]): unknown[] =>
      effects.flatMap((effect) => (effect.kind === 'conflict' ? [effect.loser] : []));
    base.begin();
    const own = appendOf(propose(base, [proposal('b')], 3_000)).batch;
    base.persisted();
    expect(losers(base.merge([late.bytes, lone.bytes], [rowOf(seen), rowOf(own)], cut))).toEqual([
      own.entries[0].offset,
    ]);
  });

  it('logs once that a branch is merged, and lists nothing of it as lost that another copy of it offers later', () => {
    const branch = new Reign({ epoch: 1 });
    branch.begin();
    branch.persisted();
    const { entries } = appendOf(propose(branch, [proposal('a')], 3_000)).batch;
    branch.persisted();
    const cut = branchBeyond(branch.log.end(), 0);
    const base = new Reign({ epoch: 2 });
    base.begin();
    base.persisted();
    base.merge([entries[0].bytes], [undefined], cut);
    const merged = appendOf(base.merged(cut)).batch;
    base.persisted();
    expect(entryOp(merged.entries[0].bytes)).toBe('MERGED');
    expect(base.log.branches).toEqual({ merged: [{ ...cut[0], offset: 3 }], cut: [] });
    expect(decodeBranches(merged.rows.find(({ key }) => equalBytes(key, shardKey(3, BRANCHES_ROW)))?.value)).toEqual(
      base.log.branches,
    );
    expect(base.merged(cut)).toEqual([]);
    const after = appendOf(propose(base, [proposal('a')], 9_000)).batch;
    base.persisted();
    expect(base.merge([entries[0].bytes], [after.rows[0].value], cut)).toEqual([]);
    // Of a part that is not merged yet it may be lost.
    const more = appendOf(propose(branch, [proposal('a')], 4_000)).batch.entries;
    expect(base.merge([more[0].bytes], [after.rows[0].value], cut)).toMatchObject([
      { kind: 'conflict', loser: more[0].bytes, winner: { entry: after.entries[0].offset } },
    ]);
  });
});
