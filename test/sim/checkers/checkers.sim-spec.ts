import { describe, expect, it } from '@jest/globals';
import { reignTag } from '../../../src/kernel/epoch.js';
import { NO_BRANCHES } from '../../../src/modules/replication/core/branch-epochs.js';
import type { ReplicaInspection } from '../world/node.js';
import { checkAcknowledgement, checkSurvival } from './acknowledged.js';
import { checkIndexed, checkUnion, missing } from './convergence.js';
import { checkDeadlines } from './deadlines.js';
import { InSync } from './in-sync.js';
import { checkInvented } from './invented.js';
import { LogOrder } from './log-order.js';
import type { Acknowledgement, Observation, ObservedCopy, Operation, StoredEntry } from './observation.js';
import { checkQueues } from './queue-bounds.js';
import { checkStrictOrder, Reigns } from './reigns.js';
import { checkSessions } from './sessions.js';

const A = 'aa'.repeat(16);
const B = 'bb'.repeat(16);
const C = 'cc'.repeat(16);
const epoch = (num: number, uuid = 0xaa) => ({ num, uuid: new Uint8Array(16).fill(uuid) });
const version = (n: number, opId = '0'.repeat(32)) => n.toString(16).padStart(16, '0') + opId;
const rules = (found: readonly { readonly rule: string }[]) => found.map(({ rule }) => rule);

function operation(change: Partial<Operation> = {}): Operation {
  return {
    index: 0,
    shard: 0,
    document: '1/a',
    kind: 'UPSERT',
    opId: '0'.repeat(32),
    payload: 'p',
    level: 'quorum',
    invokedMs: 0,
    ...change,
  };
}

function acknowledgement(change: Partial<Acknowledgement> = {}): Acknowledgement {
  return {
    operation: operation(),
    atMs: 10,
    nodeUuid: A,
    askedMs: 5,
    version: version(5),
    epoch: 1,
    tag: 0,
    offset: 2,
    reign: epoch(1),
    strict: false,
    level: 'quorum',
    set: [A, B, C],
    holders: [A, B],
    afterFailure: false,
    ...change,
  };
}

function inspection(change: Partial<ReplicaInspection> = {}): ReplicaInspection {
  return {
    role: 'replica',
    epoch: epoch(1),
    leader: A,
    promised: epoch(1),
    set: { mapEpoch: 1, members: [A, B] },
    highWaterMark: 5,
    applied: 5,
    inSync: [A, B],
    selfInSync: true,
    faulted: false,
    loose: 0,
    queues: [],
    ...change,
  };
}

function copy(nodeUuid: string, change: Partial<ObservedCopy> = {}): ObservedCopy {
  return {
    nodeUuid,
    host: nodeUuid.slice(0, 1),
    shard: 0,
    up: true,
    awake: true,
    tail: 5,
    lastEpoch: epoch(1),
    chain: 'c',
    start: 0,
    history: [{ epoch: epoch(1), start: 1 }],
    branches: NO_BRANCHES,
    entries: new Map(),
    documents: [],
    indexed: new Map(),
    inspection: inspection(nodeUuid === A ? { role: 'primary' } : {}),
    ...change,
  };
}

function observation(atMs: number, copies: readonly ObservedCopy[]): Observation {
  return { atMs, copies, views: new Map() };
}

function entry(offset: number, change: Partial<StoredEntry> = {}): StoredEntry {
  return {
    nodeUuid: A,
    shard: 0,
    epoch: epoch(1),
    offset,
    op: 'UPSERT',
    document: '1/a',
    version: version(offset),
    merged: false,
    bytes: new Uint8Array([offset]),
    ...change,
  };
}

describe('sessions', () => {
  const branch = { epoch: epoch(2, 0xbb), end: 9, fork: 4 };
  const ack = acknowledgement({ epoch: 2, tag: reignTag(branch.epoch), offset: 7 });
  const merged = copy(B, { tail: 12, branches: { merged: [{ ...branch, offset: 11 }], cut: [] } });
  const other = copy(B, { tail: 12 });

  it('are met by the log, or by a MERGED in it', () => {
    expect(checkSessions([ack, acknowledgement()], [merged], new Set())).toEqual([]);
    expect(rules(checkSessions([ack], [merged, other], new Set()))).toEqual(['SESSION']);
    expect(checkSessions([ack], [other], new Set([A]))).toEqual([]);
    // Another primary's reign of the same number.
    expect(rules(checkSessions([{ ...ack, tag: 1 }], [merged], new Set()))).toEqual(['SESSION']);
  });

  it('wait for what is not merged yet', () => {
    const goal = { sets: new Map([[0, [A, B]]]), union: new Map() };
    const both = (cut: readonly (typeof branch)[]) =>
      observation(0, [copy(A), copy(B, { branches: { merged: [], cut } })]);
    expect(missing(both([]), goal)).toEqual([]);
    expect(rules(missing(both([branch]), goal))).toEqual(['SESSION']);
  });
});

