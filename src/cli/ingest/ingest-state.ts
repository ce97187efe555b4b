import { open, readFile, rename, rm } from 'node:fs/promises';
import { errorCode } from '../error-code.js';
import { UsageError } from '../usage-error.js';
import type { Position } from './batches.js';

/** How far the ingest of a file is; kept beside it so that another run can go on. Format 1. */
export interface IngestState {
  readonly format: 1;
  /** Of the file: a changed file is not gone on with. */
  readonly identity: string;
  /** Names the run in its idempotency keys; kept when it is taken up again. */
  readonly run: string;
  /** Lines a batch; kept, since batches must be cut in the same places. */
  readonly batch: number;
  readonly collection: string | null;
  /** Everything before it is stored, or listed as failed. */
  readonly position: Position;
  readonly success: number;
  readonly failed: number;
}

export function statePath(file: string): string {
  return `${file}.spector-ingest.json`;
}

/** Replaces the state in one step, so that a crash leaves the old or the new one. */
export async function writeState(file: string, state: IngestState): Promise<void> {
  const path = statePath(file);
  const temporary = `${path}.tmp`;
  const handle = await open(temporary, 'w');
  try {
    await handle.writeFile(`${JSON.stringify(state)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
}

export async function removeState(file: string): Promise<void> {
  await rm(statePath(file), { force: true });
}

/** The state of an earlier run, or undefined without one. Throws UsageError for one that does not fit the file. */
export async function readState(file: string, identity: string): Promise<IngestState | undefined> {
  const path = statePath(file);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const state = parsed(text);
  if (state === undefined) throw new UsageError(`${path} is not the state of an ingest; remove it to begin anew`);
  if (state.identity !== identity)
    throw new UsageError(`${file} has changed since ${path} was written; remove the state to begin anew`);
  return state;
}

function parsed(text: string): IngestState | undefined {
  try {
    const value = JSON.parse(text) as Partial<IngestState> | null;
    const whole =
      value?.format === 1 &&
      typeof value.identity === 'string' &&
      typeof value.run === 'string' &&
      [value.batch, value.success, value.failed, value.position?.line, value.position?.offset].every(
        (number) => Number.isSafeInteger(number) && Number(number) >= 0,
      );
    return whole ? (value as IngestState) : undefined;
  } catch {
    return undefined; // Not JSON: the caller says what to do.
  }
}
