import { PeerError } from '../../kernel/peer.js';
import type { Timers } from '../../kernel/timers.js';
import type { ClusterRegistry } from './cluster-registry.js';
import {
  decideBootstrap,
  namesThisNode,
  seedText,
  type BootstrapDecision,
  type BootstrapFacts,
  type SeedAnswer,
} from './core/bootstrap.js';
import type { NodeRecord } from './core/node-record.js';
import { MembershipRefusedError } from './membership-refused-error.js';
import type { Introduction, MembershipPeers } from './membership-peers.js';

/** How a node came into its cluster. */
export interface Entered {
  readonly kind: 'resumed' | 'created' | 'joined';
  readonly clusterId: string;
  /** What it was told of the members. */
  readonly records: readonly NodeRecord[];
}

export interface ClusterEntryPorts {
  readonly peers: MembershipPeers;
  readonly registry: ClusterRegistry;
  readonly timers: Timers;
  readonly logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const ROUND_MS = 1_000;
/**
 * The asked node may have to probe another one of the same name, and to change the map. It goes on when this one stops
 * waiting, and being registered already is an answer too: so a lost answer costs no more than this.
 */
const JOIN_TIMEOUT_MS = 3_000;
/** Nodes that introduced themselves and are no seeds of ours. */
const MET_MAX = 64;

/** The way of a starting node into a cluster: asks around every second until the decision is made (replication 9.2). */
export class ClusterEntry {
  readonly #ports: ClusterEntryPorts;
  readonly #met = new Set<string>();
  /** By address, what was said of it last; as many as are asked. */
  readonly #problems = new Map<string, string>();
  #waitingFor = '';
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(ports: ClusterEntryPorts) {
    this.#ports = ports;
  }

  /** Another node introduced itself: its cluster may be the one to join. */
  meet(address: string): void {
    if (this.#met.size < MET_MAX) this.#met.add(address);
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  /**
   * Resolves when the node belongs to a cluster, and with undefined when it was stopped before.
   * @throws MembershipRefusedError
   */
  async enter(
    facts: BootstrapFacts,
    record: () => NodeRecord,
    introduction: () => Introduction,
  ): Promise<Entered | undefined> {
    let answers: ReadonlyMap<string, SeedAnswer> = new Map();
    for (let round = 0; !this.#stopped; round++) {
      const decision = decideBootstrap(facts, answers);
      if (decision.kind === 'resume') {
        await this.#refuseTwin(facts.registeredAt, record(), introduction());
        return { kind: 'resumed', clusterId: decision.clusterId, records: [] };
      }
      if (decision.kind === 'create')
        return { kind: 'created', clusterId: await this.#ports.registry.create(), records: [] };
      if (decision.kind === 'join') {
        const joined = await this.join(decision.addresses, record(), facts.bootCount);
        if (joined !== undefined) {
          await this.#ports.registry.adopt(joined.clusterId);
          return joined;
        }
      }
      this.#report(decision);
      // Nobody was asked before the first round.
      if (round > 0) await this.#pause();
      if (!this.#stopped) answers = await this.#ask(facts, introduction());
    }
    return undefined;
  }

  /**
   * Asks one after the other until one decides; undefined when none could now.
   * @throws MembershipRefusedError
   */
  async join(addresses: readonly string[], record: NodeRecord, bootCount: number): Promise<Entered | undefined> {
    for (const address of addresses) {
      if (this.#stopped) return undefined;
      try {
        const answer = await this.#ports.peers.join(address, { record, bootCount }, JOIN_TIMEOUT_MS);
        if (answer.kind === 'refused') throw new MembershipRefusedError(answer.reason, answer.detail);
        if (answer.kind === 'joined') return { kind: 'joined', clusterId: answer.clusterId, records: answer.records };
        this.#say(`${address} cannot take this node in yet: ${answer.detail}`);
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        this.#say(`${address} did not answer the request to join: ${error.message}`);
      }
    }
    return undefined;
  }

  /**
   * A data directory that was copied must not come back beside its original: two of one name would both be believed (5.8).
   * Where this node is known from another address than its own, that one is asked.
   * @throws MembershipRefusedError
   */
  async #refuseTwin(address: string | undefined, record: NodeRecord, self: Introduction): Promise<void> {
    if (address === undefined || address === record.grpcAddress) return;
    const answer = await this.#askOne(address, self);
    if (answer.kind !== 'answered' || answer.introduction.nodeUuid !== record.nodeUuid) return;
    // Its own process, by the name it had.
    if (answer.introduction.grpcAddress === record.grpcAddress) return;
    const detail = `node uuid ${record.nodeUuid} is in use by another process, at ${address}: this data directory is a copy of that node's, and cannot be used beside it`;
    throw new MembershipRefusedError('DUPLICATE_NODE_ID', detail);
  }

  async #ask(facts: BootstrapFacts, self: Introduction): Promise<ReadonlyMap<string, SeedAnswer>> {
    const seeds = facts.seeds.filter((seed) => !namesThisNode(seed, facts)).map(seedText);
    const asked = [...new Set([...seeds, ...this.#met])];
    const answers = await Promise.all(asked.map((address) => this.#askOne(address, self)));
    return new Map(asked.map((address, i) => [address, answers[i]]));
  }

  async #askOne(address: string, self: Introduction): Promise<SeedAnswer> {
    try {
      return { kind: 'answered', introduction: await this.#ports.peers.introduce(address, self, ROUND_MS) };
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.#sayOf(address, error);
      return { kind: error.reason === 'REFUSED' || error.reason === 'UNRESOLVED' ? 'absent' : 'silent' };
    }
  }

  /** Why a seed is of no help: once, until it is for another reason. That nobody is there is no news at a start. */
  #sayOf(address: string, error: PeerError): void {
    if (error.reason === 'REFUSED' || this.#problems.get(address) === error.reason) return;
    this.#problems.set(address, error.reason);
    if (error.reason === 'REJECTED')
      this.#ports.logger.warn({ address }, `${address} does not let this node in: ${error.message}`);
    else this.#ports.logger.info({ address }, `${address} did not answer: ${error.message}`);
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#ports.timers.after(ROUND_MS, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #report(decision: BootstrapDecision): void {
    if (decision.kind === 'wait') this.#say(decision.detail);
  }

  /** Once, not every second. */
  #say(detail: string): void {
    if (detail !== this.#waitingFor) this.#ports.logger.info({}, detail);
    this.#waitingFor = detail;
  }
}