describe('S1 and S8, when it is said', () => {
  it('accepts an acknowledgement that is true', () => {
    expect(checkAcknowledgement(acknowledgement())).toEqual([]);
  });

  it('finds too few copies', () => {
    expect(rules(checkAcknowledgement(acknowledgement({ holders: [A] })))).toEqual(['S1']);
    expect(rules(checkAcknowledgement(acknowledgement({ level: 'one', holders: [] })))).toEqual(['S1']);
  });

  it('finds a learner that was counted', () => {
    expect(rules(checkAcknowledgement(acknowledgement({ holders: [A, 'dd'] })))).toEqual(['S8']);
  });

  it('finds a node that speaks after its disk failed', () => {
    expect(rules(checkAcknowledgement(acknowledgement({ afterFailure: true })))).toEqual(['S1']);
  });

  it('finds a primary outside of the set, and a strict write that one copy has', () => {
    expect(rules(checkAcknowledgement(acknowledgement({ nodeUuid: 'dd' })))).toEqual(['S8']);
    expect(rules(checkAcknowledgement(acknowledgement({ strict: true, level: 'one' })))).toEqual(['S5']);
  });
});

describe('S1 and S2, at the end', () => {
  const row = (n: number, tombstone = false) => [
    { document: '1/a', version: version(n), tombstone, payload: undefined },
  ];

  it('accepts the write and what supersedes it', () => {
    expect(checkSurvival([acknowledgement()], [copy(A, { documents: row(5) })], new Set())).toEqual([]);
    expect(checkSurvival([acknowledgement()], [copy(A, { documents: row(6) })], new Set())).toEqual([]);
  });

  it('finds a write that is lost, unless all that had it are destroyed', () => {
    const copies = [copy(C, { documents: row(4) })];
    expect(rules(checkSurvival([acknowledgement()], copies, new Set([A])))).toEqual(['S1']);
    expect(checkSurvival([acknowledgement()], copies, new Set([A, B]))).toEqual([]);
  });

  it('finds a deleted document that is back', () => {
    const ack = acknowledgement({ operation: operation({ kind: 'DELETE' }) });
    expect(rules(checkSurvival([ack], [copy(A, { documents: row(4) })], new Set()))).toEqual(['S2']);
  });

  it('finds a strict entry that gave way to another', () => {
    const ack = acknowledgement({ strict: true });
    const with2 = (n: number) => [copy(A, { entries: new Map([[2, version(n)]]) })];
    expect(checkSurvival([ack], with2(5), new Set())).toEqual([]);
    expect(rules(checkSurvival([ack], with2(6), new Set()))).toEqual(['S1']);
    expect(checkSurvival([ack], with2(6), new Set([A, B]))).toEqual([]);
  });

  it('finds rows that nobody wrote', () => {
    const check = (change: object) =>
      rules(
        checkInvented(
          [
            copy(A, {
              documents: [{ document: '1/a', version: version(1), tombstone: false, payload: 'p', ...change }],
            }),
          ],
          [operation()],
        ),
      );
    expect(check({})).toEqual([]);
    expect(check({ version: version(1, '1'.repeat(32)) })).toEqual(['S2']);
    expect(check({ document: '1/b' })).toEqual(['S2']);
    expect(check({ tombstone: true })).toEqual(['S2']);
    expect(check({ payload: 'q' })).toEqual(['S2']);
  });
});

