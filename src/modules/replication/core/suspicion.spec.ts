import { describe, expect, it } from '@jest/globals';
import { toHex } from '../../../kernel/bytes.js';
import { followedLog } from '../testing/followed-log.js';
import type { Out } from './effects.js';
import { FollowSession } from './follow.js';
import { KnownPrimary } from './known-primary.js';
import { rankOf, RANK_STEP_MS } from './nomination.js';
import type { PeerFacts, PeerView } from './peer-view.js';
import type { ShardPosition } from './protocol.js';
import { Suspicion } from './suspicion.js';

const uuidOf = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const [SELF, PRIMARY, FELLOW, ...OTHERS] = [1, 2, 3, 4, 5, 6, 7].map((byte) => toHex(uuidOf(byte)));
const EPOCH = { num: 4, uuid: uuidOf(2) };
const SET = { mapEpoch: 1, members: [SELF, PRIMARY, FELLOW] };
/** Of a copy that has more than this one. */
const AHEAD = {
  role: 'replica',
  setEpoch: 1,
  lastEpoch: EPOCH,
  lastStart: 1,
  lastOffset: 12,
  agreedEpoch: EPOCH,
  agreed: 9,
  faulted: false,
  epoch: EPOCH,
} as const;
const TIMES = { heartbeatMs: 500, failoverAfterMs: 1_800 };
const LONG_MS = 100_000;

const heard = (heardMs: number, position?: Partial<ShardPosition>): PeerFacts => ({
  live: true,
  gone: false,
  refused: false,
  heardMs,
  reluctant: false,
  full: false,
  position: position as ShardPosition | undefined,
});

interface Ticked {
  readonly mayStand?: boolean;
  readonly reluctant?: boolean;
  readonly session?: FollowSession;
}

/** The suspicion of a copy that was opened long ago, has no stream, and knows a primary. */
class Suspecting {
  readonly known = new KnownPrimary();
  readonly out: Out = [];
  readonly facts = new Map<string, PeerFacts>();
  readonly suspicion: Suspicion;

  constructor({ knows = true, members = SET.members }: { knows?: boolean; members?: readonly string[] } = {}) {
    let round = 0;
    const log = followedLog(EPOCH, 9);
    if (knows) this.known.is({ shard: 0, epoch: EPOCH, node: PRIMARY });
    this.suspicion = new Suspicion({
      shard: 0,
      self: SELF,
      log,
      times: TIMES,
      openedMs: 0,
      known: this.known,
      set: () => ({ mapEpoch: 1, members }),
      applied: () => log.tail,
      nextRound: () => ++round,
    });
  }

  /** True when it stands now. */
  tick(nowMs: number, { mayStand = true, reluctant = false, session }: Ticked = {}): boolean {
    const peers: PeerView = { get: (node) => this.facts.get(node), nodes: () => [...this.facts.keys()].sort() };
    this.out.length = 0;
    return this.suspicion.tick(session, peers, mayStand, reluctant, nowMs, this.out);
  }

  /** Who is asked to look for the primary. */
  get probed(): readonly string[] {
    return this.out.flatMap((effect) => (effect.kind === 'probe' ? effect.to : []));
  }
}

