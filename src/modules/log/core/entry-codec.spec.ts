import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { InvariantError } from '../../../kernel/assert.js';
import { fromHex, toHex, utf8 } from '../../../kernel/bytes.js';
import { nodeHasher } from '../../../platform/crypto/node-hasher.js';
import { CHAIN_ZERO, ENTRY_OPS } from './entry.js';
import type { Entry, EntryOp } from './entry.js';
import * as codec from './entry-codec.js';

const { decodeEntry, encodeEntry, EntryFormatError, verifyEntry } = codec;

const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 });
const position = fc.oneof(
  fc.integer({ min: 1, max: 1_000 }),
  fc.maxSafeNat().map((n) => Math.max(1, n)),
  fc.constant(Number.MAX_SAFE_INTEGER),
);
const u32 = fc.oneof(
  fc.integer({ min: 0, max: 9 }),
  fc.constant(0xffff_ffff),
  fc.integer({ min: 0, max: 0xffff_ffff }),
);
const epoch = fc.record({ num: position, uuid });
const entries: fc.Arbitrary<Omit<Entry, 'chain'>> = fc.record(
  {
    op: fc.constantFrom(...(Object.keys(ENTRY_OPS) as EntryOp[])),
    shard: u32,
    epoch,
    offset: position,
    version: fc.record({
      hlc: fc.record({
        ms: fc.oneof(fc.constant(2 ** 48 - 1), fc.integer({ min: 0, max: 2 ** 48 - 1 })),
        counter: fc.integer({ min: 0, max: 65_535 }),
      }),
      opId: uuid,
    }),
    collectionId: u32,
    id: fc.oneof(fc.string({ maxLength: 80 }), fc.string({ unit: 'binary', maxLength: 80 })),
    origin: fc.record({ epoch, offset: position }),
    operation: fc.record({ fingerprint: uuid, created: fc.boolean() }),
    payload: fc.uint8Array({ maxLength: 300 }),
  },
  { requiredKeys: ['op', 'shard', 'epoch', 'offset', 'version', 'collectionId', 'id', 'payload'] },
);
const chains = fc.uint8Array({ minLength: 16, maxLength: 16 });

const sample: Omit<Entry, 'chain'> = {
  op: 'UPSERT',
  shard: 3,
  epoch: { num: 2, uuid: new Uint8Array(16).fill(0xaa) },
  offset: 4_294_967_297,
  version: { hlc: { ms: 1_700_000_000_000, counter: 7 }, opId: new Uint8Array(16).fill(0xbb) },
  collectionId: 5,
  id: 'doc-ä',
  payload: utf8('payload'),
};

