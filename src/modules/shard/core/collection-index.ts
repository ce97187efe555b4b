import { equalBytes } from '../../../kernel/bytes.js';
import type { Hasher } from '../../../kernel/hasher.js';
import type { Version } from '../../../kernel/version.js';
import { AttributeIndex } from './attribute-index.js';
import { Bitmap } from './bitmap.js';
import { LiveDigest, liveTerm } from './digest.js';
import type { DocumentFields } from './document.js';
import type { Filter } from './filter.js';
import { KeywordIndex, type KeywordMatches } from './keyword-index.js';
import { LabelTable, NO_LABEL } from './label-table.js';
import type { SearchAnswerWriter } from './search-answer-writer.js';
import type { CollectionSpec, KeywordLeg, KeywordStatistics, VectorLeg } from './search.js';
import { keywordText, tokenize } from './tokenizer.js';
import type { Ranked } from './top-k.js';
import type { VectorIndexes } from './vector-index.js';
import { VectorRefusedError, VectorTable, type FoundVectors } from './vector-table.js';

/** Filters whose labels are remembered until the next change: as many as fit these bytes, and some. */
const REMEMBERED_BYTES = 4 << 20;
const REMEMBERED_FILTERS_MIN = 16;
const REMEMBERED_FILTERS_MAX = 256;

const NOTHING: Ranked = { items: new Uint32Array(0), scores: new Float64Array(0) };

/**
 * One collection in one shard: the table of labels and the three indexes that speak of labels (vectors, keywords,
 * attributes). A last-writer-wins map by its own versions (replication 2.4): a greater version replaces, an equal one
 * re-points the offset, a lower one is ignored; the version of a delete is remembered, so that an older upsert that
 * comes later does not bring the document back.
 *
 * Invariants: an id is either live, or a tombstone, or unknown; every live label is in the attribute index, in the
 * keyword index when it has text, in the vector table when it has a vector; `digest` is the sum over live labels.
 */
export class CollectionIndex {
  readonly labels: LabelTable;
  readonly tombstones: LabelTable;
  readonly keywords: KeywordIndex;
  readonly attributes: AttributeIndex;
  #spec: CollectionSpec;
  readonly #indexes: VectorIndexes;
  readonly #hasher: Hasher;
  readonly #live: Bitmap;
  readonly #digest: LiveDigest;
  /** Until a loaded digest was compared with the labels: the sum of the live ones below `next`. */
  #unchecked: { readonly digest: LiveDigest; next: number } | undefined;
  #vectors: VectorTable | undefined;
  #changedAt: number;
  readonly #filtered = new Map<string, Bitmap>();

  constructor(spec: CollectionSpec, indexes: VectorIndexes, hasher: Hasher, loaded?: LoadedCollection) {
    this.#spec = spec;
    this.#indexes = indexes;
    this.#hasher = hasher;
    this.labels = loaded?.labels ?? LabelTable.empty();
    this.tombstones = loaded?.tombstones ?? LabelTable.empty();
    this.keywords = loaded?.keywords ?? new KeywordIndex(indexes.postingSums?.());
    this.attributes = loaded?.attributes ?? new AttributeIndex();
    this.#live = new Bitmap(this.labels.high);
    for (let label = 0; label < this.labels.high; label++) if (this.labels.isLive(label)) this.#live.set(label);
    this.#vectors = loaded?.vectors?.(this.labels);
    this.#changedAt = loaded?.changedAt ?? 0;
    this.#digest = new LiveDigest(loaded?.digest);
    this.#unchecked = loaded === undefined ? undefined : { digest: new LiveDigest(), next: 0 };
  }

  get spec(): CollectionSpec {
    return this.#spec;
  }

  /** Live documents. */
  get documents(): number {
    return this.labels.size;
  }

  get vectors(): VectorTable | undefined {
    return this.#vectors;
  }

  /** Offset of the last entry that changed anything here; 0 when none did. */
  get changedAt(): number {
    return this.#changedAt;
  }

  /** The running live digest; 16 bytes. */
  get digest(): Uint8Array {
    return this.#digest.bytes();
  }

  /** The spec came again, perhaps with a dimension that was unknown. @throws VectorRefusedError when its vectors have another one */
  redefine(spec: CollectionSpec): void {
    const dimensions = this.#vectors?.shape.dimensions;
    if (dimensions !== undefined && spec.dimensions !== undefined && spec.dimensions !== dimensions) {
      throw new VectorRefusedError(
        `collection ${spec.id} has vectors of ${dimensions} dimensions, not ${spec.dimensions}`,
      );
    }
    this.#spec = spec;
  }

