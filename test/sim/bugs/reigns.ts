import { META_SHARD } from '../../../src/kernel/ids.js';
import type { NodeUuid } from '../../../src/kernel/peer.js';
import { entryOp, entryPayload } from '../../../src/modules/log/core/entry-codec.js';
import { Candidacy } from '../../../src/modules/replication/core/candidacy.js';
import { Followers } from '../../../src/modules/replication/core/followers.js';
import { Leader } from '../../../src/modules/replication/core/leader.js';
import { decodeMapOperation } from '../../../src/modules/replication/core/map-codec.js';
import type { LogEnd } from '../../../src/modules/replication/core/protocol.js';
import { logEndOf } from '../../../src/modules/replication/core/snapshot.js';
import type { PeerView } from '../../../src/modules/replication/core/peer-view.js';
import { Replica } from '../../../src/modules/replication/core/replica.js';
import { ReplicaLog } from '../../../src/modules/replication/core/replica-log.js';
import { ShardReplica } from '../../../src/modules/replication/shard-replica.js';
import { overrideGetter, overrideMethod, withMethods, type Undo } from './override.js';

function all(...undos: Undo[]): Undo {
  return () => undos.reverse().forEach((undo) => undo());
}

/** A copy that is opened does not know the last epoch it reigned in, and takes it once more. */
export function reuseEpoch(): Undo {
  const opened = new WeakSet<ReplicaLog>();
  return all(
    // The machine asks its log once when it is made.
    overrideGetter(ReplicaLog.prototype, 'lastEpoch', (log, epoch) => {
      if (opened.has(log)) return epoch;
      opened.add(log);
      return { ...epoch, num: Math.max(0, epoch.num - 1) };
    }),
    overrideMethod(ShardReplica, 'open', (before) => (shard, self, bootCount, applied, ports) => {
      const promised = ports.log.promised(shard);
      let asked = false;
      const log = withMethods(ports.log, {
        promised: (of) => {
          if (asked) return ports.log.promised(of);
          asked = true;
          return { ...promised, num: Math.max(0, promised.num - 1) };
        },
      });
      return before.call(ShardReplica, shard, self, bootCount, applied, { ...ports, log });
    }),
  );
}

/** Only members that answer count as the set. */
export function majorityOfTheLiving(): Undo {
  const views = new WeakMap<Replica, PeerView>();
  return all(
    overrideMethod(
      Replica.prototype,
      'step',
      (before) =>
        function (this: Replica, input) {
          if (input.kind === 'tick') views.set(this, input.peers);
          return before.call(this, input);
        },
    ),
    overrideGetter(Replica.prototype, 'set', (replica, set) => {
      const view = views.get(replica);
      const away = (node: NodeUuid): boolean => view?.get(node)?.live === false;
      return { ...set, members: set.members.filter((node) => !away(node)) };
    }),
  );
}

/** A copy that is not in the set stands for a member that is not there. */
export function countLearner(): Undo {
  const sets = new WeakMap<Followers, readonly NodeUuid[]>();
  return all(
    overrideMethod(
      Followers.prototype,
      'durables',
      (before) =>
        function (this: Followers, set, self, own) {
          sets.set(this, set.members);
          return before.call(this, set, self, own);
        },
    ),
    overrideMethod(
      Followers.prototype,
      'durableOf',
      (before) =>
        function (this: Followers, node) {
          const members = sets.get(this);
          const learners = members === undefined ? [] : this.nodes().filter((other) => !members.includes(other));
          return Math.max(before.call(this, node), ...learners.map((other) => before.call(this, other)));
        },
    ),
  );
}

/** A primary that lacks confirmations takes who is silent out of the set by itself. */
export function shrinkSet(): Undo {
  return overrideMethod(ShardReplica, 'open', (before) => (shard, self, bootCount, applied, ports) => {
    const plan: typeof ports.plan = () => {
      const { configured, ...rest } = ports.plan();
      const members = configured.members.filter((node) => ports.view().get(node)?.gone !== true);
      if (members.length === configured.members.length) return { configured, ...rest };
      return { configured: { mapEpoch: configured.mapEpoch + 1, members }, ...rest };
    };
    return before.call(ShardReplica, shard, self, bootCount, applied, { ...ports, plan });
  });
}

