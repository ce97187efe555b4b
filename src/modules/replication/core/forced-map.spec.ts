import { describe, expect, it } from '@jest/globals';
import { toHex } from '../../../kernel/bytes.js';
import { forceMapProblem } from './forced-map.js';
import type { PeerFacts } from './peer-view.js';
import type { ShardPosition } from './protocol.js';

const uuidOf = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const [SELF, SECOND, THIRD, LEARNER] = [1, 2, 3, 4].map((byte) => toHex(uuidOf(byte)));
const epoch = { num: 4, uuid: uuidOf(2) };
const GONE: Partial<PeerFacts> = { live: false, gone: true };

function problem(facts: Readonly<Record<string, Partial<PeerFacts>>>) {
  const all = new Map(
    Object.entries(facts).map(([node, own]): [string, PeerFacts] => [
      node,
      {
        live: true,
        gone: false,
        refused: false,
        heardMs: 5,
        reluctant: false,
        full: false,
        position: undefined,
        ...own,
      },
    ]),
  );
  return forceMapProblem({
    self: SELF,
    set: { mapEpoch: 1, members: [SELF, SECOND, THIRD] },
    end: { lastEpoch: epoch, lastOffset: 12 },
    peers: { get: (node) => all.get(node), nodes: () => [...all.keys()] },
  });
}

function at(lastOffset: number, faulted = false): Partial<PeerFacts> {
  return { position: { lastEpoch: epoch, lastOffset, faulted } as ShardPosition };
}

describe('forceMapProblem', () => {
  it('is that a majority of the voters answers, or may in a moment', () => {
    expect(problem({ [SECOND]: {}, [THIRD]: GONE })).toEqual({ kind: 'majority' });
    expect(problem({ [SECOND]: { live: false }, [THIRD]: GONE })).toEqual({ kind: 'majority' });
  });

  it.each<[string, Partial<PeerFacts>]>([
    ['gone', GONE],
    ['refusing connections', { live: false, refused: true }],
    ['never heard', { live: false, heardMs: -Infinity }],
    ['damaged', at(20, true)],
  ])('is none when the others are %s', (_, others) => {
    expect(problem({ [SECOND]: others, [THIRD]: others })).toBeUndefined();
    expect(problem({})).toBeUndefined();
  });

  it('is that another node that answers has more of the map, voter or not', () => {
    const lost = { [SECOND]: GONE, [THIRD]: GONE };
    expect(problem({ ...lost, [LEARNER]: at(13) })).toEqual({ kind: 'further', node: LEARNER });
    expect(problem({ ...lost, [LEARNER]: at(12) })).toBeUndefined();
    expect(problem({ ...lost, [LEARNER]: { ...GONE, ...at(13) } })).toBeUndefined();
    expect(problem({ ...lost, [LEARNER]: at(13, true) })).toBeUndefined();
  });
});
