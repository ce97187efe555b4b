import type { Printer } from './host.js';

/** Between two drawings of the line. */
const DRAW_INTERVAL_MS = 100;
const CLEAR = '\r\u001b[K';

/** A last line that changes in place while others are printed above it; on anything but a terminal there is none. */
export class LiveLine {
  readonly #printer: Printer;
  readonly #text: () => string;
  readonly #timer: NodeJS.Timeout | undefined;
  #drawn = false;

  constructor(printer: Printer, text: () => string) {
    this.#printer = printer;
    this.#text = text;
    if (printer.isTTY === true) this.#timer = setInterval(() => this.#draw(), DRAW_INTERVAL_MS).unref();
  }

  /** Makes room for something that is printed. */
  clear(): void {
    if (!this.#drawn) return;
    this.#printer.write(CLEAR);
    this.#drawn = false;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #draw(): void {
    const width = Math.max(20, (this.#printer.columns ?? 80) - 1);
    this.#printer.write(`${CLEAR}${this.#text().slice(0, width)}`);
    this.#drawn = true;
  }
}