describe('logs', () => {
  it('S3: finds other bytes at one epoch and offset', () => {
    const logs = new LogOrder();
    expect(logs.append(entry(1))).toEqual([]);
    expect(logs.append(entry(1, { nodeUuid: B }))).toEqual([]);
    expect(rules(logs.append(entry(1, { nodeUuid: C, bytes: new Uint8Array([9]) })))).toEqual(['S3']);
  });

  it('S7: finds a gap, and takes cuts and snapshots for what they are', () => {
    const logs = new LogOrder();
    logs.append(entry(1));
    expect(rules(logs.append(entry(3)))).toEqual(['S7']);
    logs.cut(A, 0, 1);
    expect(logs.append(entry(2, { epoch: epoch(2) }))).toEqual([]);
    logs.settle(A, 0, { before: 9, start: 9, generation: 1 });
    expect(logs.append(entry(10, { epoch: epoch(2) }))).toEqual([]);
  });

  it('S4: finds an epoch that goes back, and a promise that does', () => {
    const logs = new LogOrder();
    logs.append(entry(1, { epoch: epoch(2) }));
    expect(rules(logs.append(entry(2)))).toEqual(['S4']);
    expect(logs.granted(A, 0, epoch(3))).toEqual([]);
    expect(logs.granted(A, 0, epoch(3))).toEqual([]);
    expect(rules(logs.granted(A, 0, epoch(2)))).toEqual(['S4']);
  });

  it('S12: finds a version that does not increase on a branch', () => {
    const logs = new LogOrder();
    logs.append(entry(1, { version: version(7) }));
    expect(rules(logs.append(entry(2, { version: version(7) })))).toEqual(['S12']);
    logs.cut(A, 0, 0);
    expect(logs.append(entry(1, { epoch: epoch(2), version: version(3) }))).toEqual([]);
  });
});

describe('reigns', () => {
  const primary = (change: Partial<ReplicaInspection> = {}) =>
    copy(A, { inspection: inspection({ role: 'primary', ...change }) });

  it('S4: finds an epoch of two starts, and one of another node', () => {
    const reigns = new Reigns();
    expect(reigns.see(primary(), 'a#1', 0)).toEqual([]);
    expect(reigns.see(primary(), 'a#1', 0)).toEqual([]);
    expect(rules(reigns.see(primary(), 'a#2', 0))).toEqual(['S4']);
    expect(rules(new Reigns().see(primary({ epoch: epoch(1, 0xbb) }), 'a#1', 0))).toEqual(['S4']);
  });

  it('S4: finds a promise that fell', () => {
    const reigns = new Reigns();
    reigns.see(copy(B, { inspection: inspection({ promised: epoch(3) }) }), 'b#1', 0);
    expect(rules(reigns.see(copy(B), 'b#2', 0))).toEqual(['S4']);
  });

  it('S8: finds a faulted primary and one outside of its set', () => {
    expect(rules(new Reigns().see(primary({ faulted: true }), 'a#1', 0))).toEqual(['S8']);
    const reigns = new Reigns();
    const outside = primary({ set: { mapEpoch: 1, members: [B] } });
    expect(reigns.see(outside, 'a#1', 0)).toEqual([]);
    expect(rules(reigns.see(outside, 'a#1', 5_000))).toEqual(['S8']);
  });

  it('S5: finds reigns that overlap, writes out of order, double execution, and two that replaced one version', () => {
    const first = acknowledgement({ strict: true, reign: epoch(2) });
    const later = (change: Partial<Acknowledgement>, op: Partial<Operation> = {}) =>
      acknowledgement({
        strict: true,
        reign: epoch(2),
        atMs: 30,
        askedMs: 20,
        offset: 3,
        version: version(6),
        operation: operation({ index: 1, invokedMs: 20, opId: '1'.repeat(32), ...op }),
        ...change,
      });
    expect(checkStrictOrder([first, later({})])).toEqual([]);
    expect(rules(checkStrictOrder([first, later({ reign: epoch(1) })]))).toEqual(['S5']);
    expect(rules(checkStrictOrder([first, later({ offset: 1 })]))).toEqual(['S5']);
    expect(rules(checkStrictOrder([first, later({ operation: first.operation })]))).toEqual(['S5']);
    const expected = { expected: version(1) };
    const replaced = acknowledgement({ strict: true, reign: epoch(2), operation: operation(expected) });
    expect(rules(checkStrictOrder([replaced, later({}, expected)]))).toEqual(['S5']);
  });
});

