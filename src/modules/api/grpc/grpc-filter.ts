import type * as pb from '../../../gen/spector/v1/spector_pb.js';

/**
 * A filter message in the JSON form of the HTTP contract; `filterOf` checks it, so that both protocols have one set of
 * rules and sentences. The decoder has bounded its nesting (100 levels).
 */
export function filterJson(filter: pb.Filter): object {
  return {
    must: filter.must.map(clauseJson),
    should: filter.should.map(clauseJson),
    must_not: filter.mustNot.map(clauseJson),
  };
}

function clauseJson({ clause }: pb.FilterClause): object {
  switch (clause.case) {
    case 'match':
      return { key: clause.value.key, match: { any: clause.value.any.map(valueJson) } };
    case 'range': {
      const { key, gt, gte, lt, lte } = clause.value;
      return { key, range: { gt: boundJson(gt), gte: boundJson(gte), lt: boundJson(lt), lte: boundJson(lte) } };
    }
    case 'exists':
      return { key: clause.value.key, exists: clause.value.exists ?? true };
    case 'ids':
      return { ids: clause.value.ids };
    case 'nested':
      return filterJson(clause.value);
    default:
      return {};
  }
}

function valueJson({ value }: pb.FilterValue): unknown {
  return value.case === 'null' ? null : value.value;
}

function boundJson(bound: pb.RangeBound | undefined): unknown {
  return bound?.value.value;
}
