import { unreachable } from '../../kernel/assert.js';
import type { Notice } from './core/membership-io.js';
import type { Introduction } from './membership-peers.js';

export interface MembershipLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Different things told once; after so many, what was told is told again. */
const TOLD_MAX = 256;

/** What membership tells the operator, each thing once while it lasts. */
export class NoticeLog {
  readonly #logger: MembershipLogger;
  readonly #told = new Set<string>();

  constructor(logger: MembershipLogger) {
    this.#logger = logger;
  }

  tell(notice: Notice): void {
    const log = this.#logger;
    switch (notice.kind) {
      case 'skewed':
      case 'in-step': {
        const fields = { nodeUuid: notice.nodeUuid, skewMs: Math.round(notice.skewMs) };
        if (notice.kind === 'skewed') log.warn(fields, 'a clock is more than 500 ms off the median of its peers');
        else log.info(fields, 'the clock agrees with its peers again');
        return;
      }
      case 'flapping':
        log.warn({ nodeUuid: notice.nodeUuid }, 'the node flaps: it is not made primary while another can be');
        return;
      case 'steady':
        log.info({ nodeUuid: notice.nodeUuid }, 'the node is steady again');
        return;
      case 'slow-link':
        log.warn({ nodeUuid: notice.nodeUuid, rttMs: Math.round(notice.rttMs) }, 'a round trip took more than 10 ms');
        return;
      case 'twin':
        this.#once(`twin ${notice.address}`, () =>
          log.error(
            { address: notice.address },
            'another process runs with the uuid of this node: its data directory was copied; stop one of them',
          ),
        );
        return;
      default:
        unreachable(notice);
    }
  }

  /** Two clusters that both hold something know of each other. */
  foreign(other: Introduction): void {
    const { nodeId, grpcAddress, clusterId } = other;
    this.#once(`foreign ${grpcAddress} ${clusterId}`, () =>
      this.#logger.error(
        { nodeId, grpcAddress, clusterId },
        'a node of another cluster is among the seeds or has this node among its own; neither gives way',
      ),
    );
  }

  #once(key: string, tell: () => void): void {
    if (this.#told.has(key)) return;
    if (this.#told.size >= TOLD_MAX) this.#told.clear();
    this.#told.add(key);
    tell();
  }
}
