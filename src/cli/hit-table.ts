import type { SearchAnswer, SearchHit } from '../client/index.js';
import { shortened, table } from './table.js';

/** Results for people: rank, score, id, title and the beginning of the content, fitted to the terminal. */
export function hitTable(answer: SearchAnswer, columns: number, firstRank = 1): string {
  if (answer.results.length === 0) return 'no results';
  const longest = (texts: readonly string[], max: number): number =>
    Math.min(max, Math.max(...texts.map((text) => shortened(text, max).length)));
  const idWidth = longest(
    answer.results.map(({ id }) => id),
    24,
  );
  const titleWidth = longest(
    answer.results.map(({ title }) => title ?? ''),
    28,
  );
  // What is left after rank, score and the gaps between columns.
  const contentWidth = Math.max(16, columns - 15 - (idWidth + 2) - (titleWidth + 2));
  return table(
    [
      { head: '#', align: 'right' },
      { head: 'score', align: 'right' },
      { head: 'id', widthMax: idWidth },
      { head: 'title', widthMax: titleWidth },
      { head: 'content', widthMax: contentWidth },
    ],
    answer.results.map((hit, i) => [
      firstRank + i,
      hit.score.toFixed(4),
      hit.id,
      hit.title ?? '',
      hit.content ?? metadataText(hit),
    ]),
  );
}

/** One line about how the answer came about; names what is missing from it. */
export function answerLine(answer: SearchAnswer): string {
  const { shards } = answer;
  const parts = [
    `${answer.totalHits} results`,
    answer.mode,
    `${answer.queryTimeMs.toFixed(1)} ms`,
    `${shards.ok}/${shards.total} shards`,
  ];
  if (answer.partial) {
    const failed = shards.failed.map((shard) => `${shard.shard} (${shard.reason})`).join(', ');
    parts.push(
      `PARTIAL: shards ${failed} did not answer, ${Math.round(answer.coverage * 100)} % of the documents were searched`,
    );
  }
  if (shards.stale.length > 0)
    parts.push(`stale: shards ${shards.stale.map((shard) => `${shard.shard} (${shard.lagMs} ms)`).join(', ')}`);
  return parts.join(', ');
}

/** How each result came to its score, as far as the node tells. */
export function explanationLines(answer: SearchAnswer): string {
  const lines = answer.results.map(
    (hit, i) =>
      `${i + 1}. ${shortened(hit.id, 60)}: ${ranksText(hit)}${hit.explanation === undefined ? '' : `\n   ${JSON.stringify(hit.explanation)}`}`,
  );
  if (answer.explain !== undefined) lines.push(`search: ${JSON.stringify(answer.explain)}`);
  if (answer.fusion !== null) lines.push(`fusion: ${JSON.stringify(answer.fusion)}`);
  return lines.join('\n');
}

function ranksText(hit: SearchHit): string {
  const { vector, keyword } = hit.ranks;
  const parts = [
    vector === undefined ? undefined : `vector rank ${vector}`,
    keyword === undefined ? undefined : `keyword rank ${keyword}`,
  ];
  return parts.filter((part) => part !== undefined).join(', ') || 'no ranks';
}

function metadataText(hit: SearchHit): string {
  return hit.metadata === undefined ? '' : JSON.stringify(hit.metadata);
}
