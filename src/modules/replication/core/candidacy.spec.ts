import { describe, expect, it } from '@jest/globals';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import { Candidacy, GRANT_WAIT_HEARD_MS, GRANT_WAIT_MS, type Decision } from './candidacy.js';
import type { PeerFacts, PeerView } from './peer-view.js';
import type { LogEnd } from './protocol.js';

const [SELF, OTHER, THIRD] = ['aa', 'bb', 'cc'];
const SET = { mapEpoch: 1, members: [SELF, OTHER, THIRD] };
const epoch = (num: number) => ({ num, uuid: new Uint8Array(16).fill(1) });
const END: LogEnd = { lastOffset: 3, lastEpoch: epoch(1), chain: CHAIN_ZERO, history: [], start: 0, agreed: 0 };
const UNHEARD: PeerFacts = {
  live: false,
  gone: false,
  refused: false,
  heardMs: -Infinity,
  reluctant: false,
  full: false,
  position: undefined,
};

const viewOf = (facts: Readonly<Record<string, PeerFacts>>): PeerView => ({
  get: (node) => (node in facts ? facts[node] : undefined),
  nodes: () => Object.keys(facts).sort(),
});

function decide(candidacy: Candidacy, facts: Readonly<Record<string, PeerFacts>>, nowMs: number): Decision['kind'] {
  return candidacy.decide(SELF, END, SET, false, viewOf(facts), nowMs).kind;
}

describe('Candidacy in available mode', () => {
  it('does not wait for a member whose port refuses connections, though it was never heard', () => {
    const candidacy = new Candidacy(0);
    candidacy.granted(OTHER, { setEpoch: 1, end: END });
    expect(decide(candidacy, { [THIRD]: UNHEARD }, 10)).toBe('wait');
    expect(decide(candidacy, { [THIRD]: { ...UNHEARD, refused: true } }, 10)).toBe('reign');
    // Nor for one whose refusal was the answer to the fence.
    candidacy.unreachable(THIRD);
    expect(decide(candidacy, {}, 10)).toBe('reign');
  });

  it('waits for members that are silent, longer when one of them was heard lately and no majority granted', () => {
    const alone = new Candidacy(0);
    expect(decide(alone, { [OTHER]: UNHEARD, [THIRD]: UNHEARD }, GRANT_WAIT_MS - 1)).toBe('wait');
    expect(decide(alone, { [OTHER]: UNHEARD, [THIRD]: UNHEARD }, GRANT_WAIT_MS)).toBe('reign');
    const heard = { ...UNHEARD, heardMs: 0 };
    expect(decide(alone, { [OTHER]: heard, [THIRD]: UNHEARD }, GRANT_WAIT_HEARD_MS - 1)).toBe('wait');
    expect(decide(alone, { [OTHER]: heard, [THIRD]: UNHEARD }, GRANT_WAIT_HEARD_MS)).toBe('reign');
  });

  it('adopts the log of the granter that goes furthest', () => {
    const candidacy = new Candidacy(0);
    candidacy.granted(OTHER, { setEpoch: 1, end: { ...END, lastOffset: 9 } });
    candidacy.granted(THIRD, { setEpoch: 1, end: { ...END, lastOffset: 5, lastEpoch: epoch(2) } });
    expect(candidacy.decide(SELF, END, SET, false, viewOf({}), 0)).toMatchObject({ kind: 'adopt', from: THIRD });
  });

  it('adopts what a granter knows to be agreed before a log of a higher epoch that lacks it', () => {
    const history = [{ epoch: epoch(1), start: 1 }];
    const lone = { ...END, lastOffset: 9, lastEpoch: epoch(2), history: [...history, { epoch: epoch(2), start: 4 }] };
    const candidacy = new Candidacy(0);
    candidacy.granted(OTHER, { setEpoch: 1, end: { ...END, lastOffset: 8, history, agreed: 7 } });
    const found = candidacy.decide(SELF, lone, { ...SET, members: [SELF, OTHER] }, false, viewOf({}), 0);
    expect(found).toMatchObject({ kind: 'adopt', from: OTHER });
  });
});
