import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory and the parents it lacks, each once. Node.js does that by itself with `recursive`, but never ends where
 * a file system says ENOENT below a directory that is there, as /proc does: it looks for the missing parent again and again.
 */
export async function makeDirectory(path: string): Promise<void> {
  const whole = resolve(path);
  const missing: string[] = [];
  for (let at = whole; !(await isThere(at)) && at !== dirname(at); at = dirname(at)) missing.push(at);
  for (const at of missing.reverse()) {
    try {
      await mkdir(at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') throw new Error(`${dirname(at)} takes no directories`, { cause: error });
      // Somebody else made it meanwhile.
      if (code !== 'EEXIST') throw error;
    }
  }
  if (!(await stat(whole)).isDirectory()) throw new Error(`${whole} is not a directory`);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
