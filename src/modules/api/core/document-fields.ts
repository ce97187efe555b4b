import { NodeError } from '../../../kernel/errors.js';
import { documentIdProblem, utf8Length } from '../../../kernel/ids.js';
import { LIMITS } from '../../../kernel/limits.js';
import type { DocumentPatch } from '../../coordinator/core/requests.js';
import type { DocumentFields } from '../../shard/core/document.js';
import { metadataBytes, metadataOf } from './metadata.js';
import { quoted } from './shown.js';
import { vectorOfJson } from './vector.js';

/** A document body after the schema: types of texts are right, vector and metadata are unread. */
export interface RawFields {
  readonly title?: string | null | undefined;
  readonly content?: string | null | undefined;
  readonly vector?: unknown;
  readonly metadata?: unknown;
}

/** Reads a vector as its protocol carries it; vectorOfJson or a reader of bytes. */
export type VectorReader = (value: unknown, name: string) => Float32Array;

/** The id, valid (api.md, REST: 1–512 bytes, well-formed, no control characters); INVALID_REQUEST otherwise. */
export function checkedId(id: string): string {
  const problem = documentIdProblem(id);
  if (problem !== undefined) throw new NodeError('INVALID_REQUEST', `\`id\` ${problem}`);
  return id;
}

/** The fields of a whole document; at least one. A title or content of null never passes the schemas of whole documents. */
export function documentFieldsOf(raw: RawFields, readVector: VectorReader = vectorOfJson): DocumentFields {
  const fields = readFields(raw, readVector, false) as DocumentFields;
  if (Object.keys(fields).length === 0) {
    throw new NodeError('INVALID_REQUEST', 'at least one of title, content, vector, metadata is needed');
  }
  refuseTooLarge(fields);
  return fields;
}

/** What a patch changes; at least one field. Null removes. */
export function documentPatchOf(raw: RawFields, readVector: VectorReader = vectorOfJson): DocumentPatch {
  const patch = readFields(raw, readVector, true);
  if (Object.keys(patch).length === 0) {
    throw new NodeError(
      'INVALID_REQUEST',
      'at least one of title, content, vector, metadata is needed: nothing would change',
    );
  }
  refuseTooLarge(patch);
  return patch;
}

function readFields(raw: RawFields, readVector: VectorReader, nullable: boolean): DocumentPatch {
  const fields: { -readonly [K in keyof DocumentPatch]: DocumentPatch[K] } = {};
  if (raw.title !== undefined) fields.title = textOf(raw.title, 'title');
  if (raw.content !== undefined) fields.content = textOf(raw.content, 'content');
  if (raw.metadata !== undefined)
    fields.metadata = nullable && raw.metadata === null ? null : metadataOf(raw.metadata, 'metadata');
  if (raw.vector !== undefined)
    fields.vector = nullable && raw.vector === null ? null : readVector(raw.vector, 'vector');
  return fields;
}

function textOf(text: string | null, name: string): string | null {
  if (text !== null && !text.isWellFormed()) {
    throw new NodeError('INVALID_REQUEST', `${quoted(name)} must be well-formed Unicode: it holds a lone surrogate`);
  }
  return text;
}

/**
 * Refuses early what certainly exceeds one document's bytes; the exact count is the encoder's. Characters are counted
 * first, since a text can't have fewer bytes.
 */
function refuseTooLarge(fields: DocumentPatch): void {
  const { title, content, metadata, vector } = fields;
  const characters = (title?.length ?? 0) + (content?.length ?? 0);
  if (characters * 3 + LIMITS.metadataBytesMax + 4 * LIMITS.dimensionsMax <= LIMITS.documentBytesMax) return;
  const bytes =
    utf8Length(title ?? '') +
    utf8Length(content ?? '') +
    (metadata === undefined || metadata === null ? 0 : metadataBytes(metadata)) +
    4 * (vector?.length ?? 0);
  if (bytes > LIMITS.documentBytesMax) {
    throw new NodeError(
      'PAYLOAD_TOO_LARGE',
      `the document takes ${bytes} bytes; at most ${LIMITS.documentBytesMax} are allowed`,
    );
  }
}
