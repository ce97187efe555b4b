import type { handleBidiStreamingCall, Server } from '@grpc/grpc-js';

/** What a call of a method that nobody serves is named in metrics. */
export const UNKNOWN_METHOD = 'unknown';
/** More of a path is not repeated in an answer. */
const SHOWN_MAX = 200;

/** A handler as grpc-js keeps them. */
interface Registered {
  readonly type: 'bidi';
  readonly path: string;
  readonly func: handleBidiStreamingCall<Buffer, Buffer>;
  readonly serialize: (bytes: Buffer) => Buffer;
  readonly deserialize: (bytes: Buffer) => Buffer;
}

const asItIs = (bytes: Buffer): Buffer => bytes;

/**
 * Serves every method that has no handler, of a known or an unknown service, by `refuse`, which is told its path: as a call
 * like any other, answered before a message of it is read. grpc-js ends such calls on its own, seen by no interceptor, and
 * keeps to itself how it finds a handler: that is replaced where it is private, and a spec notices when it is gone.
 */
export function serveUnknownMethods(
  server: Server,
  refuse: (call: Parameters<Registered['func']>[0], path: string) => void,
): void {
  const own = server as unknown as { _retrieveHandler?: (path: string) => object | null };
  const known = own._retrieveHandler?.bind(server);
  if (known === undefined) return;
  own._retrieveHandler = (path) => {
    const handler = known(path);
    if (handler !== null) return handler;
    const shown = path.slice(0, SHOWN_MAX);
    const func: Registered['func'] = (call) => refuse(call, shown);
    return { type: 'bidi', path: UNKNOWN_METHOD, func, serialize: asItIs, deserialize: asItIs } satisfies Registered;
  };
}
