import { describe, expect, it } from '@jest/globals';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import type { Heartbeat } from '../membership-peers.js';
import { Membership } from './membership.js';
import type { At, MembershipEffect, MembershipInput } from './membership-io.js';
import type { NodeRecord } from './node-record.js';
import { timingOf } from './timing.js';
import { LEFT_MAX, MEMBERS_MAX } from './view.js';

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

function beat(self: NodeRecord, fields: Partial<Heartbeat> = {}): Heartbeat {
  const load = { diskFreeBytes: 0, diskTotalBytes: 0, wallMs: 0 };
  return {
    clusterId: 'c',
    self,
    load,
    viewDigest: '',
    mapEpoch: 0,
    positions: new Uint8Array(),
    heard: [],
    ...fields,
  };
}

/** Node 1 of a cluster whose others are given. */
class Node {
  readonly machine = new Membership(
    { self: record(1, { incarnation: 10 }), timing: timingOf(2_000, 10_000), seeds: [] },
    nodeHasher,
  );
  at: At = { monotonicMs: 0, wallMs: 1_000_000 };

  constructor(...others: readonly NodeRecord[]) {
    this.step({ kind: 'entered', clusterId: 'c', records: others });
  }

  step(input: MembershipInput): readonly MembershipEffect[] {
    return this.machine.step(input, this.at);
  }

  /** Ticks for so long; all effects of it. */
  pass(ms: number): readonly MembershipEffect[] {
    const effects: MembershipEffect[] = [];
    for (let passed = 0; passed < ms; passed += 100) {
      this.at = { monotonicMs: this.at.monotonicMs + 100, wallMs: this.at.wallMs + 100 };
      effects.push(...this.step({ kind: 'tick' }));
    }
    return effects;
  }

  status(n: number): string | undefined {
    return this.machine.roster.view.get(uuid(n))?.status;
  }
}

function of<Kind extends MembershipEffect['kind']>(
  effects: readonly MembershipEffect[],
  kind: Kind,
): readonly Extract<MembershipEffect, { kind: Kind }>[] {
  return effects.filter((effect): effect is Extract<MembershipEffect, { kind: Kind }> => effect.kind === kind);
}

