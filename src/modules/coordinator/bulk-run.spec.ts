import { describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../kernel/errors.js';
import { LIMITS } from '../../kernel/limits.js';
import { BulkRun } from './bulk-run.js';
import type { BulkItem } from './core/requests.js';

describe('BulkRun', () => {
  it('lists the first errors in line order, and knows the codes of all', async () => {
    const codes: ErrorCode[] = new Array<ErrorCode>(3 * LIMITS.bulkErrorsMax).fill('NO_QUORUM');
    codes.push('SHARD_UNAVAILABLE', 'INVALID_REQUEST');
    async function* items(): AsyncGenerator<BulkItem> {
      for (const code of codes) yield await Promise.resolve({ kind: 'invalid', code, detail: 'x' });
    }
    const options = { collection: 'default', consistency: 'auto', idempotencyKey: undefined } as const;
    const run = new BulkRun(undefined as never, options, new AbortController().signal, () => undefined);
    const answer = await run.run(items());
    expect(answer).toMatchObject({ total: codes.length, success: 0, failed: codes.length });
    expect(answer.errors.map(({ index }) => index)).toEqual(Array.from({ length: LIMITS.bulkErrorsMax }, (_, i) => i));
    expect([...run.codes].sort()).toEqual(['INVALID_REQUEST', 'NO_QUORUM', 'SHARD_UNAVAILABLE']);
  });
});
