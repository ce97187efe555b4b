import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import { compareVersions, versionText, type Version } from '../../../kernel/version.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO } from '../../log/core/entry.js';
import {
  decodeEntry,
  encodeEntry,
  entryCollectionId,
  entryId,
  entryOffset,
  entryOp,
  entryVersion,
} from '../../log/core/entry-codec.js';
import { documentKey, idempotencyKey } from '../../log/core/keys.js';
import type { Row, RowChange } from '../../log/log-store.js';
import {
  CounterTally,
  decodeRow,
  encodeRow,
  liveDocuments,
  looseRows,
  nextRow,
  shardDigest,
  ZERO_COUNTERS,
  type DocumentRow,
} from '../../shard/core/rows.js';
import { endOfLoose, loosen, sortLoose } from './loose-rows.js';
import { encodeOperation } from './operation-row.js';

const SHARD = 2;
const COLLECTION = 1;

interface Write {
  readonly id: string;
  readonly ms: number;
  readonly tombstone: boolean;
}

/** A log that is applied as a replica applies it, rows and counters beside it. */
class Copy {
  readonly log: Uint8Array[] = [];
  readonly rows = new Map<string, Row>();
  tally = new CounterTally(nodeHasher, ZERO_COUNTERS);
  readonly #stored = { shard: SHARD, generation: 1, row: (key: Uint8Array) => this.rows.get(toHex(key))?.value };

  append(epoch: Epoch, write: Write, version: Version = versionOf(write)): Uint8Array {
    const offset = this.log.length + 1;
    const entry = encodeEntry(
      {
        op: write.tombstone ? 'DELETE' : 'UPSERT',
        shard: SHARD,
        epoch,
        offset,
        version,
        collectionId: COLLECTION,
        id: write.id,
        payload: new Uint8Array(0),
      },
      CHAIN_ZERO,
      nodeHasher,
    ).bytes;
    this.take(entry);
    return entry;
  }

  /** A primary's write: it supersedes the row it could have seen (1.4). */
  reign(epoch: Epoch, write: Write): void {
    const row = this.row(write.id);
    if (row === undefined || compareVersions(versionOf(write), row.version) > 0) this.append(epoch, write);
  }

  /** The next entry of the log, from whoever wrote it. */
  take(entry: Uint8Array): void {
    this.log.push(entry);
    const id = entryId(entry);
    const key = documentKey(1, SHARD, COLLECTION, id);
    const before = this.row(id);
    const op = entryOp(entry);
    const after = nextRow({ op, version: entryVersion(entry), offset: entryOffset(entry) }, entry.length, before);
    if (after === undefined) {
      this.tally.supersede(entry.length);
      return;
    }
    this.tally.change(COLLECTION, id, before, after);
    this.write([{ key, value: encodeRow(after) }, ...endOfLoose(SHARD, COLLECTION, id, before)]);
  }

  cut(fork: number, parts: number): void {
    const gone = this.log.slice(fork);
    const rows: RowChange[] = [];
    const size = Math.max(1, Math.ceil(gone.length / parts));
    for (let at = 0; at < gone.length; at += size) {
      const part = loosen(gone.slice(at, at + size), fork, this.#stored, this.tally);
      this.write(part.side);
      rows.push(...part.rows);
    }
    this.write(rows);
    this.log.length = fork;
  }

  loose(): readonly Uint8Array[] {
    const { entries, leftovers } = sortLoose(
      [...this.rows.values()].filter(({ key }) => key[0] === 0x6c),
      this.#stored,
    );
    expect(leftovers).toEqual([]);
    return entries;
  }

  row(id: string): DocumentRow | undefined {
    const stored = this.rows.get(toHex(documentKey(1, SHARD, COLLECTION, id)));
    return stored === undefined ? undefined : decodeRow(stored.value);
  }

  /** id → version, tombstones included. */
  map(): Record<string, string> {
    const map: Record<string, string> = {};
    for (const id of IDS) {
      const row = this.row(id);
      if (row !== undefined) map[id] = `${versionText(row.version)}${row.tombstone ? ' deleted' : ''}`;
    }
    return map;
  }

  write(changes: readonly RowChange[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) this.rows.delete(toHex(key));
      else this.rows.set(toHex(key), { key, value });
    }
  }

  /** The counters are those of the rows and the log. */
  check(): void {
    const fresh = new CounterTally(nodeHasher, ZERO_COUNTERS);
    let pointed = 0;
    for (const id of IDS) {
      const row = this.row(id);
      if (row === undefined) continue;
      fresh.change(COLLECTION, id, undefined, row);
      pointed += row.bytes;
      if (!row.loose) {
        const entry = this.log[row.offset - 1];
        expect(versionText(entryVersion(entry))).toBe(versionText(row.version));
        expect(entryId(entry)).toBe(id);
      }
    }
    const [expected, counted] = [fresh.value(), this.tally.value()];
    expect(shardDigest(counted)).toEqual(shardDigest(expected));
    expect(liveDocuments(counted)).toBe(liveDocuments(expected));
    expect(looseRows(counted)).toBe(looseRows(expected));
    expect(looseRows(counted)).toBe(this.loose().length);
    const logged = this.log.reduce((sum, entry) => sum + entry.length, 0);
    expect(counted.supersededBytes).toBe(logged - pointed);
  }
}

