import { cp, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

/** Copies that are begun anew before one gives up: a database gets and drops a file now and then, not all the time. */
const ATTEMPTS = 20;

/**
 * Copies a directory in which a database is at work, as a crash would leave it. Files that come or go meanwhile (LevelDB
 * merges tables in a thread of its own, also when nobody writes) would make it a state there never was: then it begins anew.
 * @param from the directory that is in use
 * @param to what is there already stays, but for files of the same names
 * @param wanted of the files, by their paths inside `from`; all, when not given
 * @throws Error when files came or went during each of twenty copies
 */
export async function copyLiving(
  from: string,
  to: string,
  wanted: (path: string) => boolean = () => true,
): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const files = await wantedFiles(from, wanted);
    const whole = await copyAll(files, from, to);
    const after = await wantedFiles(from, wanted);
    if (whole && files.join('\n') === after.join('\n')) return;
    for (const path of files) await rm(join(to, path), { force: true });
  }
  throw new Error(`the files of ${from} changed during each of ${ATTEMPTS} copies`);
}

/** @returns false when one of them was gone */
async function copyAll(files: readonly string[], from: string, to: string): Promise<boolean> {
  for (const path of files) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    try {
      await cp(join(from, path), join(to, path));
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }
  return true;
}

/** The paths inside the directory, in order. */
async function wantedFiles(directory: string, wanted: (path: string) => boolean): Promise<string[]> {
  const found: string[] = [];
  const look = async (below: string): Promise<void> => {
    for (const entry of await readdir(below, { withFileTypes: true })) {
      const path = join(below, entry.name);
      // A directory that goes while it is looked into takes its files out of the list, which then differs.
      if (entry.isDirectory()) await look(path).catch(ignoreMissing);
      else if (entry.isFile()) found.push(relative(directory, path));
    }
  };
  await look(directory);
  return found.filter(wanted).sort();
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}
