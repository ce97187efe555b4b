import { once } from 'node:events';
import type { Host, Printer } from './host.js';

/** Where a command prints: results to stdout, everything else to stderr. */
export class Output {
  readonly json: boolean;
  readonly #stdout: Printer;
  readonly #stderr: Printer;

  /** @param json whether stdout carries JSON and nothing else */
  constructor(host: Host, json: boolean) {
    this.#stdout = host.stdout;
    this.#stderr = host.stderr;
    this.json = json;
  }

  get columns(): number {
    return Math.max(60, this.#stdout.columns ?? 110);
  }

  /** One result: JSON as one line in JSON mode, otherwise the text `human` makes. */
  result(value: unknown, human: () => string): Promise<void> {
    return this.raw(`${this.json ? JSON.stringify(value) : human()}\n`);
  }

  /** Text or bytes to stdout as they are; resolves when the reader has room for more. */
  async raw(chunk: string | Uint8Array): Promise<void> {
    if (!this.#stdout.write(chunk)) await once(this.#stdout, 'drain');
  }

  /** A remark for the person at the terminal. */
  note(text: string): void {
    this.#stderr.write(`${text}\n`);
  }
}
