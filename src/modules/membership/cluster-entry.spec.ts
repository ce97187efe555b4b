import { describe, expect, it } from '@jest/globals';
import { PeerError } from '../../kernel/peer.js';
import { systemTimers } from '../../platform/clock/system-timers.js';
import { ClusterEntry } from './cluster-entry.js';
import type { BootstrapFacts } from './core/bootstrap.js';
import type { NodeRecord } from './core/node-record.js';
import type { Introduction, MembershipPeers } from './membership-peers.js';

const SELF = 'aa'.repeat(16);
const OTHER = 'bb'.repeat(16);
const FORMER = 'former:9090';
const NOW = 'now:9090';

/** How a node that belongs to a cluster comes back, when `answer` is what its former address says. */
async function comesBack(registeredAt: string | undefined, answer: Partial<Introduction> | PeerError): Promise<string> {
  const asked: string[] = [];
  const peers = {
    introduce: (address: string) => {
      asked.push(address);
      return answer instanceof PeerError ? Promise.reject(answer) : Promise.resolve(answer as Introduction);
    },
  } as unknown as MembershipPeers;
  const logger = { info: () => undefined, warn: () => undefined };
  const entry = new ClusterEntry({ peers, registry: {} as never, timers: systemTimers, logger });
  const facts = { seeds: [], storedClusterId: 'c', clusterMode: true, registeredAt } as unknown as BootstrapFacts;
  const record = { nodeUuid: SELF, grpcAddress: NOW } as NodeRecord;
  const entered = await entry.enter(
    facts,
    () => record,
    () => ({}) as Introduction,
  );
  return `${String(entered?.kind)}, asked ${asked.length}`;
}

describe('a node that comes back to its cluster', () => {
  it('asks nobody when it is where it was, or was nowhere', async () => {
    expect(await comesBack(NOW, {})).toBe('resumed, asked 0');
    expect(await comesBack(undefined, {})).toBe('resumed, asked 0');
  });

  it('comes back at another address, when the former one is silent, another node, or still leads to itself', async () => {
    for (const answer of [
      new PeerError('REFUSED', 'nobody'),
      new PeerError('TIMEOUT', 'nobody'),
      { nodeUuid: OTHER, grpcAddress: FORMER },
      { nodeUuid: SELF, grpcAddress: NOW },
    ])
      expect(await comesBack(FORMER, answer)).toBe('resumed, asked 1');
  });

  it('does not beside the one its data directory was copied from', async () => {
    await expect(comesBack(FORMER, { nodeUuid: SELF, grpcAddress: FORMER })).rejects.toMatchObject({
      reason: 'DUPLICATE_NODE_ID',
      message: expect.stringMatching(/another process, at former:9090/),
    });
  });
});
