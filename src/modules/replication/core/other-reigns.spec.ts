import { describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { isBaseAbove, meetOthers, type OwnReign } from './other-reigns.js';
import type { PeerFacts, PeerView } from './peer-view.js';
import type { ShardPosition } from './protocol.js';

const [SELF, OTHER, THIRD] = ['aa', 'bb', 'cc'];
const epoch = (num: number) => ({ num, uuid: new Uint8Array(16).fill(1) });
const OWN: OwnReign = {
  self: SELF,
  shard: 3,
  epoch: epoch(4),
  end: { lastOffset: 20, lastEpoch: epoch(4), chain: CHAIN_ZERO, history: [], start: 0, agreed: 0 },
  setEpoch: 2,
  sinceMs: 100,
};

function position(changes: Partial<ShardPosition>): ShardPosition {
  return {
    shard: 3,
    role: 'replica',
    epoch: epoch(4),
    leader: SELF,
    setEpoch: 2,
    settled: 0,
    lastEpoch: epoch(4),
    lastStart: 1,
    lastOffset: 20,
    agreedEpoch: epoch(4),
    agreed: 0,
    durable: 20,
    applied: 20,
    inSync: true,
    faulted: false,
    held: false,
    loose: 0,
    documents: 0,
    lagMs: 0,
    ...changes,
  };
}

const facts = (told: Partial<ShardPosition>, changes: Partial<PeerFacts> = {}): PeerFacts => ({
  live: true,
  gone: false,
  refused: false,
  heardMs: 200,
  reluctant: false,
  full: false,
  position: position(told),
  ...changes,
});

const viewOf = (nodes: Readonly<Record<string, PeerFacts>>): PeerView => ({
  get: (node) => (node in nodes ? nodes[node] : undefined),
  nodes: () => Object.keys(nodes).sort(),
});

const reigning = (num: number, changes: Partial<ShardPosition> = {}): Partial<ShardPosition> => ({
  role: 'primary',
  epoch: epoch(num),
  lastEpoch: epoch(num),
  leader: OTHER,
  ...changes,
});
const above = { kind: 'base above', leader: { shard: 3, epoch: epoch(5), node: OTHER } };

describe('a reign that meets another one', () => {
  it('gives way to a higher one, unless its own set is newer', () => {
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts(reigning(5)) }))).toEqual(above);
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts(reigning(5, { setEpoch: 1 })) }))).toEqual({ kind: 'base below' });
  });

  it('does nothing about a lower one, nor about what was said before it began', () => {
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts(reigning(3)) }))).toEqual({ kind: 'none' });
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts(reigning(3, { setEpoch: 9 })) }))).toEqual({ kind: 'none' });
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts(reigning(5), { heardMs: 100 }) }))).toEqual({ kind: 'none' });
    expect(meetOthers(OWN, viewOf({ [OTHER]: facts({}) }))).toEqual({ kind: 'none' });
  });

  it('gives way to one it cannot reach, when a copy says that it is in sync with it', () => {
    const following = { epoch: epoch(5), leader: OTHER };
    const away = facts(reigning(4), { live: false });
    expect(meetOthers(OWN, viewOf({ [OTHER]: away, [THIRD]: facts(following) }))).toEqual(above);
    for (const third of [
      facts({ ...following, inSync: false }),
      facts({ ...following, setEpoch: 1 }),
      facts(following, { live: false }),
    ])
      expect(meetOthers(OWN, viewOf({ [OTHER]: away, [THIRD]: third }))).toEqual({ ...above, kind: 'unseen' });
  });
});

describe('a reign that a member named after a pause', () => {
  const named = { shard: 3, epoch: epoch(5), node: OTHER };

  it('is followed as far as nothing speaks against it', () => {
    expect(isBaseAbove(OWN, named, viewOf({}))).toBe(true);
    expect(isBaseAbove(OWN, named, viewOf({ [OTHER]: facts({}) }))).toBe(true);
    expect(isBaseAbove(OWN, named, viewOf({ [OTHER]: facts(reigning(5)) }))).toBe(true);
    // What a node that was cut off thinks of the others is old.
    expect(isBaseAbove(OWN, named, viewOf({ [OTHER]: facts({}, { gone: true, live: false }) }))).toBe(true);
  });

  it('is not, when it is none, not higher, or of an older set', () => {
    expect(isBaseAbove(OWN, { ...named, node: SELF }, viewOf({}))).toBe(false);
    expect(isBaseAbove(OWN, { ...named, epoch: epoch(4) }, viewOf({}))).toBe(false);
    expect(isBaseAbove(OWN, named, viewOf({ [OTHER]: facts(reigning(5, { setEpoch: 1 })) }))).toBe(false);
  });
});
