import { NodeError } from '../../../kernel/errors.js';
import { PeerError } from '../../../kernel/peer.js';
import type { MembershipPeers, MembershipServer } from '../membership-peers.js';
import type { VirtualProcess, VirtualTime } from './virtual-time.js';

interface Listener {
  readonly process: VirtualProcess;
  readonly server: MembershipServer;
}

/** Calls between virtual processes, by address. Links are directed and can be cut: what is sent over them is lost. */
export class VirtualNetwork {
  latencyMs = 1;
  /** Calls made, by address of the caller and kind. */
  readonly sent = new Map<string, Map<string, number>>();
  readonly #time: VirtualTime;
  readonly #listeners = new Map<string, Listener>();
  readonly #cut = new Set<string>();

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  listen(address: string, process: VirtualProcess, server: MembershipServer): void {
    this.#listeners.set(address, { process, server });
  }

  /** Loses everything sent from one address to the other. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  peers(from: string, process: VirtualProcess): MembershipPeers {
    const call = <Answer>(
      to: string,
      kind: string,
      timeoutMs: number,
      serve: (server: MembershipServer) => Answer | Promise<Answer>,
    ): Promise<Answer> => this.#call(from, process, to, kind, timeoutMs, serve);
    return {
      introduce: (to, self, timeoutMs) => call(to, 'introduce', timeoutMs, (server) => server.onIntroduce(self)),
      join: (to, request, timeoutMs) => call(to, 'join', timeoutMs, (server) => server.onJoin(request)),
      heartbeat: (to, beat, timeoutMs) => call(to, 'heartbeat', timeoutMs, (server) => server.onHeartbeat(beat)),
      exchange: (to, exchange, timeoutMs) => call(to, 'exchange', timeoutMs, (server) => server.onExchange(exchange)),
    };
  }

  #call<Answer>(
    from: string,
    caller: VirtualProcess,
    to: string,
    kind: string,
    timeoutMs: number,
    serve: (server: MembershipServer) => Answer | Promise<Answer>,
  ): Promise<Answer> {
    const kinds = this.sent.get(from) ?? new Map<string, number>();
    this.sent.set(from, kinds.set(kind, (kinds.get(kind) ?? 0) + 1));
    return new Promise<Answer>((resolve, reject) => {
      const fail = (reason: 'TIMEOUT' | 'REFUSED' | 'RESET'): void => reject(new PeerError(reason, `${to}: ${reason}`));
      caller.timers.after(timeoutMs, () => fail('TIMEOUT'));
      const back = (settle: () => void): void => {
        if (!this.#cut.has(`${to}>${from}`)) this.#time.in(this.latencyMs, caller, settle);
      };
      if (this.#cut.has(`${from}>${to}`)) return;
      this.#time.in(this.latencyMs, undefined, () => {
        const listener = this.#listeners.get(to);
        if (listener?.process.alive !== true) {
          back(() => fail('REFUSED'));
          return;
        }
        this.#time.in(0, listener.process, () => {
          void answered(() => serve(listener.server)).then(
            (answer) => back(() => resolve(answer)),
            (error: unknown) =>
              back(() =>
                reject(
                  error instanceof NodeError ? new PeerError('REJECTED', error.message, error.code) : (error as Error),
                ),
              ),
          );
        });
      });
    });
  }
}

async function answered<Answer>(serve: () => Answer | Promise<Answer>): Promise<Answer> {
  return serve();
}
