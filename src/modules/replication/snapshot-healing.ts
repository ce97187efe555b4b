import { compareEpochs, EPOCH_LEAP_MAX } from '../../kernel/epoch.js';
import type { Hasher } from '../../kernel/hasher.js';
import type { NodeUuid } from '../../kernel/peer.js';
import type { Timers } from '../../kernel/timers.js';
import type { LogStore } from '../log/log-store.js';
import type { Hello, HelloAnswer } from './core/protocol.js';
import { logEndOf } from './core/snapshot.js';
import { LooseStore } from './loose-store.js';
import type { ReplicaPeers } from './replica-peers.js';
import { flipTo } from './snapshot-flip.js';
import { SnapshotIntake } from './snapshot-intake.js';

export interface SnapshotHealingPorts {
  readonly log: LogStore;
  readonly hasher: Hasher;
  readonly timers: Timers;
  peers(): ReplicaPeers;
  self(): { readonly node: NodeUuid; readonly bootCount: number };
}

/** An answer to the hello that takes longer will not come. */
const ANSWER_WAIT_MS = 5_000;
/** Bytes a primary may send before they are staged (4.2). */
const CREDIT_BYTES = 8 * 1024 * 1024;

/**
 * Makes a copy whole again whose rows or records are damaged, which no entry of another log replaces (replication 2.12): a
 * snapshot of the primary takes their place, beside the log until it is whole (4.7). What only this copy has is told by its
 * entries, and loose afterwards (6.4). The copy is faulted meanwhile: nothing else changes its log, and it grants no reign.
 */
export class SnapshotHealing {
  constructor(private readonly ports: SnapshotHealingPorts) {}

  /** @returns false when the primary cannot give one now, or what came cannot be used */
  async heal(shard: number, primary: NodeUuid, signal: AbortSignal): Promise<boolean> {
    const { log, hasher, timers } = this.ports;
    await log.sync();
    const intake = new SnapshotIntake(shard, { log, hasher }, undefined, () => undefined);
    let isOpen = true;
    let answered: (answer: HelloAnswer | undefined) => void = () => undefined;
    const answer = new Promise<HelloAnswer | undefined>((resolve) => {
      answered = resolve;
    });
    const end = (): void => {
      isOpen = false;
      answered(undefined);
      intake.wake();
    };
    const link = this.ports.peers().follow(primary, shard, {
      message: (message) => {
        if (message.kind === 'answer') answered(message.answer);
        else if (message.kind === 'chunk') intake.chunk(message.chunk);
      },
      ended: end,
    });
    const cancel = timers.after(ANSWER_WAIT_MS, () => answered(undefined));
    signal.addEventListener('abort', end);
    try {
      link.send({ kind: 'hello', hello: this.#hello(shard) });
      const welcome = await answer;
      if (welcome?.kind !== 'snapshot' || !(await this.#promises(shard, welcome))) return false;
      const { tail: durableOffset, chain } = log.state(shard);
      const here = { durableOffset, appliedOffset: durableOffset, chain };
      const receiver = await intake.take(welcome.at, false, CREDIT_BYTES, {
        isOpen: () => isOpen,
        grant: (creditBytes) => link.send({ kind: 'ack', ack: { ...here, creditBytes } }),
      });
      if (receiver === undefined) return false;
      await flipTo({ receiver, at: welcome.at, fork: welcome.fork }, log, new LooseStore(log, hasher), true);
      return true;
    } finally {
      cancel();
      signal.removeEventListener('abort', end);
      link.close();
    }
  }

  #hello(shard: number): Hello {
    const { log } = this.ports;
    const { node: nodeUuid, bootCount } = this.ports.self();
    const promised = log.promised(shard);
    return {
      ...logEndOf(log.state(shard)),
      shard,
      nodeUuid,
      bootCount,
      mapEpoch: 0,
      promised,
      loose: 0,
      damaged: true,
    };
  }

  /** As who follows: no lower epoch than was promised, and a higher one is promised before anything of it is kept (4.3). */
  async #promises(shard: number, { epoch }: HelloAnswer & { readonly kind: 'snapshot' }): Promise<boolean> {
    const { log } = this.ports;
    const promised = log.promised(shard);
    const order = compareEpochs(epoch, promised);
    if (order < 0 || epoch.num - promised.num > EPOCH_LEAP_MAX) return false;
    if (order > 0) await log.append({ shard, entries: [], rows: [], promise: epoch });
    return true;
  }
}