/** A fence in a lower epoch than was promised is granted. */
export function acceptLowerEpoch(): Undo {
  const ends = new WeakMap<ShardReplica, () => LogEnd>();
  return all(
    overrideMethod(ShardReplica, 'open', (before) => async (shard, self, bootCount, applied, ports) => {
      const copy = await before.call(ShardReplica, shard, self, bootCount, applied, ports);
      ends.set(copy, () => logEndOf(ports.log.state(shard)));
      return copy;
    }),
    overrideMethod(
      ShardReplica.prototype,
      'onFence',
      (before) =>
        async function (this: ShardReplica, from, request) {
          const answer = await before.call(this, from, request);
          if (answer.kind === 'granted' || answer.reason !== 'PROMISED') return answer;
          const end = ends.get(this);
          return end === undefined ? answer : { kind: 'granted', setEpoch: this.set.mapEpoch, end: end() };
        },
    ),
  );
}

/** No copy knows what is agreed. */
export function baseByEndAlone(): Undo {
  return overrideMethod(ReplicaLog.prototype, 'agree', () => () => undefined);
}

/** A reign begins without its BARRIER. */
export function noBarrier(): Undo {
  return overrideMethod(Leader.prototype, 'begin', () => () => undefined);
}

/** Logs of one length and epoch pass for equal. */
export function skipChainCheck(): Undo {
  return overrideMethod(
    Replica.prototype,
    'step',
    (before) =>
      function (this: Replica, input) {
        if (input.kind === 'hello') return before.call(this, { ...input, chainThere: input.hello.chain });
        if (input.kind === 'batch') {
          const problem = input.problem?.includes('chain') === true ? undefined : input.problem;
          return before.call(this, { ...input, problem, batch: { ...input.batch, prevChain: this.log.chain } });
        }
        return before.call(this, input);
      },
  );
}

/** A change of the set is in force without an entry of the log that says so. */
export function noSetEntry(): Undo {
  return overrideMethod(Leader.prototype, 'changeSet', () => () => undefined);
}

/** What was adopted is not looked at again: the candidate reigns by what it knew before. */
export function noCheckAfterAdoption(): Undo {
  const adopting = new WeakSet<Candidacy>();
  return overrideMethod(
    Candidacy.prototype,
    'decide',
    (before) =>
      function (this: Candidacy, ...given) {
        if (adopting.has(this)) return { kind: 'reign' };
        const decision = before.apply(this, given);
        if (decision.kind === 'adopt') adopting.add(this);
        return decision;
      },
  );
}

/** What was cut off from the map's log is logged again by its primary. */
export function mergeMetaSuffix(): Undo {
  const copies = new Set<ShardReplica>();
  return overrideMethod(ShardReplica, 'open', (before) => async (shard, self, bootCount, applied, ports) => {
    if (shard !== META_SHARD) return before.call(ShardReplica, shard, self, bootCount, applied, ports);
    const log = withMethods(ports.log, {
      truncate: async (of, to, rows) => {
        const suffix = await ports.log.scan(of, to + 1, 1_000, Number.MAX_SAFE_INTEGER);
        await ports.log.truncate(of, to, rows);
        offer(suffix);
      },
    });
    const copy = await before.call(ShardReplica, shard, self, bootCount, applied, { ...ports, log });
    copies.add(copy);
    return copy;
    function offer(suffix: readonly Uint8Array[]): void {
      ports.timers.after(500, () => {
        const primary = [...copies].find(({ role }) => role === 'primary');
        for (const entry of suffix) {
          if (entryOp(entry) !== 'MAP') continue;
          const payload = entryPayload(entry);
          const opId = entry.slice(56, 72);
          void primary?.write({
            level: 'quorum',
            op: 'MAP',
            collectionId: 0,
            id: '',
            payload,
            opId,
            mapOperation: decodeMapOperation(payload),
          });
        }
      });
    }
  });
}
