import { createHash, timingSafeEqual } from 'node:crypto';
import { NodeError } from '../../../kernel/errors.js';
import type { ApiKey } from '../../../platform/config/node-config.js';

/** What a call needs; each scope includes the ones before it (api.md, Security). `open` needs no key at all. */
export type Scope = 'open' | 'read' | 'write' | 'admin';

const RANK: Readonly<Record<Scope, number>> = { open: 0, read: 1, write: 2, admin: 3 };

/** Longer ones are none of ours; hashing them would only take time. */
const SECRET_LENGTH_MAX = 4_096;

/** The API keys of the node. Without any, everything is open. */
export class ApiKeys {
  private readonly keys: readonly { readonly digest: Buffer; readonly scope: Scope }[];

  constructor(keys: readonly ApiKey[]) {
    this.keys = keys.map(({ sha256, scope }) => ({ digest: Buffer.from(sha256, 'hex'), scope }));
  }

  /**
   * Whether a caller may make a call of `scope`; undefined when it may. Compares SHA-256 digests in constant time and
   * always looks at every key, so that time tells neither a digest nor which key it was.
   * @param secret the key the caller shows
   */
  refusal(secret: string | undefined, scope: Scope): NodeError | undefined {
    if (scope === 'open' || this.keys.length === 0) return undefined;
    if (secret === undefined || secret.length > SECRET_LENGTH_MAX)
      return unauthenticated('an API key is needed: X-API-Key, or Authorization: Bearer');
    const digest = createHash('sha256').update(secret).digest();
    let granted: Scope | undefined;
    for (const key of this.keys) {
      const same = key.digest.length === digest.length && timingSafeEqual(key.digest, digest);
      if (same && (granted === undefined || RANK[key.scope] > RANK[granted])) granted = key.scope;
    }
    if (granted === undefined) return unauthenticated('the API key is not known');
    if (RANK[granted] >= RANK[scope]) return undefined;
    return new NodeError('FORBIDDEN', `this call needs a key of scope ${scope}; the given one has scope ${granted}`);
  }
}

function unauthenticated(detail: string): NodeError {
  return new NodeError('UNAUTHENTICATED', detail);
}

/** The key in `X-API-Key` or `Authorization: Bearer`, header or metadata; the first wins. */
export function secretOf(apiKey: string | undefined, authorization: string | undefined): string | undefined {
  if (apiKey !== undefined) return apiKey;
  return authorization === undefined ? undefined : /^bearer +(\S+) *$/i.exec(authorization)?.[1];
}
