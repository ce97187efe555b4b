import { Bitmap } from './bitmap.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { bytesOf, readSections, writeSections, type SectionReader } from './index-sections.js';
import { LabelTable, type LabelBytes } from './label-table.js';

const MAGIC = 0x4c41_4245;
const FORMAT = 2;

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
  yield* writeSections(MAGIC, FORMAT, [
    bytesOf(Float64Array.of(file.changedAt, vectors?.dimensions ?? 0)),
    bytesOf(vectors?.present.toArray() ?? new Uint32Array(0)),
    bytesOf(vectors?.inGraph.toArray() ?? new Uint32Array(0)),
    ...sectionsOf(file.labels.bytes()),
    ...sectionsOf(file.tombstones.bytes()),
  ]);
}

/** Reads what `encodeLabels` wrote. @throws IndexDamagedError */
export function decodeLabels(bytes: Uint8Array): LabelsFile {
  const reader = readSections(bytes, MAGIC, FORMAT);
  const [changedAt, dimensions] = reader.float64s(2);
  const present = Bitmap.of(reader.uint32s());
  const inGraph = Bitmap.of(reader.uint32s());
  const labels = LabelTable.from(readTable(reader), (label) => !inGraph.has(label));
  const tombstones = LabelTable.from(readTable(reader), () => true);
  reader.end();
  present.forEach((label) => {
    if (!labels.isLive(label) || !inGraph.has(label))
      throw new IndexDamagedError(`label ${label} has a vector and no document`);
  });
  return { changedAt, labels, tombstones, vectors: dimensions === 0 ? undefined : { dimensions, present, inGraph } };
}

function sectionsOf({ records, texts, opIds }: LabelBytes): readonly Uint8Array[] {
  return [records, texts, opIds];
}

function readTable(reader: SectionReader): LabelBytes {
  return { records: reader.bytes(), texts: reader.bytes(), opIds: reader.bytes() };
}
