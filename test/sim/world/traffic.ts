import { BALLAST } from '../../../src/platform/grpc/ballast.js';

/** Messages and their bytes, about as they would be on a wire. */
export interface Load {
  readonly messages: number;
  readonly bytes: number;
}

/** Kinds of questions that are membership's. */
export const MEMBERSHIP_KINDS: readonly string[] = ['heartbeat', 'exchange', 'introduce', 'join'];

/** What every host sent since the run began: questions and answers, by kind. */
export class Traffic {
  readonly #sent = new Map<string, { messages: number; bytes: number }>();

  add(host: string, kind: string, payloadBytes: number): void {
    const key = `${host} ${kind}`;
    const bytes = payloadBytes + (kind === 'heartbeat' ? BALLAST.length : 0);
    const load = this.#sent.get(key);
    if (load === undefined) this.#sent.set(key, { messages: 1, bytes });
    else {
      load.messages++;
      load.bytes += bytes;
    }
  }

  sent(host: string, kinds: readonly string[]): Load {
    let [messages, bytes] = [0, 0];
    for (const kind of kinds) {
      const load = this.#sent.get(`${host} ${kind}`);
      messages += load?.messages ?? 0;
      bytes += load?.bytes ?? 0;
    }
    return { messages, bytes };
  }
}
