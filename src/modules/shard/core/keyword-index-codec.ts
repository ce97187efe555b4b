import { fromUtf8, utf8 } from '../../../kernel/bytes.js';
import { LABELS_MAX } from './bitmap.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { BREATH, bytesOf, readSections, writeSections } from './index-sections.js';
import type { KeywordDocuments } from './keyword-documents.js';
import { PostingCursor } from './posting-chunks.js';
import { FREQUENCY_BITS, FREQUENCY_MASK } from './posting-lists.js';
import type { PostingLists } from './posting-lists.js';
import type { TermDictionary } from './term-dictionary.js';

/** "SKW1". */
const MAGIC = 0x534b_5731;
const VERSION = 1;
/** Terms of one section: at 64 characters each, far below the longest string a runtime makes. */
const TERMS_PER_SECTION = 65_536;
/** Postings of one part: a fraction of a millisecond of copying. */
const POSTINGS_AT_ONCE = 65_536;

/** Takes what `decodeKeywordIndex` reads, in this order: all texts; then each list, with its postings, followed by its large frequencies. */
export interface KeywordIndexSink {
  /** @returns the document's ordinal: 0, 1, … */
  text(label: number, length: number): number;
  /**
   * @param postings as they are in memory; a view
   * @param frequencyMax of the postings' own bits
   * @param lengthMin of the texts
   * @returns the list's number
   */
  list(term: string, postings: Uint32Array, frequencyMax: number, lengthMin: number): number;
  /** A frequency that the posting's own bits do not say. */
  large(list: number, ordinal: number, frequency: number): void;
}

/**
 * Sections: per document its label; its length; per term its count of postings; all postings, term by term, as they are in
 * memory; the frequencies of 63 and more, in order of occurrence; the terms, joined by line feeds, in parts. The lists
 * must be settled and documents without gaps.
 */
export function* encodeKeywordIndex(
  terms: TermDictionary,
  lists: PostingLists,
  documents: KeywordDocuments,
): Generator<Uint8Array> {
  const ids: number[] = [];
  let total = 0;
  for (let id = 0; id < terms.end; id++) {
    if (terms.name(id) === undefined || lists.count(id) === 0) continue;
    ids.push(id);
    total += lists.count(id);
  }
  yield BREATH;
  const cursor = new PostingCursor(lists);
  const large: number[] = [];
  for (const id of ids) {
    if (lists.frequencyMax(id) !== Infinity) continue;
    for (const run of runsOf(cursor, id)) {
      for (const posting of run) {
        if ((posting & FREQUENCY_MASK) === FREQUENCY_MASK)
          large.push(lists.largeFrequency(id, posting >>> FREQUENCY_BITS));
      }
    }
    yield BREATH;
  }
  const names: Uint8Array[] = [];
  for (let from = 0; from < ids.length; from += TERMS_PER_SECTION) {
    yield BREATH;
    names.push(
      utf8(
        ids
          .slice(from, from + TERMS_PER_SECTION)
          .map((id) => terms.name(id))
          .join('\n'),
      ),
    );
  }
  yield* writeSections(MAGIC, VERSION, [
    bytesOf(documents.labels.subarray(0, documents.used)),
    bytesOf(documents.lengths.subarray(0, documents.used)),
    bytesOf(Uint32Array.from(ids, (id) => lists.count(id))),
    { length: 4 * total, parts: postingsOf(lists, ids, total) },
    bytesOf(Uint32Array.from(large)),
    ...names,
  ]);
}

/** The postings of all lists, one after the other. */
function* postingsOf(lists: PostingLists, ids: readonly number[], total: number): Generator<Uint8Array> {
  const cursor = new PostingCursor(lists);
  let left = total;
  let part = new Uint32Array(Math.min(left, POSTINGS_AT_ONCE));
  let filled = 0;
  for (const id of ids) {
    for (let run of runsOf(cursor, id)) {
      while (run.length > 0) {
        const taken = run.subarray(0, part.length - filled);
        part.set(taken, filled);
        filled += taken.length;
        run = run.subarray(taken.length);
        if (filled < part.length) continue;
        yield bytesOf(part);
        yield BREATH;
        left -= filled;
        part = new Uint32Array(Math.min(left, POSTINGS_AT_ONCE));
        filled = 0;
      }
    }
  }
}

