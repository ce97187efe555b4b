import { createServer } from 'node:net';

/** `wanted` when nothing listens there on the loopback interface, else 0 (any). */
export async function freePort(wanted: number): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen({ port: wanted, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(wanted)));
  });
}
