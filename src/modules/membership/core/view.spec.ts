import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { joinRecords, NODE_STATUSES, recordProblem, type NodeRecord } from './node-record.js';
import { LEFT_MAX, LEFT_REMEMBERED_MS, MEMBERS_MAX, newerThan, View } from './view.js';

const uuid = (n: number): string => n.toString(16).padStart(32, '0');

function record(n: number, fields: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId: `n${n}`,
    nodeUuid: uuid(n),
    incarnation: 1,
    status: 'ACTIVE',
    grpcAddress: `n${n}:9090`,
    httpAddress: `n${n}:8080`,
    version: '1.0.0',
    protocolMin: 1,
    protocolMax: 1,
    ...fields,
  };
}

/** Few nodes, incarnations and addresses, so that records conflict. */
const anyRecord: fc.Arbitrary<NodeRecord> = fc
  .tuple(fc.nat(5), fc.nat(2), fc.constantFrom(...NODE_STATUSES), fc.constantFrom('a:1', 'b:1'))
  .map(([n, incarnation, status, grpcAddress]) => record(n, { incarnation, status, grpcAddress }));
const anyRecords = fc.array(anyRecord, { maxLength: 12 });

function viewOf(...batches: readonly (readonly NodeRecord[])[]): View {
  const view = new View(nodeHasher);
  for (const batch of batches) view.merge(batch, 0);
  return view;
}

describe('records of one node', () => {
  const ofOne = anyRecord.map((any) => ({ ...any, nodeUuid: uuid(1), nodeId: 'n1' }));

  it('join as in a semilattice', () => {
    fc.assert(
      fc.property(ofOne, ofOne, ofOne, (a, b, c) => {
        expect(joinRecords(a, b)).toEqual(joinRecords(b, a));
        expect(joinRecords(joinRecords(a, b), c)).toEqual(joinRecords(a, joinRecords(b, c)));
        expect(joinRecords(a, a)).toEqual(a);
      }),
    );
  });

  it('the higher incarnation wins, then LEFT > UNAVAILABLE > SUSPECT > LEAVING > ACTIVE > JOINING', () => {
    const order = ['LEFT', 'UNAVAILABLE', 'SUSPECT', 'LEAVING', 'ACTIVE', 'JOINING'] as const;
    for (const [i, winner] of order.entries()) {
      for (const loser of order.slice(i + 1))
        expect(joinRecords(record(1, { status: loser }), record(1, { status: winner })).status).toBe(winner);
      expect(joinRecords(record(1, { status: 'LEFT' }), record(1, { status: winner, incarnation: 2 })).status).toBe(
        winner,
      );
    }
  });

  it('are refused when something is wrong with them', () => {
    expect(recordProblem(record(1))).toBeUndefined();
    const wrong: Partial<NodeRecord>[] = [
      { nodeUuid: 'x' },
      { nodeUuid: 'A'.repeat(32) },
      { nodeId: 'Not a label' },
      { incarnation: -1 },
      { incarnation: 0.5 },
      { incarnation: Number.NaN },
      { incarnation: Number.MAX_SAFE_INTEGER },
      { status: 'DEAD' as never },
      { grpcAddress: '' },
      { grpcAddress: 'x'.repeat(300) },
      { httpAddress: 'x'.repeat(300) },
      { version: 'x'.repeat(65) },
      { protocolMin: 2, protocolMax: 1 },
      { protocolMax: Number.POSITIVE_INFINITY },
    ];
    for (const fields of wrong) expect(recordProblem(record(1, fields))).toBeDefined();
  });
});

describe('the view', () => {
  it('is the same whatever the order and number of messages', () => {
    fc.assert(
      fc.property(anyRecords, anyRecords, anyRecords, (a, b, c) => {
        const view = viewOf(a, b, c);
        for (const other of [viewOf(c, b, a), viewOf(b, a, c, a, b), viewOf(viewOf(a, b).records(), c)]) {
          expect(other.records()).toEqual(view.records());
          expect(other.digest()).toBe(view.digest());
        }
      }),
    );
  });

  it('has another digest exactly when the members differ', () => {
    fc.assert(
      fc.property(anyRecords, anyRecords, (a, b) => {
        const members = (view: View): unknown => view.records().filter(({ status }) => status !== 'LEFT');
        const [left, right] = [viewOf(a), viewOf(b)];
        const equal = JSON.stringify(members(left)) === JSON.stringify(members(right));
        expect(left.digest() === right.digest()).toBe(equal);
        expect(left.digest()).toMatch(/^[0-9a-f]{32}$/);
      }),
    );
  });

  it('tells what a merge changed, and what another view lacks', () => {
    fc.assert(
      fc.property(anyRecords, anyRecords, (a, b) => {
        const [left, right] = [viewOf(a), viewOf(b)];
        const told = newerThan(right.records(), left.records());
        expect(right.merge(told, 0)).toEqual(told);
        expect(right.merge(left.records(), 0)).toEqual([]);
      }),
    );
  });

  it('is bounded: no member beyond 64, and the longest gone are forgotten first', () => {
    const many = Array.from({ length: MEMBERS_MAX + 10 }, (_, n) => record(n));
    const view = viewOf(many);
    expect(view.records()).toHaveLength(MEMBERS_MAX);
    expect(view.get(uuid(MEMBERS_MAX))).toBeUndefined();
    expect(view.merge([record(0, { status: 'SUSPECT' })], 0)).toHaveLength(1);
    view.merge(
      many.map(({ nodeUuid }, n) => record(n, { nodeUuid, status: 'LEFT' })),
      0,
    );
    expect(view.members()).toBe(0);
    expect(view.records()).toHaveLength(LEFT_MAX);
    expect(view.get(uuid(0))).toBeUndefined();
  });

  it('forgets who left after a while, but not who shall be kept', () => {
    const view = viewOf([record(1), record(2), record(3, { status: 'LEFT' })]);
    view.merge([record(1, { status: 'LEFT' })], 1_000);
    view.forget(LEFT_REMEMBERED_MS, new Set());
    expect(view.records().map(({ nodeId }) => nodeId)).toEqual(['n1', 'n2']);
    view.forget(10 * LEFT_REMEMBERED_MS, new Set([uuid(1)]));
    expect(view.records()).toHaveLength(2);
    view.forget(10 * LEFT_REMEMBERED_MS, new Set());
    expect(view.records()).toEqual([record(2)]);
  });
});