/** Where the postings of a list lie, in order; views. */
function* runsOf(cursor: PostingCursor, list: number): Generator<Uint32Array> {
  cursor.open(list);
  while (cursor.next()) yield cursor.page.subarray(cursor.from, cursor.to);
}

/**
 * Hands `sink` what `bytes` hold, in full or with IndexDamagedError: labels and terms are distinct, postings ascend and
 * name documents there are, and the frequencies of each document add up to its length.
 */
export function decodeKeywordIndex(bytes: Uint8Array, sink: KeywordIndexSink): void {
  const sections = readSections(bytes, MAGIC, VERSION);
  const labels = sections.uint32s();
  const lengths = sections.uint32s(labels.length);
  const counts = sections.uint32s();
  const postings = sections.uint32s();
  const large = sections.uint32s();
  const names: string[] = [];
  while (names.length < counts.length) {
    const before = names.length;
    for (const name of text(sections.bytes()).split('\n')) names.push(name);
    check(names.length === Math.min(before + TERMS_PER_SECTION, counts.length), 'a section of terms has another size');
  }
  sections.end();
  check(new Set(names).size === names.length, 'a term comes twice');
  readTexts(labels, lengths, sink);

  const sums = new Uint32Array(labels.length);
  let at = 0;
  let nextLarge = 0;
  for (let term = 0; term < counts.length; term++) {
    const end = at + counts[term];
    check(counts[term] > 0 && end <= postings.length, 'a term has no or too many postings');
    const from = at;
    const firstLarge = nextLarge;
    let last = -1;
    let frequencyMax = 0;
    let lengthMin = Infinity;
    for (; at < end; at++) {
      const ordinal = postings[at] >>> FREQUENCY_BITS;
      let frequency = postings[at] & FREQUENCY_MASK;
      if (frequency > frequencyMax) frequencyMax = frequency;
      if (frequency === FREQUENCY_MASK) frequency = large[nextLarge++] ?? 0;
      check(frequency > 0 && ordinal > last && ordinal < sums.length, 'a posting is out of order or range');
      sums[ordinal] += frequency;
      if (lengths[ordinal] < lengthMin) lengthMin = lengths[ordinal];
      last = ordinal;
    }
    const run = postings.subarray(from, end);
    const list = sink.list(names[term], run, frequencyMax, lengthMin);
    if (nextLarge > firstLarge) handLarge(run, large.subarray(firstLarge, nextLarge), list, sink);
  }
  check(at === postings.length && nextLarge === large.length, 'there are postings of no term');
  for (let i = 0; i < sums.length; i++)
    check(sums[i] === lengths[i], 'frequencies do not add up to the length of a text');
}

function handLarge(run: Uint32Array, frequencies: Uint32Array, list: number, sink: KeywordIndexSink): void {
  let next = 0;
  for (const posting of run) {
    if ((posting & FREQUENCY_MASK) === FREQUENCY_MASK)
      sink.large(list, posting >>> FREQUENCY_BITS, frequencies[next++]);
  }
}

function readTexts(labels: Uint32Array, lengths: Uint32Array, sink: KeywordIndexSink): void {
  check(new Set(labels).size === labels.length, 'a label comes twice');
  for (let i = 0; i < labels.length; i++) {
    check(lengths[i] > 0 && labels[i] < LABELS_MAX, 'a text has no terms, or an impossible label');
    sink.text(labels[i], lengths[i]);
  }
}

function text(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch (cause) {
    throw new IndexDamagedError('the terms are not UTF-8', { cause });
  }
}

function check(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new IndexDamagedError(problem);
}
