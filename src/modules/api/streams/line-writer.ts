import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** Characters that are written in one go. */
const BATCH_LENGTH = 64 * 1024;

/** Writes lines to a response: what comes in one turn of the event loop goes out together, with back-pressure. */
export class LineWriter {
  private text = '';
  private scheduled: NodeJS.Immediate | undefined;

  constructor(
    private readonly response: ServerResponse,
    private readonly signal: AbortSignal,
  ) {}

  /** Resolves when more may be written; rejects when the signal aborts meanwhile. */
  write(line: string): Promise<void> | undefined {
    this.text += line;
    if (this.text.length >= BATCH_LENGTH) return this.flush() ? undefined : this.drained();
    this.scheduled ??= setImmediate(() => this.flush());
    return undefined;
  }

  /** Writes what is left and ends the response. */
  end(): void {
    this.flush();
    this.response.end();
  }

  private flush(): boolean {
    clearImmediate(this.scheduled);
    this.scheduled = undefined;
    const { text } = this;
    this.text = '';
    if (text === '' || this.response.destroyed) return true;
    return this.response.write(text);
  }

  private async drained(): Promise<void> {
    await once(this.response, 'drain', { signal: this.signal });
  }
}
