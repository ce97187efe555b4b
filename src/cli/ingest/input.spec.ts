import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { fileIdentity, type Input, openFile, openStream } from './input.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spector-input-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function text(input: Input): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of input.chunks) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('openFile', () => {
  it('reads plain and compressed files alike, from any offset', async () => {
    const content = 'one\ntwo\nthree\n'.repeat(1_000);
    const plain = join(directory, 'plain');
    const zipped = join(directory, 'zipped');
    await writeFile(plain, content);
    // Two members: gzip files may be concatenated.
    await writeFile(zipped, Buffer.concat([gzipSync(content.slice(0, 100)), gzipSync(content.slice(100))]));
    for (const path of [plain, zipped]) {
      for (const offset of [0, 1, 5_000, content.length]) {
        const input = await openFile(path, offset);
        expect(await text(input)).toBe(content.slice(offset));
        expect(input.fraction()).toBe(1);
      }
    }
  });

  it('rejects a truncated file', async () => {
    const path = join(directory, 'cut.gz');
    await writeFile(path, gzipSync('x'.repeat(10_000)).subarray(0, 20));
    await expect(text(await openFile(path, 0))).rejects.toThrow(/unexpected end of file/);
  });

  it('rejects a file that is not there', async () => {
    await expect(openFile(join(directory, 'nothing'), 0)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('openStream', () => {
  it('knows gzip by its first bytes, even when they come alone', async () => {
    const zipped = gzipSync('hello');
    const pieces = [zipped.subarray(0, 1), zipped.subarray(1, 2), zipped.subarray(2)];
    expect(await text(openStream(Readable.from(pieces)))).toBe('hello');
    expect(await text(openStream(Readable.from([Buffer.from('p'), Buffer.from('lain')])))).toBe('plain');
    expect(await text(openStream(Readable.from([])))).toBe('');
  });
});

describe('fileIdentity', () => {
  it('changes with either end, the length and the time of change', async () => {
    const path = join(directory, 'identity');
    const write = async (content: string, seconds: number): Promise<string> => {
      await writeFile(path, content);
      await utimes(path, seconds, seconds);
      return fileIdentity(path);
    };
    const long = 'm'.repeat(200_000);
    const first = await write(`a${long}z`, 1);
    expect(await write(`a${long}z`, 1)).toBe(first);
    const others = [
      await write(`b${long}z`, 1),
      await write(`a${long}y`, 1),
      await write(`a${long}mz`, 1),
      await write(`a${long}z`, 2),
    ];
    expect(new Set([first, ...others]).size).toBe(5);
  });
});