describe('S9', () => {
  it('finds a copy that is called in sync and is gone, late, or deceives itself', () => {
    const late = inspection({ applied: 3 });
    const judge = (then: ObservedCopy, published: readonly string[]) => {
      const inSync = new InSync(500);
      const found: string[] = [];
      for (let atMs = 0; atMs <= 8_000; atMs += 250) {
        const primary = copy(A, { inspection: inspection({ role: 'primary', inSync: published }) });
        found.push(...rules(inSync.see(observation(atMs, [primary, atMs < 250 ? copy(B) : then]))));
      }
      return new Set(found);
    };
    expect(judge(copy(B), [A, B])).toEqual(new Set());
    expect(judge(copy(B, { up: false, inspection: undefined }), [A, B])).toEqual(new Set(['S9']));
    expect(judge(copy(B, { up: false, inspection: undefined }), [A])).toEqual(new Set());
    expect(judge(copy(B, { inspection: late }), [A, B])).toEqual(new Set(['S9']));
    expect(judge(copy(B, { inspection: late }), [A])).toEqual(new Set(['S9']));
  });
});

describe('convergence', () => {
  const goal = { sets: new Map([[0, [A, B]]]), union: new Map<string, string>() };
  const seen = (b: Partial<ObservedCopy>, views: ReadonlyMap<string, string> = new Map()) =>
    rules(missing({ ...observation(0, [copy(A), copy(B, b)]), views }, goal));

  it('is content with equal copies', () => {
    expect(seen({})).toEqual([]);
  });

  it('L1: finds views that differ', () => {
    expect(
      seen(
        {},
        new Map([
          ['a', 'x'],
          ['b', 'y'],
        ]),
      ),
    ).toEqual(['L1']);
  });

  it('L2: finds no primary, and two', () => {
    expect(rules(missing(observation(0, [copy(B)]), goal))).toEqual(['L2']);
    expect(seen({ inspection: inspection({ role: 'primary' }) })).toEqual(['L2']);
  });

  it('L3, L4, L7: finds what is late, different, loose, faulted and passing', () => {
    expect(seen({ inspection: inspection({ applied: 4 }) })).toEqual(['L3']);
    expect(seen({ tail: 4 })).toContain('L4');
    expect(seen({ chain: 'd' })).toEqual(['L4']);
    expect(seen({ documents: [{ document: '1/a', version: version(1), tombstone: false, payload: '' }] })).toEqual([
      'L4',
    ]);
    expect(seen({ inspection: inspection({ loose: 1 }) })).toEqual(['L4']);
    expect(seen({ inspection: inspection({ faulted: true }) })).toEqual(['L4']);
    expect(seen({ inspection: inspection({ selfInSync: false }) })).toEqual(['L4']);
    expect(seen({ inspection: inspection({ passing: 'a candidate' }) })).toEqual(['L7']);
  });

  it('S6: finds a version of the union that a copy lacks', () => {
    const union = new Map([['0|1/a', version(3)]]);
    const holding = (n: number) => [
      copy(A, { documents: [{ document: '1/a', version: version(n), tombstone: false, payload: undefined }] }),
    ];
    expect(checkUnion(holding(3), union)).toEqual([]);
    expect(rules(checkUnion(holding(2), union))).toEqual(['S6']);
  });

  it('L3: finds what is stored and not in the index', () => {
    const documents = [{ document: '1/a', version: version(1), tombstone: false, payload: undefined }];
    expect(checkIndexed([copy(A, { documents, indexed: new Map([['1/a', version(1)]]) })])).toEqual([]);
    expect(rules(checkIndexed([copy(A, { documents })]))).toEqual(['L3']);
  });
});

describe('bounds', () => {
  it('S13: finds a queue beyond its bound', () => {
    const queues = (size: number) => [copy(A, { inspection: inspection({ queues: [{ name: 'q', size, bound: 3 }] }) })];
    expect(checkQueues(observation(0, queues(3)))).toEqual([]);
    expect(rules(checkQueues(observation(0, queues(4))))).toEqual(['S13']);
  });

  it('L8: finds a call that lasts, but not one whose process died or slept', () => {
    const call = { what: 'write 1', startedMs: 0, endedMs: undefined, pausedMs: 0, bereft: false };
    expect(checkDeadlines([call], 100, 100)).toEqual([]);
    expect(rules(checkDeadlines([call], 101, 100))).toEqual(['L8']);
    expect(rules(checkDeadlines([{ ...call, endedMs: 101 }], 200, 100))).toEqual(['L8']);
    expect(checkDeadlines([{ ...call, bereft: true }], 200, 100)).toEqual([]);
    expect(checkDeadlines([{ ...call, pausedMs: 150 }], 200, 100)).toEqual([]);
  });
});
