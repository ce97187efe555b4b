import type { SearchAnswer, SearchHit } from '../../coordinator/core/requests.js';

/**
 * The JSON text of a search answer, equal to JSON.stringify of its plain shape (api.md, Search answer). Written by hand
 * because title, content and metadata are JSON text already: parsing them only to write them again would cost more than
 * ranking them did.
 */
export function searchAnswerJson(answer: SearchAnswer): string {
  let results = '';
  for (const hit of answer.results) results += results === '' ? hitJson(hit) : `,${hitJson(hit)}`;
  return (
    `{"results":[${results}],"totalHits":${answer.totalHits},"queryTimeMs":${numberJson(answer.queryTimeMs)}` +
    `,"mode":"${answer.mode}","fusion":${JSON.stringify(answer.fusion)},"partial":${answer.partial}` +
    `,"shards":${JSON.stringify(answer.shards)},"coverage":${numberJson(answer.coverage)},"mapEpoch":${answer.mapEpoch}` +
    `,"session":${JSON.stringify(answer.session)}` +
    (answer.explain === undefined ? '}' : `,"explain":${JSON.stringify(answer.explain)}}`)
  );
}

function hitJson(hit: SearchHit): string {
  let text = `{"id":${JSON.stringify(hit.id)},"score":${numberJson(hit.score)}`;
  if (hit.titleJson !== undefined) text += `,"title":${hit.titleJson}`;
  if (hit.contentJson !== undefined) text += `,"content":${hit.contentJson}`;
  if (hit.metadataJson !== undefined) text += `,"metadata":${hit.metadataJson}`;
  if (hit.vector !== undefined) text += `,"vector":[${hit.vector.join(',')}]`;
  text += `,"version":${JSON.stringify(hit.version)},"ranks":${ranksJson(hit.ranks)}`;
  if (hit.explanation !== undefined) text += `,"explanation":${JSON.stringify(hit.explanation)}`;
  return `${text}}`;
}

function ranksJson({ vector, keyword }: SearchHit['ranks']): string {
  if (vector === undefined) return keyword === undefined ? '{}' : `{"keyword":${keyword}}`;
  return keyword === undefined ? `{"vector":${vector}}` : `{"vector":${vector},"keyword":${keyword}}`;
}

/** JSON has no NaN and no infinities; JSON.stringify writes null for them. */
function numberJson(value: number): string {
  return Number.isFinite(value) ? `${value}` : 'null';
}
