import type { Similarity } from '../../../kernel/collection.js';
import { NodeError } from '../../../kernel/errors.js';
import * as pb from '../../../gen/spector/v1/spector_pb.js';
import type { DocumentPatch, ReadConsistency, SearchMode, WriteConsistency } from '../../coordinator/core/requests.js';
import { shown } from '../core/shown.js';

/** The words of the HTTP contract behind the numbers of the enums, in both directions. */
const WRITE = {
  [pb.WriteConsistency.AUTO]: 'auto',
  [pb.WriteConsistency.ONE]: 'one',
  [pb.WriteConsistency.QUORUM]: 'quorum',
  [pb.WriteConsistency.ALL]: 'all',
} as const;
const READ = {
  [pb.ReadConsistency.ANY]: 'any',
  [pb.ReadConsistency.PRIMARY]: 'primary',
  [pb.ReadConsistency.SESSION]: 'session',
} as const;
const MODES = {
  [pb.SearchMode.KEYWORD]: 'KEYWORD',
  [pb.SearchMode.VECTOR]: 'VECTOR',
  [pb.SearchMode.HYBRID]: 'HYBRID',
} as const;
const SIMILARITIES = {
  [pb.Similarity.COSINE]: 'cosine',
  [pb.Similarity.DOT]: 'dot',
  [pb.Similarity.EUCLIDEAN]: 'euclidean',
} as const;
const FIELDS = {
  [pb.DocumentField.TITLE]: 'title',
  [pb.DocumentField.CONTENT]: 'content',
  [pb.DocumentField.METADATA]: 'metadata',
  [pb.DocumentField.VECTOR]: 'vector',
} as const;

export function writeConsistencyOf(value: pb.WriteConsistency): WriteConsistency | undefined {
  return wordOf(WRITE, value, 'consistency');
}

export function readConsistencyOf(value: pb.ReadConsistency): ReadConsistency | undefined {
  return wordOf(READ, value, 'consistency');
}

export function searchModeOf(value: pb.SearchMode): SearchMode | undefined {
  return wordOf(MODES, value, 'mode');
}

export function similarityOf(value: pb.Similarity): Similarity | undefined {
  return wordOf(SIMILARITIES, value, 'similarity');
}

export function documentFieldOf(value: pb.DocumentField): keyof DocumentPatch {
  const field = wordOf(FIELDS, value, 'remove');
  if (field === undefined)
    throw new NodeError('INVALID_REQUEST', '`remove` must name fields: DOCUMENT_FIELD_UNSPECIFIED is none');
  return field;
}

export const SEARCH_MODES = {
  KEYWORD: pb.SearchMode.KEYWORD,
  VECTOR: pb.SearchMode.VECTOR,
  HYBRID: pb.SearchMode.HYBRID,
} as const;
export const SIMILARITY_VALUES = {
  cosine: pb.Similarity.COSINE,
  dot: pb.Similarity.DOT,
  euclidean: pb.Similarity.EUCLIDEAN,
} as const;
export const NODE_STATUSES = {
  STARTING: pb.NodeStatus.STARTING,
  RUNNING: pb.NodeStatus.RUNNING,
  DEGRADED: pb.NodeStatus.DEGRADED,
  DRAINING: pb.NodeStatus.DRAINING,
} as const;
export const ROLES = {
  primary: pb.ReplicaRole.PRIMARY,
  replica: pb.ReplicaRole.REPLICA,
  learner: pb.ReplicaRole.LEARNER,
} as const;
export const CHANGE_OPS = { upsert: pb.ChangeOp.UPSERT, delete: pb.ChangeOp.DELETE } as const;
export const FAILURE_REASONS = {
  TIMEOUT: pb.ShardFailureReason.TIMEOUT,
  UNREACHABLE: pb.ShardFailureReason.UNREACHABLE,
  STALE_ROUTE: pb.ShardFailureReason.STALE_ROUTE,
  OVERLOADED: pb.ShardFailureReason.OVERLOADED,
  FAULTED: pb.ShardFailureReason.FAULTED,
} as const;

/** The word of a number; undefined for UNSPECIFIED. Enums are open on the wire: other numbers are refused. */
function wordOf<const T extends Readonly<Record<number, string>>>(
  words: T,
  value: number,
  name: string,
): T[keyof T] | undefined {
  if (value === 0) return undefined;
  const word = Object.hasOwn(words, value) ? words[value as keyof T] : undefined;
  if (word === undefined) throw new NodeError('INVALID_REQUEST', `\`${name}\` has the unknown value ${shown(value)}`);
  return word;
}
