import { createServer } from 'node:net';

/**
 * Below the ports that outgoing connections are made from (32768 and up on Linux): a port that is free now is not taken
 * by a connection while its node is down.
 */
const FROM = 12_000;
const TO = 32_000;

const given = new Set<number>();

/** A port nobody listens on; never the same one twice. Nodes of a cluster name each other's ports before they start. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FROM + Math.floor(Math.random() * (TO - FROM));
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '0.0.0.0', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
