import { ClassicLevel } from 'classic-level';
import { cp, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** A new directory of its own; remove it with `removeDirectory`. */
export function makeDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'spector-e2e-'));
}

export function removeDirectory(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 5 });
}

/** All files under a directory, by path. */
export async function filesUnder(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** The LevelDB directory inside a data directory: the one with a CURRENT file. */
export async function databaseDirectory(dataDir: string): Promise<string> {
  const current = (await filesUnder(dataDir)).find((path) => basename(path) === 'CURRENT');
  if (current === undefined) throw new Error(`no LevelDB database under ${dataDir}`);
  return join(current, '..');
}

/** LevelDB's current log file: the one with the greatest number. */
export async function currentLogFile(dataDir: string): Promise<string> {
  const logs = (await filesUnder(await databaseDirectory(dataDir))).filter((path) => /^\d+\.log$/.test(basename(path)));
  const newest = logs.sort((a, b) => Number.parseInt(basename(a), 10) - Number.parseInt(basename(b), 10)).at(-1);
  if (newest === undefined) throw new Error(`no current log file under ${dataDir}`);
  return newest;
}

/** LevelDB's log is blocks of so many bytes, of records with a head of seven: sum u32, length u16, kind u8 (1: whole). */
const BLOCK_BYTES = 32 * 1024;
const RECORD_HEAD_BYTES = 7;

/**
 * Damages the last record that is whole in a block in the middle of LevelDB's log: what was written with it, one batch, is
 * gone, and nothing else.
 */
export async function dropBatch(dataDir: string): Promise<void> {
  const path = await currentLogFile(dataDir);
  const bytes = await readFile(path);
  const from = Math.floor(bytes.length / BLOCK_BYTES / 2) * BLOCK_BYTES;
  let last: number | undefined;
  for (let at = from; at + RECORD_HEAD_BYTES < from + BLOCK_BYTES;) {
    const kind = bytes[at + 6];
    if (kind === 0) break;
    if (kind === 1) last = at;
    at += RECORD_HEAD_BYTES + bytes.readUInt16LE(at + 4);
  }
  if (last === undefined || from + BLOCK_BYTES >= bytes.length) throw new Error(`no record in the middle of ${path}`);
  await flipBit(path, last + RECORD_HEAD_BYTES + 50);
}

/** Files of index checkpoints: everything outside the database that lies in a directory of its own. */
export async function checkpointFiles(dataDir: string): Promise<string[]> {
  const database = await databaseDirectory(dataDir);
  return (await filesUnder(dataDir)).filter(
    (path) => !path.startsWith(`${database}/`) && path.slice(dataDir.length + 1).includes('checkpoint'),
  );
}

/** Turns one bit of a file around, where it lies. */
export async function flipBit(path: string, at: number, bit = 3): Promise<void> {
  const bytes = await readFile(path);
  bytes[at] ^= 1 << bit;
  await writeFile(path, bytes);
}

/** Where `marker` stands in the files under a directory. */
export async function findBytes(directory: string, marker: string): Promise<{ path: string; at: number }[]> {
  const found: { path: string; at: number }[] = [];
  for (const path of await filesUnder(directory)) {
    const bytes = await readFile(path);
    for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + 1)) found.push({ path, at });
  }
  return found;
}

export async function sizeOf(path: string): Promise<number> {
  return (await stat(path)).size;
}

/** Copies a directory. */
export async function copyDirectory(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
}

/**
 * Turns a bit around in values of a stopped node's database, by what their keys begin with; how many there were.
 * @param pick of their keys, in order
 */
export async function damageValues(
  dataDir: string,
  prefix: Uint8Array,
  pick: (keys: readonly Uint8Array[]) => readonly Uint8Array[] = (keys) => keys,
): Promise<number> {
  const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const;
  const database = new ClassicLevel<Uint8Array, Uint8Array>(await databaseDirectory(dataDir), encodings);
  await database.open();
  try {
    const found = await database.keys({ gte: prefix }).all();
    const picked = pick(found.filter((key) => Buffer.compare(key.subarray(0, prefix.length), prefix) === 0));
    for (const key of picked) {
      const value = await database.get(key);
      if (value === undefined) continue;
      value[value.length >> 1] ^= 4;
      await database.put(key, value);
    }
    return picked.length;
  } finally {
    await database.close();
  }
}