describe('entry codec', () => {
  it('keeps its bytes: a changed format must get a new number', () => {
    const { bytes, chain } = encodeEntry(sample, CHAIN_ZERO, nodeHasher);
    expect(toHex(bytes)).toBe(GOLDEN);
    expect(toHex(chain)).toBe(toHex(bytes.slice(80, 96)));
    const merged = encodeEntry(
      {
        ...sample,
        op: 'DELETE',
        payload: new Uint8Array(0),
        origin: { epoch: { num: 1, uuid: new Uint8Array(16).fill(0xcc) }, offset: 9 },
      },
      chain,
      nodeHasher,
    );
    expect(toHex(merged.bytes)).toBe(GOLDEN_MERGED);
  });

  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(entries, chains, (entry, prevChain) => {
        const { bytes, chain } = encodeEntry(entry, prevChain, nodeHasher);
        expect(decodeEntry(bytes)).toEqual({ ...entry, chain });
        expect(decodeEntry(Buffer.from(bytes)).version.opId.constructor).toBe(Uint8Array);
        expect(verifyEntry(bytes, nodeHasher, { shard: entry.shard, offset: entry.offset, prevChain })).toBeUndefined();
        expect(codec.entryOp(bytes)).toBe(entry.op);
        expect(codec.entryShard(bytes)).toBe(entry.shard);
        expect(codec.entryOffset(bytes)).toBe(entry.offset);
        expect(codec.entryEpoch(bytes)).toEqual(entry.epoch);
        expect(codec.entryVersion(bytes)).toEqual(entry.version);
        expect(codec.entryCollectionId(bytes)).toBe(entry.collectionId);
        expect(codec.entryChain(bytes)).toEqual(chain);
        expect(codec.entryId(bytes)).toBe(entry.id);
        expect(codec.entryPayload(bytes)).toEqual(entry.payload);
      }),
    );
  });

  it('gives the payload as a view and nothing else', () => {
    const { bytes } = encodeEntry(sample, CHAIN_ZERO, nodeHasher);
    const entry = decodeEntry(bytes);
    expect(entry.payload.buffer).toBe(bytes.buffer);
    for (const part of [entry.chain, entry.epoch.uuid, entry.version.opId]) expect(part.buffer).not.toBe(bytes.buffer);
  });

  it('refuses every one-byte mutation, every cut and every addition', () => {
    fc.assert(
      fc.property(
        entries,
        fc.integer({ min: 1, max: 255 }),
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        (entry, flip, more) => {
          const { bytes } = encodeEntry(entry, CHAIN_ZERO, nodeHasher);
          for (let at = 0; at < bytes.length; at++) {
            const mutated = bytes.slice();
            mutated[at] ^= flip;
            if (verifyEntry(mutated, nodeHasher) === undefined) throw new Error(`byte ${at} may change unnoticed`);
          }
          for (let length = 0; length < bytes.length; length += 7) {
            expect(verifyEntry(bytes.subarray(0, length), nodeHasher)).toBeDefined();
            expect(() => decodeEntry(bytes.subarray(0, length))).toThrow(EntryFormatError);
          }
          const longer = new Uint8Array([...bytes, ...more]);
          expect(verifyEntry(longer, nodeHasher)).toBeDefined();
          expect(() => decodeEntry(longer)).toThrow(EntryFormatError);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('names what is wrong', () => {
    const { bytes, chain } = encodeEntry(sample, CHAIN_ZERO, nodeHasher);
    const at = { shard: sample.shard, offset: sample.offset };
    expect(verifyEntry(bytes, nodeHasher, at)).toBeUndefined();
    expect(verifyEntry(bytes, nodeHasher, { ...at, shard: 4 })).toBe('misplaced');
    expect(verifyEntry(bytes, nodeHasher, { ...at, offset: 1 })).toBe('misplaced');
    expect(verifyEntry(bytes, nodeHasher, { ...at, prevChain: chain })).toBe('chain');
    expect(verifyEntry(new Uint8Array(10), nodeHasher)).toBe('format');
    const flipped = bytes.slice();
    flipped[100] ^= 1;
    expect(verifyEntry(flipped, nodeHasher)).toBe('crc');
  });

  it('binds the chain to all that came before', () => {
    const first = encodeEntry({ ...sample, offset: 1 }, CHAIN_ZERO, nodeHasher);
    const other = encodeEntry({ ...sample, offset: 1, id: 'other' }, CHAIN_ZERO, nodeHasher);
    const after = (prev: Uint8Array): string => toHex(encodeEntry({ ...sample, offset: 2 }, prev, nodeHasher).chain);
    expect(after(first.chain)).not.toBe(after(other.chain));
  });

  it.each([
    ['a newer format', 2, 2, /format 2, written by a newer version; this one reads up to 1/],
    ['no format', 2, 0, /format 0, which does not exist/],
    ['an unknown op', 3, 99, /unknown entry op 99/],
    ['an unknown flag', 5, 8, /unknown entry flags 0x8/],
    ['a wrong magic', 0, 1, /not a log entry/],
    ['an unsafe epoch number', 17, 0x20, /epoch number is not a safe integer/],
    ['an unsafe offset', 41, 0x20, /offset is not a safe integer/],
    ['a longer id', 7, 200, /should have \d+ bytes, got/],
    ['an id cut within a character', 100, 0xff, /well-formed UTF-8/],
  ])('refuses %s, even with right sums', (_, at, value, message) => {
    const bytes = encodeEntry(sample, CHAIN_ZERO, nodeHasher).bytes.slice();
    bytes[at] = value;
    expect(() => decodeEntry(bytes)).toThrow(message);
    expect(() => decodeEntry(bytes)).toThrow(EntryFormatError);
    reseal(bytes);
    if (at !== 100) expect(verifyEntry(bytes, nodeHasher)).toBe('format');
  });

  it('asserts what it is given', () => {
    const broken: Partial<Record<keyof Entry, unknown>>[] = [
      { offset: 0 },
      { offset: 2 ** 53 },
      { offset: 1.5 },
      { shard: -1 },
      { shard: 2 ** 32 },
      { collectionId: 0.5 },
      { epoch: { num: 0, uuid: new Uint8Array(16) } },
      { epoch: { num: 1, uuid: new Uint8Array(15) } },
      { version: { hlc: { ms: 2 ** 48, counter: 0 }, opId: new Uint8Array(16) } },
      { version: { hlc: { ms: 1, counter: 65_536 }, opId: new Uint8Array(16) } },
      { version: { hlc: { ms: 1, counter: 1 }, opId: new Uint8Array(17) } },
      { id: 'x'.repeat(65_536) },
      { id: '\ud800' },
      { origin: { epoch: sample.epoch, offset: 0 } },
    ];
    for (const part of broken) {
      expect(() => encodeEntry({ ...sample, ...part } as Entry, CHAIN_ZERO, nodeHasher)).toThrow(InvariantError);
    }
    expect(() => encodeEntry(sample, new Uint8Array(3), nodeHasher)).toThrow(InvariantError);
  });
});

/** Puts the right crc under changed bytes. */
function reseal(bytes: Uint8Array): void {
  const crc = nodeHasher.crc32(bytes.subarray(80), nodeHasher.crc32(bytes.subarray(0, 76)));
  bytes.set(fromHex(crc.toString(16).padStart(8, '0')) ?? [], 76);
}

/** Made apart from the codec, from the layout alone. */
const GOLDEN =
  '534501020000000600000003000000070000000000000002aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0000000100000001' +
  '018bcfe568000007bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0000000513d6b23ade33dee332a6c758345176a583fe2a42' +
  '646f632dc3a47061796c6f6164';
const GOLDEN_MERGED =
  '534501030001000600000003000000000000000000000002aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0000000100000001' +
  '018bcfe568000007bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb00000005548cb82374de6a2b54eac9166dbceba43d315b6a' +
  '0000000000000001cccccccccccccccccccccccccccccccc0000000000000009646f632dc3a4';
