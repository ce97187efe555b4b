import { isJsonSpace } from './json-space.js';

/** Where a text stops being JSON, and what was expected there. */
export interface JsonFault {
  /** Index into the text, from 0. */
  readonly position: number;
  readonly expected: string;
}

/**
 * Finds where `text`, which a parser refused, stops being JSON (RFC 8259). Engines word and place this differently from
 * version to version; clients get one form. Nesting must have been bounded before: it recurses. No regular expression
 * walks the text: megabytes of one token would exhaust its stack.
 */
export function jsonFault(text: string): JsonFault {
  return new FaultFinder(text).find();
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LITERALS = ['true', 'false', 'null'] as const;

class FaultFinder {
  private at = 0;
  private fault: JsonFault | undefined;

  constructor(private readonly text: string) {}

  find(): JsonFault {
    if (this.value()) {
      this.space();
      if (this.at < this.text.length) this.fail('the end of the text');
    }
    return this.fault ?? { position: this.text.length, expected: 'JSON' };
  }

  private value(): boolean {
    this.space();
    const start = this.text[this.at];
    if (start === '{') return this.list('}', () => this.member());
    if (start === '[') return this.list(']', () => this.value());
    if (start === '"') return this.string();
    if (start === '-' || isDigit(this.text.charCodeAt(this.at))) return this.number();
    for (const literal of LITERALS) {
      if (!this.text.startsWith(literal, this.at)) continue;
      this.at += literal.length;
      return true;
    }
    return this.fail('a value');
  }

  private list(close: string, item: () => boolean): boolean {
    this.at++;
    this.space();
    if (this.take(close)) return true;
    for (;;) {
      if (!item()) return false;
      this.space();
      if (this.take(close)) return true;
      if (!this.take(',')) return this.fail(`, or ${close}`);
    }
  }

  private member(): boolean {
    this.space();
    if (this.text[this.at] !== '"') return this.fail('a field name in double quotes');
    if (!this.string()) return false;
    this.space();
    return this.take(':') ? this.value() : this.fail(':');
  }

  private string(): boolean {
    const { text } = this;
    for (let at = this.at + 1; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      this.at = at;
      if (unit === QUOTE) {
        this.at++;
        return true;
      }
      if (unit === BACKSLASH) {
        const length = escapeLength(text, at + 1);
        if (length === 0) return this.fail('an escape sequence');
        at += length;
      } else if (unit < 0x20) {
        return this.fail('an escaped control character');
      }
    }
    this.at = text.length;
    return this.fail('the end of a string');
  }

  private number(): boolean {
    this.take('-');
    if (!this.take('0') && !this.digits()) return false;
    if (this.take('.') && !this.digits()) return false;
    if (this.take('e') || this.take('E')) {
      if (!this.take('+')) this.take('-');
      return this.digits();
    }
    return true;
  }

  private digits(): boolean {
    const { text } = this;
    let at = this.at;
    while (isDigit(text.charCodeAt(at))) at++;
    if (at === this.at) return this.fail('a digit');
    this.at = at;
    return true;
  }

  private space(): void {
    const { text } = this;
    let at = this.at;
    while (isJsonSpace(text.charCodeAt(at))) at++;
    this.at = at;
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private fail(expected: string): false {
    this.fault = { position: this.at, expected };
    return false;
  }
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** Characters after the backslash of a valid escape; 0 when there is none. */
function escapeLength(text: string, at: number): number {
  switch (text.charCodeAt(at)) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f: // /
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return 1;
    case 0x75: // u
      return /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5)) ? 5 : 0;
    default:
      return 0;
  }
}
