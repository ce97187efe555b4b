import { STOP_WORDS, STOP_WORD_LENGTH_MAX } from './stop-words.js';

/** Longer tokens are cut, in code points: what was indexed and what is asked are cut alike, so they still meet. */
export const TOKEN_CODE_POINTS_MAX = 64;

/** 1 for the ASCII characters a token is made of, once lower case. */
const TOKEN_UNITS = new Uint8Array(128);
for (const character of 'abcdefghijklmnopqrstuvwxyz0123456789') TOKEN_UNITS[character.charCodeAt(0)] = 1;

/** A letter or digit, then letters, digits and the marks that belong to them (accents, Indic vowel signs). Linear: no backtracking. */
const TOKEN = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;

/**
 * The text of a document that the keyword leg searches: title, then content; undefined when it has neither.
 */
export function keywordText(fields: { readonly title?: string; readonly content?: string }): string | undefined {
  if (fields.title === undefined) return fields.content;
  return fields.content === undefined ? fields.title : `${fields.title}\n${fields.content}`;
}

/**
 * The terms of `text` in order of occurrence, repeated ones included (api.md, keyword text): runs of Unicode letters and
 * digits, in lower case, of at least 2 code points, without the stop words, unstemmed. Documents and queries go through
 * the same function. Decisions beyond that sentence:
 * - combining marks continue a run, and text is brought to NFC, so that a composed and a decomposed "é" are one term;
 * - scripts without spaces (Han, Thai) are not segmented: a run is one term;
 * - a term is cut after 64 code points, so that a blob of letters cannot fill the dictionary;
 * - lone surrogates are neither letters nor digits: they separate.
 *
 * Takes time linear in the text; ASCII takes a path without regular expressions.
 */
export function tokenize(text: string): string[] {
  const lower = text.toLowerCase();
  const tokens: string[] = [];
  let start = -1;
  for (let i = 0; i < lower.length; i++) {
    const unit = lower.charCodeAt(i);
    if (unit >= 0x80) return tokenizeUnicode(lower);
    if (TOKEN_UNITS[unit] === 1) {
      if (start < 0) start = i;
    } else if (start >= 0) {
      pushAscii(tokens, lower, start, i);
      start = -1;
    }
  }
  if (start >= 0) pushAscii(tokens, lower, start, lower.length);
  return tokens;
}

function pushAscii(tokens: string[], lower: string, start: number, end: number): void {
  const length = end - start;
  if (length < 2) return;
  const token = lower.slice(start, length > TOKEN_CODE_POINTS_MAX ? start + TOKEN_CODE_POINTS_MAX : end);
  if (length > STOP_WORD_LENGTH_MAX || !STOP_WORDS.has(token)) tokens.push(token);
}

function tokenizeUnicode(lower: string): string[] {
  const tokens: string[] = [];
  for (const [run] of lower.normalize('NFC').matchAll(TOKEN)) {
    if (run.length < 2 || (run.length === 2 && isHighSurrogate(run.charCodeAt(0)))) continue;
    if (run.length <= STOP_WORD_LENGTH_MAX && STOP_WORDS.has(run)) continue;
    tokens.push(run.length > TOKEN_CODE_POINTS_MAX ? cut(run) : run);
  }
  return tokens;
}

/** The first TOKEN_CODE_POINTS_MAX code points of `run`. */
function cut(run: string): string {
  let end = 0;
  for (let points = 0; points < TOKEN_CODE_POINTS_MAX && end < run.length; points++) {
    end += isHighSurrogate(run.charCodeAt(end)) ? 2 : 1;
  }
  return run.slice(0, end);
}

function isHighSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}
