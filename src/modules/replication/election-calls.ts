import type { NodeUuid } from '../../kernel/peer.js';
import type { FenceAnswer, FenceRequest, ProbeRequest, PullAnswer, PullRequest } from './core/protocol.js';
import { entriesProblem } from './core/received-documents.js';
import type { ReplicaDrive } from './replica-drive.js';
import { unanswered } from './replica-peers.js';
import type { ReplicaPorts } from './replica-ports.js';
import { storedRows } from './stored-copy.js';

const FENCE_TIMEOUT_MS = 3_000;
const PROBE_TIMEOUT_MS = 500;
const PULL_TIMEOUT_MS = 5_000;

/** Asks other nodes what an election needs to know (5.3–5.5), and tells the machine what they answer, or that they do not. */
export class ElectionCalls {
  constructor(
    private readonly ports: Pick<ReplicaPorts, 'log' | 'hasher' | 'peers'>,
    private readonly drive: ReplicaDrive,
  ) {}

  probe(to: NodeUuid, request: ProbeRequest, round: number): void {
    const { drive } = this;
    this.ports.peers.probe(to, request, PROBE_TIMEOUT_MS).then(
      ({ alive }) => drive.step({ kind: 'probed', round, alive, now: drive.now() }),
      () => drive.step({ kind: 'probed', round, alive: false, now: drive.now() }),
    );
  }

  fence(to: NodeUuid, request: FenceRequest): void {
    const { drive } = this;
    const { epoch } = request;
    const done = (answer: FenceAnswer | 'refused' | 'silent'): void =>
      drive.step({ kind: 'fenced', epoch, from: to, answer, now: drive.now(), opId: drive.opId() });
    this.ports.peers.fence(to, request, FENCE_TIMEOUT_MS).then(done, (error: unknown) => {
      done(unanswered(error));
    });
  }

  pull(to: NodeUuid, request: PullRequest): void {
    const { drive } = this;
    const { log, hasher, peers } = this.ports;
    const { epoch } = request;
    const done = (answer: PullAnswer | undefined): void => {
      const copy = drive.replica.log;
      const problem = answer === undefined ? undefined : entriesProblem(hasher, copy, answer.entries);
      const stored = answer === undefined || problem !== undefined ? [] : storedRows(log, copy, answer.entries);
      drive.step({ kind: 'pulled', epoch, answer, problem, stored, now: drive.now(), opId: drive.opId() });
    };
    peers.pull(to, request, PULL_TIMEOUT_MS).then(
      (answer) => drive.attempt(() => done(answer)),
      () => done(undefined),
    );
  }
}
