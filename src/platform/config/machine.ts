import { statfsSync } from 'node:fs';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';

/** What defaults of the configuration depend on. */
export interface Machine {
  hostname(): string;
  /** Cores this process may use, at least 1. */
  cores(): number;
  /** Bytes of memory of the machine, or of the control group when that has less. */
  memoryBytes(): number;
  /** Bytes of the disk that holds `path`, which need not exist yet; undefined when it cannot be told. */
  diskBytes(path: string): number | undefined;
  /** Whether a person reads the log. */
  isTerminal(): boolean;
}

/** The machine this process runs on. */
export const systemMachine: Machine = {
  hostname,
  cores: availableParallelism,
  memoryBytes() {
    const group = process.constrainedMemory();
    return group > 0 && group < totalmem() ? group : totalmem();
  },
  diskBytes(path) {
    for (let at = resolve(path); ; at = dirname(at)) {
      try {
        const { blocks, bsize } = statfsSync(at);
        return blocks * bsize;
      } catch (error) {
        // The directory is made later, on the disk of its nearest existing parent.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) return undefined;
      }
    }
  },
  isTerminal() {
    return process.stderr.isTTY;
  },
};
