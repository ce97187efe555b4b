import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { writeFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyLiving } from './living-copy.js';

describe('copyLiving', () => {
  let root: string;
  let from: string;
  let to: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'spector-copy-'));
    [from, to] = [join(root, 'from'), join(root, 'to')];
    await mkdir(join(from, 'db'), { recursive: true });
    for (const name of ['1.ldb', '2.ldb']) await writeFile(join(from, 'db', name), name);
  });
  afterEach(() => rm(root, { recursive: true }));

  const copied = async (): Promise<string[]> => (await readdir(join(to, 'db'))).sort();

  /** Is asked of every file before the first one is copied, and does something the first time. */
  const first = (change: () => void): (() => boolean) => {
    let asked = false;
    return () => {
      if (!asked) change();
      asked = true;
      return true;
    };
  };

  it('begins anew when a file is gone before it is copied', async () => {
    const merge = (): void => {
      writeFileSync(join(from, 'db', '3.ldb'), 'both');
      for (const name of ['1.ldb', '2.ldb']) rmSync(join(from, 'db', name));
    };
    await copyLiving(from, to, first(merge));
    expect(await copied()).toEqual(['3.ldb']);
    expect(await readFile(join(to, 'db', '3.ldb'), 'utf8')).toBe('both');
  });

  it('begins anew when a file came meanwhile', async () => {
    await copyLiving(
      from,
      to,
      first(() => {
        writeFileSync(join(from, 'db', '3.ldb'), 'new');
      }),
    );
    expect(await copied()).toEqual(['1.ldb', '2.ldb', '3.ldb']);
  });

  it('copies what is wanted, beside what is there', async () => {
    await mkdir(join(to, 'db'), { recursive: true });
    await writeFile(join(to, 'db', 'LOCK'), '');
    await copyLiving(from, to, (path) => path === join('db', '2.ldb'));
    expect(await copied()).toEqual(['2.ldb', 'LOCK']);
  });

  it('gives up when that does not end, and leaves nothing', async () => {
    let last = join(from, 'db', '2.ldb');
    const replace = (path: string): boolean => {
      rmSync(last, { force: true });
      last = join(from, `${path}0`);
      writeFileSync(last, '');
      return true;
    };
    await expect(copyLiving(from, to, replace)).rejects.toThrow('changed during each of 20 copies');
    expect(await copied()).toEqual([]);
  });
});
