import type { Clock } from '../../kernel/clock.js';
import { PeerError, type PeerFailure } from '../../kernel/peer.js';
import type { Timers } from '../../kernel/timers.js';
import type { MembershipEffect, MembershipInput } from './core/membership-io.js';
import { heartbeatTimeoutMs, type MembershipTiming } from './core/timing.js';
import type { Introduction, MembershipPeers } from './membership-peers.js';

export interface MembershipCallsPorts {
  readonly peers: MembershipPeers;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** A call of the machine's effects. */
export type MembershipCall = Extract<MembershipEffect, { readonly kind: 'heartbeat' | 'exchange' | 'introduce' }>;

const EXCHANGE_TIMEOUT_MS = 1_000;
const INTRODUCE_TIMEOUT_MS = 1_000;

/** Makes the calls the machine asks for, and tells it what came of them. How many there are at once is its business. */
export class MembershipCalls {
  readonly #ports: MembershipCallsPorts;
  readonly #timing: MembershipTiming;
  readonly #introduction: () => Introduction;
  readonly #report: (input: MembershipInput) => void;
  #exchanges = 0;
  #exchanged: (() => void) | undefined;

  constructor(
    ports: MembershipCallsPorts,
    timing: MembershipTiming,
    introduction: () => Introduction,
    report: (input: MembershipInput) => void,
  ) {
    this.#ports = ports;
    this.#timing = timing;
    this.#introduction = introduction;
    this.#report = report;
  }

  make(call: MembershipCall): void {
    // What is not a failed question is a mistake of ours, and ends the process.
    void this.#make(call);
  }

  /** Resolves when no exchange is under way, or when so much time has passed. */
  async exchanged(maxMs: number): Promise<void> {
    if (this.#exchanges === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#ports.timers.after(maxMs, resolve);
      this.#exchanged = () => {
        cancel();
        resolve();
      };
    });
  }

  async #make(call: MembershipCall): Promise<void> {
    switch (call.kind) {
      case 'heartbeat':
        this.#report(await this.#heartbeat(call));
        return;
      case 'exchange': {
        this.#exchanges++;
        const input = await this.#exchange(call);
        if (--this.#exchanges === 0) this.#exchanged?.();
        this.#report(input);
        return;
      }
      case 'introduce':
        this.#report(await this.#introduce(call.address));
    }
  }

  async #heartbeat({ to, address, beat }: Extract<MembershipCall, { kind: 'heartbeat' }>): Promise<MembershipInput> {
    const sentMs = this.#ports.clock.monotonicMs();
    try {
      const answer = await this.#ports.peers.heartbeat(address, beat, heartbeatTimeoutMs(this.#timing));
      return { kind: 'answered', to, sentMs, beat: answer };
    } catch (error) {
      const unregistered = error instanceof PeerError && error.code === 'UNREGISTERED';
      return { kind: 'unanswered', to, reason: failure(error), unregistered };
    }
  }

  async #exchange(call: Extract<MembershipCall, { kind: 'exchange' }>): Promise<MembershipInput> {
    const { to, address, asked, exchange } = call;
    try {
      const records = await this.#ports.peers.exchange(address, exchange, EXCHANGE_TIMEOUT_MS);
      return { kind: 'exchanged', to, asked, records };
    } catch (error) {
      return { kind: 'unexchanged', to, reason: failure(error) };
    }
  }

  async #introduce(address: string): Promise<MembershipInput> {
    try {
      const other = await this.#ports.peers.introduce(address, this.#introduction(), INTRODUCE_TIMEOUT_MS);
      return { kind: 'introduced', address, other };
    } catch (error) {
      failure(error);
      return { kind: 'unintroduced', address };
    }
  }
}

function failure(error: unknown): PeerFailure {
  if (error instanceof PeerError) return error.reason;
  throw error;
}
