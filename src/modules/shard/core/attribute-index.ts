import { assert, unreachable } from '../../../kernel/assert.js';
import type { JsonObject } from '../../../kernel/json.js';
import { decodeAttributeIndex, encodeAttributeIndex } from './attribute-index-codec.js';
import { AttributeKey, VALUELESS } from './attribute-key.js';
import type { AttributeValue } from './attribute-key.js';
import { Bitmap } from './bitmap.js';
import type { Filter, FilterClause } from './filter.js';
import { grown } from './grown.js';
import { LabelSets } from './label-sets.js';
import { KEY_SEPARATOR, metadataKeys, visitAttributes } from './metadata-attributes.js';
import { NO_BLOCK, PAGE_BITS, PAGE_MASK, SlotArena } from './slot-arena.js';

export { metadataKeys };

/** The labels of the documents, among those asked for, that live in the collection. */
export type ResolveIds = (ids: readonly string[]) => Iterable<number>;

export interface AttributeIndexSize {
  /** Labels with at least one attribute. */
  readonly documents: number;
  readonly keys: number;
  readonly values: number;
  /** An estimate of everything it holds. */
  readonly bytes: number;
}

/**
 * The metadata of one collection in one shard as sets of labels: per dotted key and value, and per key (api.md, Filter;
 * architecture.md, the index of a shard). A filter becomes a bitmap; what it means is defined by `matches`.
 *
 * Every label has a row: the sets of its values, so that it is removed exactly and at once. The sets of its keys follow
 * from those. Beyond LIMITS.attributeKeysMax keys are still indexed: the writer refuses them (AttributeKeys); an index
 * that reads the log must take what the log holds.
 */
export class AttributeIndex {
  readonly #sets = new LabelSets();
  readonly #keys = new Map<string, AttributeKey>();
  /** By set of a value: its key. */
  readonly #keyOf: (AttributeKey | undefined)[] = [];
  readonly #arena = new SlotArena();
  /** By label: address of its row (count, then sets), or NO_BLOCK. */
  #rows = new Uint32Array(0);
  #documents = 0;
  /** Within `add`: the row being made. */
  readonly #row: number[] = [];

  /** Reads what `serialize` wrote; throws IndexDamagedError when it is anything else. */
  static deserialize(bytes: Uint8Array): AttributeIndex {
    const index = new AttributeIndex();
    const loaded = decodeAttributeIndex(bytes).map(({ key: name, value, labels }) => {
      const key = index.#key(name);
      const set = index.#setOf(key, value);
      index.#sets.load(set, labels);
      key.used();
      return { set, labels };
    });
    index.#loadPresent();
    index.#loadRows(loaded);
    return index;
  }

