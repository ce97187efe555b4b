import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import type { JsonObject } from '../../../kernel/json.js';
import type { DocumentFields } from './document.js';

/**
 * A document as the payload of an UPSERT entry: a full image (replication 2.3). Little-endian.
 *
 * | at | what |
 * |---|---|
 * | 0 | format u8 = 1 |
 * | 1 | flags u8: 1 title, 2 content, 4 metadata, 8 vector |
 * | 2 | dimensions u16 |
 * | 4, 8, 12 | bytes of the title, content and metadata segments, u32 each |
 * | 16 | the vector, float32 × dimensions |
 * | … | title, content, metadata, each as JSON text in UTF-8 |
 *
 * The segments are JSON so that an answer can splice them in without parsing, and so that text with lone
 * surrogates survives.
 */
const FORMAT = 1;
const HEADER_BYTES = 16;
const TITLE = 1;
const CONTENT = 2;
const METADATA = 4;
const VECTOR = 8;
const EMPTY = new Uint8Array(0);

/** The payload is not a document this node can read. */
export class DocumentFormatError extends Error {
  override readonly name = 'DocumentFormatError';
}

/** Encodes a document's fields. */
export function encodeDocument(fields: DocumentFields): Uint8Array {
  const title = fields.title === undefined ? EMPTY : utf8(JSON.stringify(fields.title));
  const content = fields.content === undefined ? EMPTY : utf8(JSON.stringify(fields.content));
  const metadata = fields.metadata === undefined ? EMPTY : utf8(JSON.stringify(fields.metadata));
  const dimensions = fields.vector?.length ?? 0;
  const bytes = new Uint8Array(HEADER_BYTES + 4 * dimensions + title.length + content.length + metadata.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = FORMAT;
  bytes[1] =
    (fields.title === undefined ? 0 : TITLE) |
    (fields.content === undefined ? 0 : CONTENT) |
    (fields.metadata === undefined ? 0 : METADATA) |
    (fields.vector === undefined ? 0 : VECTOR);
  view.setUint16(2, dimensions, true);
  view.setUint32(4, title.length, true);
  view.setUint32(8, content.length, true);
  view.setUint32(12, metadata.length, true);
  let at = HEADER_BYTES;
  if (fields.vector !== undefined) {
    for (let i = 0; i < dimensions; i++, at += 4) view.setFloat32(at, fields.vector[i], true);
  }
  bytes.set(title, at);
  bytes.set(content, at + title.length);
  bytes.set(metadata, at + title.length + content.length);
  return bytes;
}

/** The parts of an encoded document, without parsing the JSON of the segments. */
export interface DocumentSegments {
  /** JSON text. */
  readonly title: string | undefined;
  readonly content: string | undefined;
  readonly metadata: string | undefined;
  /** A copy. */
  readonly vector: Float32Array | undefined;
}

/** Which segments `documentSegments` takes out; the rest stay undefined. */
export interface SegmentSelection {
  readonly title: boolean;
  readonly content: boolean;
  readonly metadata: boolean;
  readonly vector: boolean;
}

const ALL: SegmentSelection = { title: true, content: true, metadata: true, vector: true };

/** Takes the chosen segments out of an encoded document. */
export function documentSegments(payload: Uint8Array, selection: SegmentSelection = ALL): DocumentSegments {
  if (payload.length < HEADER_BYTES || payload[0] !== FORMAT) {
    throw new DocumentFormatError(`document format ${payload[0]} is not known to this version`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const flags = payload[1];
  const dimensions = view.getUint16(2, true);
  const titleEnd = HEADER_BYTES + 4 * dimensions + view.getUint32(4, true);
  const contentEnd = titleEnd + view.getUint32(8, true);
  const metadataEnd = contentEnd + view.getUint32(12, true);
  if (metadataEnd !== payload.length) throw new DocumentFormatError('the lengths of a document do not add up');
  const titleStart = HEADER_BYTES + 4 * dimensions;
  return {
    title: (flags & TITLE) !== 0 && selection.title ? fromUtf8(payload.subarray(titleStart, titleEnd)) : undefined,
    content:
      (flags & CONTENT) !== 0 && selection.content ? fromUtf8(payload.subarray(titleEnd, contentEnd)) : undefined,
    metadata:
      (flags & METADATA) !== 0 && selection.metadata ? fromUtf8(payload.subarray(contentEnd, metadataEnd)) : undefined,
    vector: (flags & VECTOR) !== 0 && selection.vector ? readVector(view, dimensions) : undefined,
  };
}

/** Decodes a whole document. */
export function decodeDocument(payload: Uint8Array): DocumentFields {
  const segments = documentSegments(payload);
  return {
    ...(segments.title === undefined ? {} : { title: JSON.parse(segments.title) as string }),
    ...(segments.content === undefined ? {} : { content: JSON.parse(segments.content) as string }),
    ...(segments.metadata === undefined ? {} : { metadata: JSON.parse(segments.metadata) as JsonObject }),
    ...(segments.vector === undefined ? {} : { vector: segments.vector }),
  };
}

function readVector(view: DataView, dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions);
  for (let i = 0, at = HEADER_BYTES; i < dimensions; i++, at += 4) vector[i] = view.getFloat32(at, true);
  return vector;
}

/** Whether the payload is laid out as a document and its vector, if it has one, is finite; without decoding it. */
export function documentVectorIsFinite(payload: Uint8Array): boolean {
  if (payload.length < HEADER_BYTES || payload[0] !== FORMAT) return false;
  const end = HEADER_BYTES + 4 * (payload[2] | (payload[3] << 8));
  if (end > payload.length) return false;
  // An exponent of all ones is an infinity or no number.
  for (let at = HEADER_BYTES; at < end; at += 4)
    if ((payload[at + 3] & 0x7f) === 0x7f && (payload[at + 2] & 0x80) !== 0) return false;
  return true;
}
