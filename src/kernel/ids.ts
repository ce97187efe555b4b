import { LIMITS } from './limits.js';

/** The shard number of the cluster's own map: an internal shard like any other, always strict (replication 9.1). */
export const META_SHARD = 0xffff_ffff;

/** `^[a-z0-9][a-z0-9-]{0,62}$`: a DNS label, so that it can be a certificate's SAN and a host name. */
export const NODE_ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Names of collections and aliases. */
export const COLLECTION_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** What is wrong with a document id, or undefined when nothing is (api.md: 1–512 bytes, well-formed, no controls). */
export function documentIdProblem(id: string): string | undefined {
  if (id.length === 0) return 'must not be empty';
  if (id.length > LIMITS.idBytesMax || utf8Length(id) > LIMITS.idBytesMax)
    return `must be at most ${LIMITS.idBytesMax} bytes in UTF-8`;
  if (!id.isWellFormed()) return 'must be well-formed Unicode: it holds a lone surrogate';
  if (CONTROL.test(id)) return 'must not hold control characters';
  return undefined;
}

/** Bytes of `text` in UTF-8, without encoding it. A lone surrogate counts as the 3 bytes of its replacement. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < text.length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

/** Order of ids wherever order can reach an output: by UTF-16 code units, the same on every node. */
export function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