  /** The dotted keys documents have now. */
  keys(): ReadonlySet<string> {
    return new Set(this.#keys.keys());
  }

  /** Puts a document's attributes in, in place of what the label had. */
  add(label: number, metadata: JsonObject | undefined): void {
    this.remove(label);
    if (metadata === undefined) return;
    const row = this.#row;
    row.length = 0;
    visitAttributes(metadata, (name, value) => {
      const key = this.#key(name);
      const set = this.#setOf(key, value === undefined ? VALUELESS : value);
      if (this.#join(key, set, label)) row.push(set);
    });
    if (row.length > 0) this.#writeRow(label, row);
  }

  /** Takes a label out; false when it has no attributes. */
  remove(label: number): boolean {
    const address = this.#rows[label] ?? NO_BLOCK;
    if (address === NO_BLOCK) return false;
    const page = this.#arena.pages[address >>> PAGE_BITS];
    const at = address & PAGE_MASK;
    const count = page[at];
    const sets = page.slice(at + 1, at + 1 + count);
    for (const set of sets) {
      const removed = this.#sets.remove(set, label);
      assert(removed, 'a label is in the sets its row names');
    }
    for (const set of sets) this.#left(set, label);
    this.#arena.release(address, count + 1);
    this.#rows[label] = NO_BLOCK;
    this.#documents--;
    return true;
  }

  /**
   * The labels of `live` that pass the filter, as a bitmap of the caller's own.
   * @param live labels of all live documents, with or without metadata
   */
  evaluate(filter: Filter, resolveIds: ResolveIds, live: Bitmap): Bitmap {
    return this.#filter(filter, resolveIds, live).and(live);
  }

  /** The whole index as bytes to be written one after the other. */
  serialize(): Generator<Uint8Array> {
    return encodeAttributeIndex(this.#keys.values(), this.#sets);
  }

  /** What it holds and about how much memory that takes. */
  statistics(): AttributeIndexSize {
    let values = 0;
    let bytes = this.#sets.bytes + this.#arena.bytes + this.#rows.byteLength + this.#keyOf.length * 8;
    for (const key of this.#keys.values()) {
      values += key.values.size;
      bytes += key.bytes;
    }
    return { documents: this.#documents, keys: this.#keys.size, values, bytes };
  }

  #filter(filter: Filter, resolveIds: ResolveIds, live: Bitmap): Bitmap {
    let result: Bitmap | undefined;
    for (const clause of filter.must) {
      const labels = this.#clause(clause, resolveIds, live);
      result = result === undefined ? labels : result.and(labels);
    }
    if (result === undefined && filter.should.length > 0) {
      result = new Bitmap(live.capacity);
      for (const clause of filter.should) result.or(this.#clause(clause, resolveIds, live));
    }
    result ??= live.clone();
    for (const clause of filter.mustNot) result.andNot(this.#clause(clause, resolveIds, live));
    return result;
  }

  #clause(clause: FilterClause, resolveIds: ResolveIds, live: Bitmap): Bitmap {
    if (clause.kind === 'nested') return this.#filter(clause.filter, resolveIds, live);
    const labels = new Bitmap(live.capacity);
    switch (clause.kind) {
      case 'match':
        this.#keys.get(clause.key)?.match(clause.any, labels);
        return labels;
      case 'range':
        this.#keys.get(clause.key)?.range(clause, labels);
        return labels;
      case 'exists':
        this.#present(clause.key, labels);
        return clause.exists ? labels : live.clone().andNot(labels);
      case 'ids':
        for (const label of resolveIds(clause.ids)) labels.set(label);
        return labels;
      default:
        return unreachable(clause);
    }
  }

  /** The key itself, or any below it: an object is there when its members are. */
  #present(name: string, into: Bitmap): void {
    const below = name + KEY_SEPARATOR;
    for (const key of this.#keys.values()) {
      if (key.name === name || key.name.startsWith(below)) this.#sets.addTo(key.present, into);
    }
  }

  #key(name: string): AttributeKey {
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = new AttributeKey(name, this.#sets);
      this.#keys.set(name, key);
    }
    return key;
  }

  #setOf(key: AttributeKey, value: AttributeValue): number {
    const set = key.setOf(value);
    this.#keyOf[set] = key;
    return set;
  }

  /** Puts a label into a value's set and its key's; false when it was there. */
  #join(key: AttributeKey, set: number, label: number): boolean {
    if (!this.#sets.add(set, label)) return false;
    if (this.#sets.count(set) === 1) key.used();
    this.#sets.add(key.present, label);
    return true;
  }

  /** After a label left a value's set, and all others of its row: takes it out of the key, and forgets what nobody has. */
  #left(set: number, label: number): void {
    const key = this.#keyOf[set];
    // An earlier set of the row was the key's too, and the key is gone, or its unused values are.
    if (key === undefined) return;
    const forget = (forgotten: number): void => {
      this.#keyOf[forgotten] = undefined;
    };
    this.#sets.remove(key.present, label);
    if (this.#sets.count(key.present) === 0) {
      this.#keys.delete(key.name);
      key.release(forget);
    } else if (this.#sets.count(set) === 0) key.emptied(forget);
  }

  /** The sets of keys, from those of their values. */
  #loadPresent(): void {
    for (const key of this.#keys.values()) {
      const present = new Bitmap();
      for (const set of key.values.values()) this.#sets.addTo(set, present);
      this.#sets.load(key.present, present.toArray());
    }
  }

  /** The rows of all labels, from the sets they are in. */
  #loadRows(loaded: readonly { readonly set: number; readonly labels: Uint32Array }[]): void {
    let end = 0;
    for (const { labels } of loaded) end = Math.max(end, labels[labels.length - 1] + 1);
    const counts = new Uint32Array(end);
    for (const { labels } of loaded) for (const label of labels) counts[label]++;
    this.#rows = new Uint32Array(end);
    for (let label = 0; label < end; label++) {
      if (counts[label] === 0) continue;
      const address = this.#arena.allocate(counts[label] + 1);
      this.#arena.pages[address >>> PAGE_BITS][address & PAGE_MASK] = counts[label];
      this.#rows[label] = address;
      this.#documents++;
    }
    for (const { set, labels } of loaded) {
      for (const label of labels) {
        const address = this.#rows[label];
        this.#arena.pages[address >>> PAGE_BITS][(address & PAGE_MASK) + counts[label]--] = set;
      }
    }
  }

  #writeRow(label: number, sets: readonly number[]): void {
    const address = this.#arena.allocate(sets.length + 1);
    const page = this.#arena.pages[address >>> PAGE_BITS];
    let at = address & PAGE_MASK;
    page[at] = sets.length;
    for (const set of sets) page[++at] = set;
    this.#rows = grown(this.#rows, label + 1);
    this.#rows[label] = address;
    this.#documents++;
  }
}