const IDS = ['a', 'b', 'c', 'd'];
const epoch = (num: number): Epoch => ({ num, uuid: new Uint8Array(16).fill(num) });
const versionOf = ({ ms, id, tombstone }: Write): Version => ({
  hlc: { ms, counter: 0 },
  opId: new Uint8Array(16).fill(id.charCodeAt(0) + (tombstone ? 100 : 0)),
});
const write: fc.Arbitrary<Write> = fc.record({
  id: fc.constantFrom(...IDS),
  ms: fc.integer({ min: 1, max: 12 }),
  tombstone: fc.boolean(),
});
const writes = fc.array(write, { maxLength: 12 });

/** Last writer wins over everything that was ever written. */
function union(all: readonly Write[]): Record<string, string> {
  const copy = new Copy();
  for (const each of all) copy.append(epoch(1), each);
  return copy.map();
}

describe('loose rows', () => {
  it('bring both branches together, whatever was written on them, however often they are offered', () => {
    fc.assert(
      fc.property(
        writes,
        writes,
        writes,
        writes,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        (common, mine, theirs, later, parts, times) => {
          const loser = new Copy();
          const primary = new Copy();
          for (const each of common) primary.reign(epoch(1), each);
          for (const entry of primary.log) loser.take(entry);
          const fork = primary.log.length;
          for (const each of mine) loser.reign(epoch(2), each);
          for (const each of theirs) primary.reign(epoch(3), each);
          loser.check();
          const before = loser.map();
          loser.cut(fork, parts);
          loser.check();
          // A cut changes where documents are, never what they are.
          expect(loser.map()).toEqual(before);
          const follow = (): void => {
            for (const entry of primary.log.slice(loser.log.length)) loser.take(entry);
          };
          follow();
          loser.check();
          for (let time = 0; time < times; time++) {
            for (const entry of loser.loose()) {
              const { id, op, version } = decodeEntry(entry);
              const known = primary.row(id);
              if (known === undefined || compareVersions(version, known.version) > 0)
                primary.append(epoch(3), { id, ms: version.hlc.ms, tombstone: op === 'DELETE' }, version);
            }
          }
          for (const each of later) primary.reign(epoch(3), each);
          follow();
          loser.check();
          primary.check();
          expect(loser.loose()).toEqual([]);
          expect(loser.map()).toEqual(primary.map());
          expect(primary.map()).toEqual(union([...common, ...mine, ...theirs, ...later]));
        },
      ),
    );
  });

  it('stay through a second branch and a third', () => {
    fc.assert(
      fc.property(writes, writes, writes, (common, first, second) => {
        const copy = new Copy();
        for (const each of common) copy.append(epoch(1), each);
        for (const each of first) copy.append(epoch(2), each);
        copy.cut(common.length, 2);
        for (const each of second) copy.append(epoch(3), each);
        copy.check();
        copy.cut(common.length, 1);
        copy.check();
        copy.cut(0, 3);
        copy.check();
        expect(copy.map()).toEqual(union([...common, ...first, ...second]));
        expect(copy.loose()).toHaveLength(Object.keys(copy.map()).length);
      }),
    );
  });

  it('leave entries of a dropped collection and results of keys above the fork to nobody', () => {
    const copy = new Copy();
    const kept = copy.append(epoch(1), { id: 'a', ms: 1, tombstone: false });
    const gone = copy.append(epoch(1), { id: 'b', ms: 2, tombstone: false });
    for (const entry of [kept, gone]) {
      const { version, offset } = decodeEntry(entry);
      const result = { offset, epoch: 1, version, created: true, fingerprint: new Uint8Array(16), writtenMs: 1 };
      copy.write([{ key: idempotencyKey(SHARD, version.opId), value: encodeOperation(result) }]);
    }
    copy.tally.drop(COLLECTION);
    copy.cut(1, 1);
    expect(copy.row('a')).toBeDefined();
    expect(copy.row('b')).toBeUndefined();
    expect(copy.loose()).toEqual([]);
    expect(copy.rows.has(toHex(idempotencyKey(SHARD, entryVersion(kept).opId)))).toBe(true);
    expect(copy.rows.has(toHex(idempotencyKey(SHARD, entryVersion(gone).opId)))).toBe(false);
    expect(entryCollectionId(gone)).toBe(COLLECTION);
  });
});
