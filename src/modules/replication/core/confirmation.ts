import type { NodeUuid } from '../../../kernel/peer.js';
import type { FenceAnswer } from './protocol.js';

/** In available mode a member that says nothing for so long does not object. */
const OBJECTION_MS = 1_000;
/** A question that was not answered by enough members is asked again. */
const ASK_AGAIN_MS = 1_500;

type Refusal = Extract<FenceAnswer, { readonly kind: 'refused' }>;

/** The members asked whether they stand by a reign, after a pause or a hello that speaks against it (5.4). */
export class Confirmation {
  /** A hello spoke against the reign: it ends in any case, when the members had time to name another one. */
  refuted: boolean;
  readonly #startedMs: number;
  readonly #missing: Set<NodeUuid>;

  constructor(others: readonly NodeUuid[], nowMs: number, refuted: boolean) {
    this.refuted = refuted;
    this.#startedMs = nowMs;
    this.#missing = new Set(others);
  }

  answered(node: NodeUuid): void {
    this.#missing.delete(node);
  }

  isEnough(members: readonly NodeUuid[], strict: boolean, nowMs: number): boolean {
    // Who was asked may have left the set since.
    const missing = members.filter((node) => this.#missing.has(node)).length;
    if (strict) return members.length - missing > members.length / 2;
    return missing === 0 || nowMs - this.#startedMs >= OBJECTION_MS;
  }

  isToRepeat(nowMs: number): boolean {
    return nowMs - this.#startedMs >= ASK_AGAIN_MS;
  }
}

/** Whether a member does not stand by the reign it was asked about: it promised a higher one, or counts by a newer set. */
export function isRefutation(answer: FenceAnswer | 'refused'): answer is Refusal {
  return (
    answer !== 'refused' && answer.kind === 'refused' && (answer.reason === 'PROMISED' || answer.reason === 'SET_NEWER')
  );
}
