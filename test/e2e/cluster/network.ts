import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** What happens to the bytes one node sends to another. */
export interface LinkFault {
  /** Bytes stay on the way and connections stay open, as when packets are lost; they go on when it is healed. */
  readonly blackhole?: boolean;
  /**
   * What is sent at once and is larger stays on the way, with all that its connection carries behind it, as on a path whose
   * packets must be smaller than both ends believe; it goes on when it is healed.
   */
  readonly packetBytesMax?: number;
  /** Milliseconds on the way. */
  readonly latencyMs?: number;
}

/** A node as the network sees it. */
export interface NetworkNode {
  readonly nodeId: string;
  /** Undefined while it does not run. */
  readonly pid: number | undefined;
  readonly grpcPort: number;
}

interface Carried {
  readonly from: string;
  readonly to: string;
  /** Bytes that `from` sends come in here. */
  readonly source: Socket;
  readonly target: Socket;
  readonly waiting: { readonly chunk: Buffer; readonly dueMs: number }[];
}

/** How often it is asked who made a connection, and how long in between. */
const MAKER_TRIES = 20;
const MAKER_PAUSE_MS = 10;
/** Bytes held back before the sender is stopped from sending more. */
const HELD_BYTES_MAX = 256 * 1024;

/**
 * The network between the nodes of a cluster: a TCP proxy before each node's gRPC port, which the node advertises. Each
 * connection is known by the process that made it, so a fault can be put on the way from one node to another and not
 * on the way back. Linux only: who made a connection is read from /proc.
 */
export class Network implements AsyncDisposable {
  readonly #servers: Server[] = [];
  readonly #faults = new Map<string, LinkFault>();
  readonly #carried = new Set<Carried>();
  readonly #ports = new Map<string, number>();

  constructor(private readonly nodes: () => readonly NetworkNode[]) {}

  /** Opens the way to a node; resolves to the port that it must advertise. */
  async open(nodeId: string): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.#accept(nodeId, socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#servers.push(server);
    const { port } = server.address() as { readonly port: number };
    this.#ports.set(nodeId, port);
    return port;
  }

  portOf(nodeId: string): number {
    const port = this.#ports.get(nodeId);
    if (port === undefined) throw new Error(`no way to ${nodeId} was opened`);
    return port;
  }

  /** Puts a fault on what `from` sends to `to`, in place of an earlier one. */
  fault(from: string, to: string, fault: LinkFault): void {
    this.#faults.set(key(from, to), fault);
    this.#resume();
  }

  /** A fault, by default that nothing passes, between these nodes and all others, in either direction. */
  isolate(nodeIds: readonly string[], fault: LinkFault = { blackhole: true }): void {
    for (const { nodeId: other } of this.nodes()) {
      if (nodeIds.includes(other)) continue;
      for (const nodeId of nodeIds) {
        this.fault(nodeId, other, fault);
        this.fault(other, nodeId, fault);
      }
    }
  }

  /** Breaks every connection between two nodes, as a router that restarts does. */
  reset(a: string, b: string): void {
    for (const { from, to, source, target } of [...this.#carried])
      if ((from === a && to === b) || (from === b && to === a)) {
        source.resetAndDestroy();
        target.resetAndDestroy();
      }
  }

  heal(): void {
    this.#faults.clear();
    this.#resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const { source, target } of this.#carried) {
      source.destroy();
      target.destroy();
    }
    await Promise.all(closed);
  }

  async #accept(to: string, near: Socket): Promise<void> {
    near.on('error', () => near.destroy());
    near.pause();
    const node = this.nodes().find(({ nodeId }) => nodeId === to);
    const from = await this.#maker(near);
    if (node === undefined || near.destroyed) {
      near.resetAndDestroy();
      return;
    }
    const far = connect({ host: '127.0.0.1', port: node.grpcPort, noDelay: true, allowHalfOpen: true });
    // A node that is down refuses; what was accepted here can only be broken.
    far.on('error', () => near.resetAndDestroy());
    near.on('error', () => far.resetAndDestroy());
    near.setNoDelay(true);
    far.once('connect', () => {
      this.#carry({ from, to, source: near, target: far, waiting: [] });
      this.#carry({ from: to, to: from, source: far, target: near, waiting: [] });
    });
  }

  #carry(way: Carried): void {
    const { source, target, waiting } = way;
    this.#carried.add(way);
    let held = 0;
    source.on('data', (chunk: Buffer) => {
      waiting.push({ chunk, dueMs: performance.now() + (this.#faultOf(way).latencyMs ?? 0) });
      held = waiting.reduce((sum, part) => sum + part.chunk.length, 0);
      if (held > HELD_BYTES_MAX) source.pause();
      this.#forward(way);
    });
    source.on('end', () => this.#whenEmpty(way, () => target.end()));
    source.on('close', () => {
      this.#carried.delete(way);
      // The end of a connection is a packet too: it waits behind a fault.
      this.#whenEmpty(way, () => target.destroy());
    });
    source.resume();
  }

  #forward(way: Carried): void {
    const { source, target, waiting } = way;
    const { blackhole, packetBytesMax = Infinity } = this.#faultOf(way);
    if (blackhole === true) return;
    for (let next = waiting.at(0); next !== undefined; next = waiting.at(0)) {
      if (next.chunk.length > packetBytesMax) return;
      const leftMs = next.dueMs - performance.now();
      if (leftMs > 0) {
        setTimeout(() => this.#forward(way), leftMs).unref();
        return;
      }
      waiting.shift();
      if (!target.destroyed) target.write(next.chunk);
    }
    source.resume();
  }

  #whenEmpty(way: Carried, act: () => void): void {
    if (way.waiting.length === 0 && this.#faultOf(way).blackhole !== true) act();
    else if (!way.target.destroyed) setTimeout(() => this.#whenEmpty(way, act), 25).unref();
  }

  #faultOf({ from, to }: Carried): LinkFault {
    return this.#faults.get(key(from, to)) ?? {};
  }

  #resume(): void {
    for (const way of this.#carried) this.#forward(way);
  }

  /**
   * The node whose process made a connection; '' for anybody else. The system's tables are read in pieces while they
   * change, and may miss what is there: a connection nobody is known to have made would get no fault.
   */
  async #maker(near: Socket): Promise<string> {
    for (let tries = 0; tries < MAKER_TRIES && !near.destroyed; tries++) {
      if (tries > 0) await delay(MAKER_PAUSE_MS);
      const inode = await inodeOf(near.remotePort ?? 0);
      if (inode === undefined) continue;
      for (const { nodeId, pid } of this.nodes()) if (pid !== undefined && (await holds(pid, inode))) return nodeId;
    }
    return '';
  }
}

function key(from: string, to: string): string {
  return `${from} ${to}`;
}

/** Inode of the socket that is connected from 127.0.0.1:port. */
async function inodeOf(port: number): Promise<string | undefined> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of (await readFile('/proc/net/tcp', 'utf8')).split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields.length > 9 && fields[1].endsWith(local) && fields[9] !== '0') return fields[9];
  }
  return undefined;
}

async function holds(pid: number, inode: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  const wanted = `socket:[${inode}]`;
  for (const name of await readdir(directory).catch(() => []))
    if ((await readlink(`${directory}/${name}`).catch(() => '')) === wanted) return true;
  return false;
}
