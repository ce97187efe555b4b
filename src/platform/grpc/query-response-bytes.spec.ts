import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { QueryResponseSchema } from '../../gen/spector/peer/v1/shard_pb.js';
import { queryResponseBytes } from './query-response-bytes.js';

const answer = fc.record({
  id: fc.bigInt({ min: 0n, max: 2n ** 53n }),
  body: fc.uint8Array({ maxLength: 400 }),
  more: fc.boolean(),
  failure: fc.option(
    fc.record({
      code: fc.string(),
      detail: fc.string({ unit: 'binary' }),
      retryAfterMs: fc.option(fc.nat(), { nil: undefined }),
    }),
    { nil: undefined, freq: 5 },
  ),
});

describe('the bytes of answers', () => {
  it('are those of the library', () => {
    fc.assert(
      fc.property(fc.array(answer), fc.nat(), (answers, load) => {
        const message = create(QueryResponseSchema, { answers, load });
        expect(queryResponseBytes(message)).toEqual(toBinary(QueryResponseSchema, message));
      }),
    );
  });

  it('hold large bodies, and fields of a newer version', () => {
    const message = create(QueryResponseSchema, {
      answers: [3 * 1024 * 1024, 20_000, 0].map((length) => ({
        id: 7n,
        body: new Uint8Array(length).fill(5),
        more: true,
      })),
    });
    const bytes = toBinary(QueryResponseSchema, message);
    expect(Buffer.compare(queryResponseBytes(message), bytes)).toBe(0);
    // Field 9, a number.
    const newer = fromBinary(QueryResponseSchema, Uint8Array.of(0x48, 1, 0x10, 3));
    expect(queryResponseBytes(newer)).toEqual(toBinary(QueryResponseSchema, newer));
  });

  it('are memory of their own', () => {
    const message = (fill: number) =>
      create(QueryResponseSchema, { answers: [{ id: 1n, body: new Uint8Array(100).fill(fill) }] });
    const first = queryResponseBytes(message(1));
    const copy = first.slice();
    queryResponseBytes(message(2));
    expect(first).toEqual(copy);
  });
});
