import { VALUELESS } from './attribute-key.js';
import type { AttributeKey, AttributeValue } from './attribute-key.js';
import { LABELS_MAX } from './bitmap.js';
import { IndexDamagedError } from './index-damaged-error.js';
import { BREATH, bytesOf, jsonSections, readSections, writeSections } from './index-sections.js';
import type { LabelSets } from './label-sets.js';

/** "SAT1". */
const MAGIC = 0x5341_5431;
const VERSION = 1;
/** Labels read between two breaths. */
const LABELS_AT_ONCE = 65_536;

/** A value of a key and the labels that have it, ascending. */
export interface StoredValue {
  readonly key: string;
  readonly value: AttributeValue;
  readonly labels: Uint32Array;
}

/**
 * Sections: the names of the keys; per key its number of values; all values, key by key, VALUELESS as null; per value 1 when
 * it is VALUELESS; per value its number of labels; all labels. Rows and sets of keys follow from these.
 */
export function* encodeAttributeIndex(keys: Iterable<AttributeKey>, sets: LabelSets): Generator<Uint8Array> {
  const names: string[] = [];
  const valueCounts: number[] = [];
  const values: (string | number | boolean | null)[] = [];
  const valueless: number[] = [];
  const labels: Uint32Array[] = [];
  let read = 0;
  for (const key of keys) {
    names.push(key.name);
    const before = values.length;
    for (const [value, set] of key.values) {
      if (sets.count(set) === 0) continue;
      values.push(value === VALUELESS ? null : value);
      valueless.push(value === VALUELESS ? 1 : 0);
      labels.push(sets.labels(set));
      read += sets.count(set);
      if (read < LABELS_AT_ONCE) continue;
      read = 0;
      yield BREATH;
    }
    valueCounts.push(values.length - before);
  }
  const counts = Uint32Array.from(labels, (part) => part.length);
  const nameSections = yield* jsonSections(names);
  const valueSections = yield* jsonSections(values);
  yield* writeSections(MAGIC, VERSION, [
    ...nameSections,
    bytesOf(Uint32Array.from(valueCounts)),
    ...valueSections,
    bytesOf(Uint32Array.from(valueless)),
    bytesOf(counts),
    { length: 4 * counts.reduce((sum, count) => sum + count, 0), parts: labels.map(bytesOf) },
  ]);
}

/** What `bytes` hold; throws IndexDamagedError unless keys, values of a key and labels of a value are distinct and in order. */
export function decodeAttributeIndex(bytes: Uint8Array): StoredValue[] {
  const sections = readSections(bytes, MAGIC, VERSION);
  const names = sections.json();
  const valueCounts = sections.uint32s(names.length);
  const values = sections.json();
  const valueless = sections.uint32s(values.length);
  const counts = sections.uint32s(values.length);
  const all = sections.uint32s();
  sections.end();
  check(new Set(names).size === names.length, 'a key comes twice');

  const stored: StoredValue[] = [];
  let next = 0;
  let at = 0;
  for (let i = 0; i < names.length; i++) {
    const key = names[i];
    check(typeof key === 'string', 'a key is not a text');
    check(valueCounts[i] > 0 && next + valueCounts[i] <= values.length, 'a key has no or too many values');
    const seen = new Set<AttributeValue>();
    for (const end = next + valueCounts[i]; next < end; next++) {
      const value = readValue(values[next], valueless[next]);
      check(!seen.has(value), 'a value comes twice');
      seen.add(value);
      check(counts[next] > 0 && at + counts[next] <= all.length, 'a value has no or too many labels');
      const labels = all.subarray(at, at + counts[next]);
      at += counts[next];
      checkLabels(labels);
      stored.push({ key, value, labels });
    }
  }
  check(next === values.length && at === all.length, 'there are values of no key, or labels of no value');
  return stored;
}

function readValue(value: unknown, valueless: number): AttributeValue {
  if (valueless !== 0) return VALUELESS;
  const scalar = value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  check(scalar, 'a value is no scalar');
  return value;
}

function checkLabels(labels: Uint32Array): void {
  let last = -1;
  for (const label of labels) {
    check(label > last && label < LABELS_MAX, 'labels are out of order or range');
    last = label;
  }
}

function check(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new IndexDamagedError(problem);
}