describe('Suspicion', () => {
  it('begins when the primary was silent for failoverAfter, and probes before it stands (5.1, 5.3)', () => {
    const copy = new Suspecting();
    copy.facts.set(PRIMARY, heard(LONG_MS));
    expect(copy.tick(LONG_MS + TIMES.failoverAfterMs - 1)).toBe(false);
    expect(copy.probed).toEqual([]);
    expect(copy.tick(LONG_MS + TIMES.failoverAfterMs)).toBe(false);
    expect(copy.probed).toEqual([PRIMARY]);
    expect(copy.suspicion.probed(1, false, LONG_MS + 2_000)).toBe(true);
  });

  it('needs no silence of a primary that is gone, refuses, or says that it is none', () => {
    const denying = { role: 'replica', epoch: EPOCH } as const;
    for (const facts of [
      { ...heard(LONG_MS), gone: true },
      { ...heard(LONG_MS), refused: true },
      heard(LONG_MS, denying),
    ]) {
      const copy = new Suspecting();
      copy.facts.set(PRIMARY, facts);
      copy.tick(LONG_MS);
      expect(copy.probed).toContain(PRIMARY);
    }
    const reigning = new Suspecting();
    reigning.facts.set(PRIMARY, heard(LONG_MS, { ...denying, role: 'primary' }));
    reigning.tick(LONG_MS);
    expect(reigning.probed).toEqual([]);
  });

  it('takes no hello that waits for an answer for news of the primary', () => {
    const copy = new Suspecting();
    copy.facts.set(PRIMARY, heard(LONG_MS));
    const nowMs = LONG_MS + TIMES.failoverAfterMs;
    copy.tick(nowMs, { session: new FollowSession(PRIMARY, 0, nowMs - 100) });
    expect(copy.probed).toEqual([PRIMARY]);
    const answered = new Suspecting();
    answered.facts.set(PRIMARY, heard(LONG_MS));
    const session = new FollowSession(PRIMARY, 0, nowMs - 200);
    session.phase = 'receiving';
    session.heard(nowMs - 100);
    answered.tick(nowMs, { session });
    expect(answered.probed).toEqual([]);
  });

  it('lets fellows and a few other nodes look, and one yes ends it', () => {
    const copy = new Suspecting();
    copy.facts.set(PRIMARY, { ...heard(0), refused: true });
    copy.facts.set(FELLOW, { ...heard(LONG_MS), position: undefined });
    for (const node of OTHERS) copy.facts.set(node, heard(LONG_MS));
    copy.tick(LONG_MS);
    expect(copy.probed).toEqual([PRIMARY, FELLOW, ...OTHERS.slice(0, 3)]);
    expect(copy.suspicion.probed(1, false, LONG_MS)).toBe(false);
    expect(copy.suspicion.probed(1, true, LONG_MS)).toBe(false);
    for (let i = 0; i < 5; i++) expect(copy.suspicion.probed(1, false, LONG_MS)).toBe(false);
    // Not again at once.
    copy.tick(LONG_MS + TIMES.heartbeatMs / 2 - 1);
    expect(copy.probed).toEqual([]);
    copy.tick(LONG_MS + TIMES.heartbeatMs / 2);
    expect(copy.probed).toContain(PRIMARY);
  });

  it('stands when nobody answers the probe in time', () => {
    const copy = new Suspecting();
    copy.facts.set(PRIMARY, { ...heard(0), refused: true });
    copy.tick(LONG_MS);
    expect(copy.tick(LONG_MS + 599)).toBe(false);
    expect(copy.tick(LONG_MS + 600)).toBe(true);
  });

  it('leaves the others that are nominated before it their time (5.2)', () => {
    const copy = new Suspecting();
    copy.facts.set(PRIMARY, { ...heard(0), refused: true });
    copy.facts.set(FELLOW, heard(LONG_MS, AHEAD));
    for (const nowMs of [LONG_MS, LONG_MS + RANK_STEP_MS - 1]) {
      copy.tick(nowMs);
      expect(copy.probed).toEqual([]);
    }
    copy.tick(LONG_MS + RANK_STEP_MS);
    expect(copy.probed).toContain(PRIMARY);
  });

  it('forgets a suspicion whose primary was heard again', () => {
    const copy = new Suspecting();
    copy.facts.set(FELLOW, heard(LONG_MS, AHEAD));
    copy.facts.set(PRIMARY, { ...heard(0), refused: true });
    copy.tick(LONG_MS);
    expect(copy.probed).toEqual([]);
    copy.facts.set(PRIMARY, heard(LONG_MS + 500));
    copy.tick(LONG_MS + 500);
    copy.facts.set(PRIMARY, { ...heard(LONG_MS + 500), refused: true });
    copy.tick(LONG_MS + RANK_STEP_MS);
    expect(copy.probed).toEqual([]);
  });

  it('without a known primary waits for news of one, alone in the set for none', () => {
    const fellows = new Suspecting({ knows: false });
    expect(fellows.tick(749)).toBe(false);
    expect(fellows.tick(750)).toBe(true);
    expect(new Suspecting({ knows: false, members: [SELF] }).tick(0)).toBe(true);
  });

  it('does not stand while it may not, or is held back', () => {
    const copy = new Suspecting({ knows: false, members: [SELF] });
    expect(copy.tick(10, { mayStand: false })).toBe(false);
    copy.suspicion.holdBack(50);
    expect(copy.tick(49)).toBe(false);
    expect(copy.tick(50)).toBe(true);
  });
});

describe('rankOf', () => {
  it('of equal logs nominates one whose index has it first, and else goes by the order of the map', () => {
    const log = followedLog(EPOCH, 9);
    const end = { ...AHEAD, ...log.end(), lastOffset: 9_000, agreedEpoch: EPOCH, agreed: 9 };
    const rank = (self: string, own: number, other: number): number => {
      const [fellow] = [SELF, FELLOW].filter((node) => node !== self);
      const position = { ...end, applied: other };
      const peers: PeerView = {
        get: (node) => (node === fellow ? heard(0, position) : undefined),
        nodes: () => [fellow],
      };
      return rankOf(self, { ...end, applied: own, reluctant: false }, SET, PRIMARY, peers);
    };
    expect([rank(SELF, 9_000, 9_000), rank(FELLOW, 9_000, 9_000)]).toEqual([0, 1]);
    expect([rank(SELF, 7_999, 8_000), rank(FELLOW, 8_000, 7_999)]).toEqual([1, 0]);
    expect([rank(SELF, 8_500, 9_000), rank(SELF, 0, 1)]).toEqual([0, 0]);
  });
});
