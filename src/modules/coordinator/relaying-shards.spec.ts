import { describe, expect, it } from '@jest/globals';
import { PeerError, type NodeUuid } from '../../kernel/peer.js';
import type { ShardAsk, ShardWrite, WriteRelay } from './core/shard-calls.js';
import type { AnswerMessage, QueryLinks } from './query-stream.js';
import { RelayingShards } from './relaying-shards.js';
import { ShardCallClients } from './shard-call-client.js';
import { ShardCallServer } from './shard-call-server.js';
import { SHARD_CALL_WIRE } from './core/shard-call-wire.js';
import { decodeWire, encodeWire } from '../../kernel/wire.js';

const [asking, primary, stranger] = ['01', '02', 'ee'].map((byte) => byte.repeat(16));
const write: ShardWrite = {
  shard: 0,
  op: 'DELETE',
  collectionId: 0,
  id: 'a',
  payload: new Uint8Array(0),
  level: 'one',
  opId: new Uint8Array(16),
};
const ask = (relay: WriteRelay): ShardAsk<'write'> => ({ mapEpoch: 1, writes: [write], relay });
const made = { kind: 'refused', code: 'VERSION_CONFLICT', detail: 'made here' } as const;
const staleMap = { kind: 'turned-away', refusal: { code: 'STALE_MAP' } };
const options = { timeoutMs: 1_000 };

/** A node that is not the primary, with links that lead nowhere, and to whom they were opened. */
function relaying(): { served: RelayingShards; opened: NodeUuid[] } {
  const opened: NodeUuid[] = [];
  const links: QueryLinks = {
    open: (node, events) => {
      opened.push(node);
      queueMicrotask(() => events.ended(new PeerError('UNRESOLVED', 'nobody is there')));
      return { send: () => true, drained: () => Promise.resolve(), close: () => undefined };
    },
  };
  const local = { underWay: 0, call: () => Promise.resolve([made] as never) };
  const served = new RelayingShards(local, new ShardCallClients(links, () => 1), (node) =>
    [asking, primary].includes(node),
  );
  return { served, opened };
}

describe('writes that are passed on', () => {
  it('go to nodes of the map only: for another name nothing is opened', async () => {
    const { served, opened } = relaying();
    const passed = ask({ from: asking, generation: 1, to: primary });
    expect(await served.call('write', passed, options)).toMatchObject([{ refusal: { code: 'NOT_PRIMARY' } }]);
    expect(opened).toEqual([primary]);
    for (const to of [stranger, '', 'no uuid at all'])
      expect(await served.call('write', ask({ from: asking, generation: 1, to }), options)).toEqual([staleMap]);
    expect(opened).toEqual([primary]);
  });

  it('are made for nodes of the map only: of another name no generation is kept', async () => {
    const { served } = relaying();
    const server = new ShardCallServer(served, { refused: () => undefined, failed: () => undefined });
    const query = async (from: NodeUuid) => {
      const answers: AnswerMessage[] = [];
      const link = { drained: () => Promise.resolve(), close: () => undefined };
      const body = encodeWire(SHARD_CALL_WIRE.write.ask, ask({ from, generation: 7 }));
      await new Promise<void>((resolve) => {
        const send = (message: AnswerMessage): boolean => {
          answers.push(message);
          resolve();
          return true;
        };
        server.onQuery(primary, { ...link, send }).message({
          generation: 1,
          calls: [{ id: 1, kind: 'write', timeoutMs: 1_000, more: false, body }],
          cancelled: [],
        });
      });
      const older = server.onQuery(from, { ...link, send: () => true });
      const answer = decodeWire(SHARD_CALL_WIRE.write.answer, answers[0].answers[0].body);
      return { answer, older: () => older.message({ generation: 6, calls: [], cancelled: [] }) };
    };
    const unknown = await query(stranger);
    expect(unknown.answer).toEqual([staleMap]);
    expect(unknown.older).not.toThrow();
    const known = await query(asking);
    expect(known.answer).toEqual([made]);
    expect(known.older).toThrow('newer');
  });
});
