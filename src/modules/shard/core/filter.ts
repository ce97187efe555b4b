/**
 * A validated metadata filter (api.md, Filter). All of `must`, none of `mustNot`; when `must` is empty and `should`
 * is not, at least one of `should`. (With `must`, `should` asks for nothing.) An empty filter matches everything.
 */
export interface Filter {
  readonly must: readonly FilterClause[];
  readonly should: readonly FilterClause[];
  readonly mustNot: readonly FilterClause[];
}

export type FilterScalar = string | number | boolean | null;

export type FilterClause =
  /** Dotted `key` reaches into objects; an array matches when any element does. Numbers and strings are never equal. */
  | { readonly kind: 'match'; readonly key: string; readonly any: readonly FilterScalar[] }
  /** Bounds of one type: numbers compare as numbers, strings (ISO dates among them) as text. */
  | {
      readonly kind: 'range';
      readonly key: string;
      readonly gt?: number | string;
      readonly gte?: number | string;
      readonly lt?: number | string;
      readonly lte?: number | string;
    }
  | { readonly kind: 'exists'; readonly key: string; readonly exists: boolean }
  | { readonly kind: 'ids'; readonly ids: readonly string[] }
  | { readonly kind: 'nested'; readonly filter: Filter };
