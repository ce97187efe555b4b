import { OP_ID_BYTES } from '../../../kernel/version.js';
import { Bitmap } from './bitmap.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { bytesOf, jsonSections, readSections, writeSections, type SectionReader } from './index-sections.js';
import { LabelTable, type LabelColumns } from './label-table.js';

const MAGIC = 0x4c41_4245;
const FORMAT = 1;

/** What the labels file of a checkpoint holds of one collection: the table, the tombstones, and who is in the graph. */
export interface LabelsFile {
  /** Offset of the last entry that changed the collection. */
  readonly changedAt: number;
  readonly labels: LabelTable;
  readonly tombstones: LabelTable;
  readonly vectors: LabelsFileVectors | undefined;
}

export interface LabelsFileVectors {
  readonly dimensions: number;
  /** Live labels with a vector. */
  readonly present: Bitmap;
  /** Labels in the graph, dead ones included. */
  readonly inGraph: Bitmap;
}

/** The parts of a labels file, to be written one after the other; nothing may change before the last is. */
export function* encodeLabels(file: LabelsFile): Generator<Uint8Array> {
  const { vectors } = file;
  const labels = yield* columnSections(file.labels.columns());
  const tombstones = yield* columnSections(file.tombstones.columns());
  yield* writeSections(MAGIC, FORMAT, [
    bytesOf(Float64Array.of(file.changedAt, vectors?.dimensions ?? 0)),
    bytesOf(vectors?.present.toArray() ?? new Uint32Array(0)),
    bytesOf(vectors?.inGraph.toArray() ?? new Uint32Array(0)),
    ...labels,
    ...tombstones,
  ]);
}

/** Reads what `encodeLabels` wrote. @throws IndexDamagedError */
export function decodeLabels(bytes: Uint8Array): LabelsFile {
  const reader = readSections(bytes, MAGIC, FORMAT);
  const [changedAt, dimensions] = copyOf(Float64Array, reader.bytes(), 2);
  const present = Bitmap.of(reader.uint32s());
  const inGraph = Bitmap.of(reader.uint32s());
  const labels = LabelTable.fromColumns(readColumns(reader), (label) => !inGraph.has(label));
  const tombstones = LabelTable.fromColumns(readColumns(reader), () => true);
  reader.end();
  present.forEach((label) => {
    if (!labels.isLive(label) || !inGraph.has(label))
      throw new IndexDamagedError(`label ${label} has a vector and no document`);
  });
  return { changedAt, labels, tombstones, vectors: dimensions === 0 ? undefined : { dimensions, present, inGraph } };
}

function* columnSections(columns: LabelColumns): Generator<Uint8Array, readonly Uint8Array[]> {
  const { counters } = columns;
  const ids = yield* jsonSections(columns.ids);
  return [
    bytesOf(columns.offsets),
    bytesOf(columns.ms),
    new Uint8Array(counters.buffer, counters.byteOffset, counters.byteLength),
    columns.opIds,
    ...ids,
  ];
}

function readColumns(reader: SectionReader): LabelColumns {
  const offsets = copyOf(Float64Array, reader.bytes());
  const high = offsets.length;
  const ms = copyOf(Float64Array, reader.bytes(), high);
  const counters = copyOf(Uint16Array, reader.bytes(), high);
  const opIds = copyOf(Uint8Array, reader.bytes(), high * OP_ID_BYTES);
  const ids = reader.json();
  if (ids.length !== high) throw new IndexDamagedError(`${high} labels have ${ids.length} ids`);
  if (!ids.every((id) => typeof id === 'string')) throw new IndexDamagedError('an id is not a text');
  return { offsets, ms, counters, opIds, ids };
}

interface ColumnType<T> {
  new (buffer: ArrayBuffer): T;
  readonly BYTES_PER_ELEMENT: number;
}

/** A typed array of its own over a copy of `bytes`. */
function copyOf<T>(type: ColumnType<T>, bytes: Uint8Array, length?: number): T {
  if (
    bytes.length % type.BYTES_PER_ELEMENT !== 0 ||
    (length !== undefined && bytes.length !== length * type.BYTES_PER_ELEMENT)
  ) {
    throw new IndexDamagedError(`a column has ${bytes.length} bytes`);
  }
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return new type(copy.buffer);
}
