import type { JsonObject } from '../../kernel/json.js';
import type { DocumentFields } from '../shard/core/document.js';
import type { DocumentView } from './core/requests.js';
import type { StoredSegments } from './core/shard-calls.js';

/** The fields of a stored document, parsed. */
export function fieldsOf({ title, content, metadata, vector }: StoredSegments): DocumentFields {
  return {
    ...(title === undefined ? {} : { title: JSON.parse(title) as string }),
    ...(content === undefined ? {} : { content: JSON.parse(content) as string }),
    ...(metadata === undefined ? {} : { metadata: JSON.parse(metadata) as JsonObject }),
    ...(vector === undefined ? {} : { vector }),
  };
}

/** As a client sees it. */
export function viewOf(document: StoredSegments): DocumentView {
  return { id: document.id, ...fieldsOf(document), version: document.version };
}
