import type { DocumentView } from '../../coordinator/core/requests.js';

/** A document in an answer; its vector as plain numbers. */
export interface DocumentJson {
  readonly id: string;
  readonly title?: string;
  readonly content?: string;
  readonly metadata?: unknown;
  readonly vector?: readonly number[];
  readonly version: string;
}

/** The JSON shape of a document: absent fields stay absent. */
export function documentJson(document: DocumentView): DocumentJson {
  return {
    id: document.id,
    ...(document.title === undefined ? {} : { title: document.title }),
    ...(document.content === undefined ? {} : { content: document.content }),
    ...(document.metadata === undefined ? {} : { metadata: document.metadata }),
    ...(document.vector === undefined ? {} : { vector: Array.from(document.vector) }),
    version: document.version,
  };
}
