import { createServer } from 'node:net';

/** Below the ports that outgoing connections are made from: a port that is free now is not taken while its node is down. */
const FROM = 12_000;
const TO = 32_000;

const given = new Set();

/** A port of this machine that nobody listens on; never the same one twice. @returns {Promise<number>} */
export async function freePort() {
  for (;;) {
    const port = FROM + Math.floor(Math.random() * (TO - FROM));
    if (given.has(port)) continue;
    given.add(port);
    const free = await new Promise((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen({ host: '0.0.0.0', port, exclusive: true }, () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
