import type { DemoNode } from './demo-cluster.js';

/** Log entries of documents' shards that went to one node. */
export interface Sent {
  readonly entries: number;
  readonly bytes: number;
}

/** What the nodes counted as sent to `to` since they started. */
export async function sentTo(nodes: readonly DemoNode[], to: string, signal: AbortSignal): Promise<Sent> {
  const texts = await Promise.all(nodes.map(({ client }) => client.metrics({ signal })));
  const sum = (name: string): number => texts.reduce((total, text) => total + counted(text, name, to), 0);
  return { entries: sum('spector_replication_sent_entries_total'), bytes: sum('spector_replication_sent_bytes_total') };
}

/** The sum of a counter over its shards, the map's own not counted. */
export function counted(text: string, name: string, to: string): number {
  let total = 0;
  for (const line of text.split('\n')) {
    const [, shard, node, value] = /^(?:\w+)\{shard="(\w+)",to="([^"]*)"\} (\S+)$/.exec(line) ?? [];
    if (line.startsWith(`${name}{`) && shard !== 'map' && node === to) total += Number(value);
  }
  return total;
}
