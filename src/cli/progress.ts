import { Presets, SingleBar } from 'cli-progress';
import type { Printer } from './host.js';
import { duration, grouped } from './units.js';

/** Between two lines where there is no terminal. */
const LINE_INTERVAL_MS = 5_000;
const BAR_SCALE = 1_000;

/**
 * How far a long command is: a bar with rate and time left on a terminal, a line every few seconds anywhere else.
 * `done` counts documents; `fraction` is the share of the work, when that is known.
 */
export class Progress {
  readonly #printer: Printer;
  readonly #label: string;
  readonly #startedMs = performance.now();
  readonly #startFraction: number;
  readonly #bar: SingleBar | undefined;
  #lineMs = this.#startedMs;

  /** @param startFraction share of the work that was done earlier, when a run is taken up again */
  constructor(printer: Printer, label: string, startFraction = 0) {
    this.#printer = printer;
    this.#label = label;
    this.#startFraction = startFraction;
    if (printer.isTTY !== true) return;
    this.#bar = new SingleBar(
      {
        format: `${label} {bar} {percentage}% | {documents} documents | {rate}/s | {left}`,
        stream: printer,
        barsize: 28,
        hideCursor: true,
        gracefulExit: false,
        fps: 10,
        linewrap: false,
      },
      Presets.shades_classic,
    );
    this.#bar.start(BAR_SCALE, 0, { documents: '0', rate: '0', left: '' });
  }

  update(done: number, fraction: number | undefined): void {
    const now = performance.now();
    if (this.#bar === undefined && now - this.#lineMs < LINE_INTERVAL_MS) return;
    const elapsedMs = now - this.#startedMs;
    const rate = elapsedMs > 0 ? (done / elapsedMs) * 1_000 : 0;
    const share =
      fraction === undefined ? 0 : (fraction - this.#startFraction) / Math.max(1e-9, 1 - this.#startFraction);
    const left = share > 0.001 ? `${duration((elapsedMs / share) * (1 - share))} left` : '';
    if (this.#bar !== undefined) {
      this.#bar.update(Math.floor((fraction ?? 0) * BAR_SCALE), {
        documents: grouped(done),
        rate: grouped(rate),
        left,
      });
      return;
    }
    this.#lineMs = now;
    const percent = fraction === undefined ? '' : ` (${Math.floor(fraction * 100)} %)`;
    this.#printer.write(
      `${this.#label}: ${grouped(done)} documents${percent}, ${grouped(rate)}/s${left === '' ? '' : `, ${left}`}\n`,
    );
  }

  /** Ends the bar; `complete` fills it first. */
  stop(complete: boolean): void {
    if (this.#bar === undefined) return;
    if (complete) this.#bar.update(BAR_SCALE, { left: 'done' });
    this.#bar.stop();
  }
}
