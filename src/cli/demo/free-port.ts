import { createServer, type Server } from 'node:net';

/**
 * Ports of the loopback interface where nothing listens now: each `wanted` one when it is free, another in place of one
 * that is not. All are different. Somebody may take one before it is used.
 */
export async function freePorts(wanted: readonly number[]): Promise<readonly number[]> {
  const probes: Server[] = [];
  try {
    const ports: number[] = [];
    // Each is held until all are known, else the system may give one twice.
    for (const port of wanted) {
      const probe = (await listening(port)) ?? (await listening(0));
      if (probe === undefined) throw new Error('no port is free on the loopback interface');
      probes.push(probe);
      ports.push((probe.address() as { port: number }).port);
    }
    return ports;
  } finally {
    await Promise.all(probes.map((probe) => new Promise<void>((resolve) => probe.close(() => resolve()))));
  }
}

function listening(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(probe));
  });
}
