import { Metadata } from '@grpc/grpc-js';

/** What every kind of server call of grpc-js offers, as far as it is needed here. */
export interface ServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getPath(): string;
  getPeer(): string;
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
  sendMetadata(metadata: Metadata): void;
}

/** What a handler may want to know of its call. */
export interface GrpcCallContext {
  /** Aborted when the client cancels, its deadline passes or its connection ends; for streams also when the server stops. */
  readonly signal: AbortSignal;
  /** Milliseconds for an answer that is to be there by the client's deadline, at least 0; undefined without one. */
  readonly timeoutMs: number | undefined;
}

/** Sends the head of an answer before its first message. */
export function sendInitialMetadata(call: ServerCall, values: Readonly<Record<string, string>>): void {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, value);
  call.sendMetadata(metadata);
}

const WAY_BACK_SHARE = 0.1;
const WAY_BACK_MAX_MS = 100;

const controllers = new WeakMap<ServerCall, AbortController>();

/** The controller behind a call's signal; made once per call, when first asked for. */
export function callController(call: ServerCall): AbortController {
  let controller = controllers.get(call);
  if (controller === undefined) {
    controller = new AbortController();
    controllers.set(call, controller);
    const made = controller;
    if (call.cancelled) made.abort();
    else call.on('cancelled', () => made.abort());
  }
  return controller;
}

/** Signal and remaining time of a call: pass them on, so that deadlines and cancellation reach the shards. */
export function grpcCallContext(call: ServerCall): GrpcCallContext {
  const deadline = Number(call.getDeadline());
  const leftMs = deadline - Date.now();
  return {
    signal: callController(call).signal,
    timeoutMs: Number.isFinite(deadline) ? Math.max(0, leftMs - wayBackMs(leftMs)) : undefined,
  };
}

/** What is kept of the time for the answer's way: one that says what could not be reached must not come too late. */
function wayBackMs(leftMs: number): number {
  return Math.min(WAY_BACK_MAX_MS, leftMs * WAY_BACK_SHARE);
}
