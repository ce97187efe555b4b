import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** How a command ended, and all it printed. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What it printed so far, both streams. */
  output(): string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Sent to its standard input, which is then closed; without it there is none. */
  readonly input?: string | Uint8Array;
  /** Default 60 000; then it is killed. */
  readonly timeoutMs?: number;
}

const built = (path: string): string => fileURLToPath(new URL(`../../../dist/${path}`, import.meta.url));

/** `node dist/main.js`: the node itself. */
export function nodeCommand(args: readonly string[], options: CommandOptions = {}): Running {
  return start([built('main.js'), ...args], options);
}

/** `npx spector`: the command line, without npx. */
export function spector(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  return start([built('cli/main.js'), ...args], options).ended;
}

/** As `spector`, for a command that is to be watched or interrupted. */
export function startSpector(args: readonly string[], options: CommandOptions = {}): Running {
  return start([built('cli/main.js'), ...args], options);
}

function start(args: readonly string[], { env = {}, cwd, input, timeoutMs = 60_000 }: CommandOptions): Running {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('SPECTOR_') && name !== 'NODE_OPTIONS'),
  );
  const child = spawn(process.execPath, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...inherited, ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin?.on('error', () => undefined); // a command may end without reading all of it
  child.stdin?.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
  return { child, ended, output: () => stdout + stderr };
}
