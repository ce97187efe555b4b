import { mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { makeDirectory } from './make-directory.js';

describe('a directory', () => {
  let root: string;
  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'make-directory-')));
  });
  afterEach(() => rm(root, { recursive: true }));

  const isDirectory = async (path: string): Promise<boolean> => (await stat(path)).isDirectory();

  it('is made with the parents it lacks, also by several at once, and is left alone when it is there', async () => {
    const path = join(root, 'a', 'b', 'c');
    await Promise.all([makeDirectory(path), makeDirectory(path), makeDirectory(join(root, 'a', 'b', 'd'))]);
    await writeFile(join(path, 'file'), '');
    await makeDirectory(path);
    expect(await isDirectory(path)).toBe(true);
    await stat(join(path, 'file'));
  });

  it('is made by a relative path, and through a link', async () => {
    await makeDirectory(relative(process.cwd(), join(root, 'by', 'path')));
    expect(await isDirectory(join(root, 'by', 'path'))).toBe(true);
    await symlink(join(root, 'by'), join(root, 'link'));
    await makeDirectory(join(root, 'link', 'other'));
    expect(await isDirectory(join(root, 'by', 'other'))).toBe(true);
  });

  it('is not made where a file is, below one, or where a link leads nowhere', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(makeDirectory(join(root, 'file'))).rejects.toThrow('is not a directory');
    await expect(makeDirectory(join(root, 'file', 'below'))).rejects.toThrow('ENOTDIR');
    await symlink(join(root, 'nowhere'), join(root, 'link'));
    await expect(makeDirectory(join(root, 'link'))).rejects.toThrow('ENOENT');
    await expect(makeDirectory(join(root, 'link', 'below'))).rejects.toThrow('takes no directories');
  });
});
