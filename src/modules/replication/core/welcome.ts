import { equalBytes } from '../../../kernel/bytes.js';
import type { Epoch } from '../../../kernel/epoch.js';
import { forkOf } from './fork.js';
import type { Hello, HelloAnswer } from './protocol.js';
import type { ReplicaLog } from './replica-log.js';

/**
 * What a primary answers a follower whose log ends as its hello says (4.1): it goes on from there, cuts to the fork first
 * (6.3), or needs a snapshot, since the log does not reach back so far or the one here or there, or what is kept beside that, is damaged.
 * @param chainThere chain of this log at the follower's last offset; undefined when it is not in this log
 */
export function answerHello(
  log: ReplicaLog,
  epoch: Epoch,
  hello: Hello,
  chainThere: Uint8Array | undefined,
): HelloAnswer {
  const end = log.end();
  const fork = forkOf(end, hello);
  const whole =
    fork === hello.lastOffset && (fork === 0 || (chainThere !== undefined && equalBytes(chainThere, hello.chain)));
  if (whole && fork >= log.start && hello.damaged !== true) return { kind: 'accept', epoch, from: fork + 1 };
  const damaged = fork === hello.lastOffset && !whole && fork >= log.start;
  if (fork < log.start || fork < hello.start || damaged || hello.damaged === true)
    return { kind: 'snapshot', epoch, fork: damaged ? 0 : fork, at: { ...end, merged: log.branches.merged } };
  return { kind: 'diverged', epoch, fork };
}
