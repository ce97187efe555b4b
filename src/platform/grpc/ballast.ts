import { randomFillSync } from 'node:crypto';

/** More than the largest packets that networks of servers are set to, 9 000 bytes. */
const BALLAST_BYTES = 9_216;

/**
 * What messages carry besides that say a node is alive: a path that passes small packets only, as a wrongly set tunnel
 * does, must not pass these either, or a node that is heard and can send nothing counts as alive (ADR 29). Random, since a
 * line that compresses must not make it small. Whoever gets it takes no notice.
 */
export const BALLAST: Uint8Array = randomFillSync(new Uint8Array(BALLAST_BYTES));