describe('the membership machine', () => {
  it('says nothing before it entered a cluster', () => {
    const machine = new Membership({ self: record(1), timing: timingOf(2_000, 10_000), seeds: ['x:1'] }, nodeHasher);
    const at = { monotonicMs: 0, wallMs: 0 };
    expect(machine.step({ kind: 'tick' }, at)).toEqual([]);
    expect(machine.step({ kind: 'beat', beat: beat(record(2)) }, at)).toMatchObject([
      { kind: 'reject', code: 'STARTING' },
    ]);
  });

  it('refutes what is said of it with a higher incarnation, to everybody', () => {
    const node = new Node(record(2), record(3));
    for (const status of ['SUSPECT', 'UNAVAILABLE'] as const) {
      const before = node.machine.roster.self.incarnation;
      const effects = node.step({
        kind: 'exchange',
        exchange: {
          clusterId: 'c',
          from: uuid(2),
          viewDigest: '',
          records: [record(1, { incarnation: before, status })],
        },
      });
      const refuted = record(1, { incarnation: before + 1 });
      expect(node.machine.roster.self).toEqual(refuted);
      expect(of(effects, 'exchange').map(({ to, exchange }) => [to, exchange.records])).toEqual([
        [uuid(2), [refuted]],
        [uuid(3), [refuted]],
      ]);
      expect(of(effects, 'answerExchange')[0].records).toContainEqual(refuted);
    }
  });

  it('does not answer an old rumour of itself', () => {
    const node = new Node(record(2));
    const effects = node.step({
      kind: 'exchanged',
      to: uuid(2),
      asked: false,
      records: [record(1, { incarnation: 9, status: 'UNAVAILABLE' })],
    });
    expect(effects).toEqual([]);
    expect(node.machine.roster.self.incarnation).toBe(10);
  });

  it('does not refute that it left, but asks to be taken back, once', () => {
    const node = new Node(record(2));
    const gone = {
      kind: 'exchanged',
      to: uuid(2),
      asked: false,
      records: [record(1, { incarnation: 12, status: 'LEFT' })],
    } as const;
    expect(node.step(gone)).toEqual([{ kind: 'evicted' }]);
    expect(node.step(gone)).toEqual([]);
    const effects = node.step({ kind: 'readmitted', records: gone.records });
    expect(node.machine.roster.self).toMatchObject({ incarnation: 13, status: 'ACTIVE' });
    expect(of(effects, 'exchange')[0].exchange.records).toEqual([node.machine.roster.self]);
    expect(of(effects, 'evicted')).toEqual([]);
  });

  it('asks to be taken in when a node goes on saying that the map does not know it', () => {
    const node = new Node(record(2), record(3));
    const says = (unregistered: boolean) =>
      node.step({ kind: 'unanswered', to: uuid(2), reason: 'REJECTED', unregistered });
    const evictions: MembershipEffect[] = [];
    const pass = (ms: number): void => {
      evictions.push(...of(node.pass(ms), 'evicted'));
    };
    // A map that is a moment behind, a node that is not heard meanwhile, one that changed its mind: no.
    says(true);
    pass(2_900);
    evictions.push(...of(says(true), 'evicted'));
    says(false);
    pass(2_900);
    evictions.push(...of(says(true), 'evicted'));
    pass(2_900);
    node.step({ kind: 'answered', to: uuid(2), sentMs: node.at.monotonicMs, beat: beat(record(2)) });
    pass(200);
    evictions.push(...of(says(true), 'evicted'));
    expect(evictions).toEqual([]);
    pass(3_000);
    expect(of(says(true), 'evicted')).toEqual([{ kind: 'evicted' }]);
    expect(of(says(true), 'evicted')).toEqual([]);
  });

  it('does not believe that a node failed which it hears; it tells the accused', () => {
    const node = new Node(record(2), record(3));
    node.step({ kind: 'answered', to: uuid(3), sentMs: 0, beat: beat(record(3)) });
    const effects = node.step({
      kind: 'exchange',
      exchange: { clusterId: 'c', from: uuid(2), viewDigest: '', records: [record(3, { status: 'UNAVAILABLE' })] },
    });
    expect(node.status(3)).toBe('ACTIVE');
    expect(of(effects, 'exchange')).toMatchObject([
      { to: uuid(3), exchange: { records: [record(3, { status: 'SUSPECT' })] } },
    ]);
    node.pass(6_000);
    expect(node.status(3)).toBe('SUSPECT');
  });

  it('believes it of a node it never heard', () => {
    const node = new Node(record(2), record(3));
    node.step({ kind: 'exchanged', to: uuid(2), asked: true, records: [record(3, { status: 'UNAVAILABLE' })] });
    expect(node.status(3)).toBe('UNAVAILABLE');
  });

  it('counts as heard whom others hear', () => {
    const node = new Node(record(2), record(3));
    for (let i = 0; i < 10; i++) {
      node.pass(2_000);
      node.step({ kind: 'beat', beat: beat(record(2), { heard: [{ nodeUuid: uuid(3), agoMs: 1_900 }] }) });
    }
    expect(node.status(3)).toBe('ACTIVE');
    // A beat of 2 that we did not ask for does not mean that it hears us.
    expect(node.status(2)).toBe('UNAVAILABLE');
  });

  it('judges nobody by its own pause, and tells of it', () => {
    const node = new Node(record(2));
    node.pass(1_000);
    node.at = { monotonicMs: node.at.monotonicMs + 60_000, wallMs: node.at.wallMs + 60_000 };
    const effects = node.step({ kind: 'tick' });
    expect(of(effects, 'paused')).toEqual([{ kind: 'paused', ms: 60_000 }]);
    expect(of(effects, 'heartbeat')).toHaveLength(1);
    node.pass(4_800);
    expect(node.status(2)).toBe('ACTIVE');
    node.pass(300);
    expect(node.status(2)).toBe('SUSPECT');
  });

  it('takes two beats in flight at most for one silent node', () => {
    const node = new Node(record(2));
    expect(of(node.pass(60_000), 'heartbeat')).toHaveLength(2);
  });

  it('looks for members of the map for ever, for strangers no longer than a minute', () => {
    const node = new Node(record(2), record(3));
    const members = [1, 2, 4].map((n) => ({ nodeUuid: uuid(n), nodeId: `n${n}`, address: `map-${n}:9090` }));
    node.step({ kind: 'map', mapEpoch: 1, members });
    const silence = (): readonly MembershipEffect[] => {
      const effects = node.pass(1_000);
      for (const { to } of of(effects, 'heartbeat')) node.step({ kind: 'unanswered', to, reason: 'TIMEOUT' });
      return effects;
    };
    for (let i = 0; i < 80; i++) silence();
    expect(node.status(3)).toBe('LEFT');
    expect(of(silence(), 'heartbeat').map(({ to, address }) => [to, address])).toEqual([
      [uuid(2), 'n2:9090'],
      [uuid(4), 'map-4:9090'],
    ]);
  });

  it('takes for gone whose address another data directory answers at', () => {
    const node = new Node(record(2));
    for (let i = 0; i < 4; i++) {
      node.pass(300);
      node.step({
        kind: 'answered',
        to: uuid(2),
        sentMs: node.at.monotonicMs - 1,
        beat: beat(record(5, { grpcAddress: 'n2:9090' })),
      });
    }
    node.pass(100);
    expect(node.status(2)).toBe('SUSPECT');
    expect(node.status(5)).toBe('ACTIVE');
  });

  it('takes no rubbish', () => {
    const node = new Node(record(2));
    const digest = node.machine.roster.view.digest();
    const bad: [Heartbeat, string][] = [
      [beat(record(2), { clusterId: 'other' }), 'FORBIDDEN'],
      [beat(record(2, { protocolMin: 5, protocolMax: 6 })), 'FORBIDDEN'],
      [beat(record(2, { nodeUuid: 'x' })), 'INVALID_REQUEST'],
      [beat(record(2, { incarnation: Number.POSITIVE_INFINITY })), 'INVALID_REQUEST'],
      [beat(record(2, { incarnation: 5 }), { mapEpoch: Number.NaN }), 'INVALID_REQUEST'],
      [beat(record(2, { incarnation: 5 }), { positions: new Uint8Array(2 ** 20 + 1) }), 'LIMIT_EXCEEDED'],
      [beat(record(1, { grpcAddress: 'twin:1' })), 'OPERATION_CONFLICT'],
    ];
    for (const [each, code] of bad)
      expect(of(node.step({ kind: 'beat', beat: each }), 'reject')).toMatchObject([{ code }]);
    const records = Array.from({ length: MEMBERS_MAX + LEFT_MAX + 1 }, (_, n) => record(n + 10));
    const exchange = { clusterId: 'c', from: uuid(2), viewDigest: '', records };
    expect(node.step({ kind: 'exchange', exchange })).toMatchObject([{ kind: 'reject', code: 'LIMIT_EXCEEDED' }]);
    node.step({ kind: 'exchanged', to: uuid(2), asked: false, records: [record(3, { grpcAddress: '' })] });
    expect(node.machine.roster.view.digest()).toBe(digest);
    expect(node.machine.roster.refused).toBeGreaterThanOrEqual(bad.length);
  });

  it('takes no member beyond the bound', () => {
    const node = new Node(...Array.from({ length: MEMBERS_MAX - 1 }, (_, n) => record(n + 2)));
    expect(of(node.step({ kind: 'beat', beat: beat(record(999)) }), 'reject')).toMatchObject([
      { code: 'LIMIT_EXCEEDED' },
    ]);
  });

  it('tells a change with one record, and compares equal views with none', () => {
    const node = new Node(record(2), record(3));
    const effects = node.step({ kind: 'admitted', record: record(4, { status: 'JOINING' }) });
    expect(of(effects, 'exchange').map(({ exchange }) => exchange.records.length)).toEqual([1, 1, 1]);
    const viewDigest = node.machine.roster.view.digest();
    const equal = { clusterId: 'c', from: uuid(2), viewDigest, records: [] };
    expect(node.step({ kind: 'exchange', exchange: equal })).toEqual([{ kind: 'answerExchange', records: [] }]);
    expect(of(node.step({ kind: 'exchange', exchange: { ...equal, viewDigest: '' } }), 'answerExchange')).toMatchObject(
      [{ records: { length: 4 } }],
    );
  });

  it('tells back what the other lacks when it asked, and only then', () => {
    const node = new Node(record(2), record(3));
    const records = [record(2)];
    const told = of(node.step({ kind: 'exchanged', to: uuid(2), asked: true, records }), 'exchange');
    expect(told.map(({ exchange }) => exchange.records.map(({ nodeId }) => nodeId))).toEqual([['n1', 'n3']]);
    expect(node.step({ kind: 'exchanged', to: uuid(2), asked: false, records })).toEqual([]);
  });
});
