import type * as pb from '../../../gen/spector/v1/spector_pb.js';
import { NodeError } from '../../../kernel/errors.js';
import { LIMITS } from '../../../kernel/limits.js';

/**
 * A filter message in the JSON form of the HTTP contract; `filterOf` checks it, so that both protocols have one set of
 * rules and sentences. Nesting is bounded here too: a message may be nested deeper than a stack is.
 */
export function filterJson(filter: pb.Filter, depth = 1): object {
  if (depth > LIMITS.filterDepthMax) {
    throw new NodeError('LIMIT_EXCEEDED', `\`filter\` is nested deeper than ${LIMITS.filterDepthMax} levels`);
  }
  const clauses = (list: readonly pb.FilterClause[]) => list.map((clause) => clauseJson(clause, depth));
  return { must: clauses(filter.must), should: clauses(filter.should), must_not: clauses(filter.mustNot) };
}

function clauseJson({ clause }: pb.FilterClause, depth: number): object {
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
      return filterJson(clause.value, depth + 1);
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