  /** @throws VectorRefusedError; nothing has changed then */
  upsert(id: string, version: Version, offset: number, fields: DocumentFields): void {
    const before = this.#supersede(id, version, offset, false);
    if (before === 'kept') return;
    if (fields.vector !== undefined) this.#vectorsFor(fields.vector).check(fields.vector);
    this.#bury(id);
    const label = this.labels.add(id, version, offset);
    this.#live.set(label);
    const term = liveTerm(this.#hasher, this.#spec.id, id, version);
    this.#digest.add(term);
    if (label < this.#uncheckedFrom) this.#unchecked?.digest.add(term);
    if (fields.vector !== undefined) this.#vectorsFor(fields.vector).add(label, fields.vector);
    const text = keywordText(fields);
    if (text !== undefined) this.keywords.add(label, tokenize(text));
    this.attributes.add(label, fields.metadata);
    this.#changed(offset);
  }

  delete(id: string, version: Version, offset: number): void {
    if (this.#supersede(id, version, offset, true) === 'kept') return;
    this.#bury(id);
    this.tombstones.add(id, version, offset);
    this.#changed(offset);
  }

  /** Whether this version, or a higher one, is here already. */
  has(id: string, version: Version): boolean {
    return [this.labels, this.tombstones].some((table) => {
      const label = table.labelOf(id);
      return label !== NO_LABEL && table.compareVersion(version, label) <= 0;
    });
  }

  /** Changed by what is not an entry of the log up to `offset`: counts as changed there. */
  touch(offset: number): void {
    this.#changedAt = offset;
  }

  /** Ends a document or a tombstone of exactly this version, without another one in its place. */
  forget(id: string, version: Version): void {
    for (const table of [this.labels, this.tombstones]) {
      const label = table.labelOf(id);
      if (label === NO_LABEL || table.compareVersion(version, label) !== 0) continue;
      this.#bury(id);
      this.#changed(this.#changedAt);
    }
  }

  /** Labels of live documents that match; undefined for all of them. Not to be changed. */
  matching(filter: Filter | undefined): Bitmap | undefined {
    if (filter === undefined) return undefined;
    const key = JSON.stringify(filter);
    let labels = this.#filtered.get(key);
    if (labels === undefined) {
      labels = this.attributes.evaluate(filter, (ids) => this.#labelsOf(ids), this.#live);
      const most = Math.min(REMEMBERED_FILTERS_MAX, Math.floor(REMEMBERED_BYTES / (labels.bytes + 1)));
      const [oldest] = this.#filtered.keys();
      if (this.#filtered.size >= Math.max(REMEMBERED_FILTERS_MIN, most)) this.#filtered.delete(oldest);
      this.#filtered.set(key, labels);
    }
    return labels;
  }

  count(filter: Filter | undefined): number {
    return this.matching(filter)?.count() ?? this.labels.size;
  }

  scroll(filter: Filter | undefined, after: string | undefined, limit: number): { labels: number[]; more: boolean } {
    const matching = this.matching(filter);
    return this.labels.scroll(after, limit, (label) => matching === undefined || matching.has(label));
  }

  statistics(terms: readonly string[]): KeywordStatistics {
    return this.keywords.statisticsOf(terms);
  }

  /** What each of one collection's indexes in several shards finds; undefined where there are no vectors. */
  static findVectors(
    indexes: ReadonlySet<CollectionIndex>,
    { values, k, ef }: VectorLeg,
    filter: Filter | undefined,
    exact: boolean,
  ): ReadonlyMap<CollectionIndex, FoundVectors> {
    const searched = [...indexes].flatMap((index) =>
      index.#vectors === undefined ? [] : { index, table: index.#vectors, allowed: index.matching(filter) },
    );
    const found = VectorTable.findAll(values, k, ef, exact, searched);
    return new Map(searched.map(({ index }, i) => [index, found[i]]));
  }

  /** Ranks and writes them. @param farthest as `VectorTable.rank` */
  writeVectors(leg: VectorLeg, found: FoundVectors | undefined, farthest: number, into: SearchAnswerWriter): void {
    const vectors = this.#vectors;
    const ranked = found === undefined ? undefined : vectors?.rank(leg.values, leg.k, found, farthest);
    into.vector(this.labels.records, ranked ?? NOTHING, this.#indexes.writeLeg);
  }

  /** Valid until the next search. @param least what scores less is not looked for */
  findTexts(leg: KeywordLeg, filter: Filter | undefined, least: number): KeywordMatches {
    const options = { ties: this.labels, statistics: leg.statistics, allowed: this.matching(filter), least };
    return this.keywords.search(leg.terms, leg.k, options);
  }

  /** @param least leaves out what scores less */
  writeTexts(found: KeywordMatches, least: number, into: SearchAnswerWriter): void {
    into.keyword(this.labels.records, found, least, this.#indexes.writeLeg);
  }

  /** The live digest from the labels alone. */
  recomputeDigest(): LiveDigest {
    const digest = new LiveDigest();
    for (let label = 0; label < this.labels.high; label++) {
      if (this.labels.isLive(label)) digest.add(this.#termOf(label));
    }
    return digest;
  }

  /**
   * Compares the digest that a checkpoint brought with the labels it brought, a part with each call, until `expired` says
   * yes: a hash of each would be a third of the time a restart takes. What is applied meanwhile changes both sides.
   * Undefined when there are labels left.
   */
  check(expired: () => boolean): boolean | undefined {
    const unchecked = this.#unchecked;
    if (unchecked === undefined) return true;
    for (; unchecked.next < this.labels.high; unchecked.next++) {
      if (expired()) return undefined;
      if (this.labels.isLive(unchecked.next)) unchecked.digest.add(this.#termOf(unchecked.next));
    }
    if (!equalBytes(unchecked.digest.bytes(), this.digest)) return false;
    this.#unchecked = undefined;
    return true;
  }

  dispose(): void {
    this.#vectors?.dispose();
  }

  /**
   * What a version does to what is there: `kept` when it changes nothing (lower, or equal and re-pointed),
   * `superseded` when the new one takes over.
   */
  #supersede(id: string, version: Version, offset: number, tombstone: boolean): 'kept' | 'superseded' {
    for (const table of [this.labels, this.tombstones]) {
      const label = table.labelOf(id);
      if (label === NO_LABEL) continue;
      const order = table.compareVersion(version, label);
      if (order < 0) return 'kept';
      if (order === 0 && (table === this.tombstones) === tombstone) {
        table.repoint(label, offset);
        this.#changed(offset);
        return 'kept';
      }
    }
    return 'superseded';
  }

  /** Ends whatever the id is now, live or tombstone. */
  #bury(id: string): void {
    const tombstone = this.tombstones.labelOf(id);
    if (tombstone !== NO_LABEL) {
      this.tombstones.remove(tombstone);
      this.tombstones.release(tombstone);
    }
    const label = this.labels.labelOf(id);
    if (label === NO_LABEL) return;
    const term = this.#termOf(label);
    this.#digest.subtract(term);
    if (label < this.#uncheckedFrom) this.#unchecked?.digest.subtract(term);
    this.labels.remove(label);
    this.#live.clear(label);
    this.keywords.remove(label);
    this.attributes.remove(label);
    if (this.#vectors?.remove(label) ?? true) this.labels.release(label);
  }

  get #uncheckedFrom(): number {
    return this.#unchecked?.next ?? 0;
  }

  #termOf(label: number): Uint8Array {
    return liveTerm(this.#hasher, this.#spec.id, this.labels.idOf(label), this.labels.versionOf(label));
  }

  #vectorsFor(vector: Float32Array): VectorTable {
    this.#vectors ??= new VectorTable(
      // The first vector of a collection was agreed on in the map before it was logged: it fixes the dimension here too.
      { ...this.#spec, dimensions: this.#spec.dimensions ?? vector.length },
      this.#indexes,
      this.labels,
      (label) => this.labels.release(label),
    );
    return this.#vectors;
  }

  #changed(offset: number): void {
    this.#changedAt = offset;
    if (this.#filtered.size > 0) this.#filtered.clear();
  }

  #labelsOf(ids: readonly string[]): number[] {
    const labels: number[] = [];
    for (const id of ids) {
      const label = this.labels.labelOf(id);
      if (label !== NO_LABEL) labels.push(label);
    }
    return labels;
  }
}

/** A collection's state as a checkpoint gave it back. */
export interface LoadedCollection {
  readonly labels: LabelTable;
  readonly tombstones: LabelTable;
  readonly keywords: KeywordIndex;
  readonly attributes: AttributeIndex;
  /** Makes the vector table, when there is one, over the loaded labels. */
  readonly vectors: ((labels: LabelTable) => VectorTable) | undefined;
  readonly changedAt: number;
  /** Its live digest; 16 bytes, believed until `check`. */
  readonly digest: Uint8Array;
}
