import type { Status } from '../../client/index.js';
import type { Context } from '../connection.js';
import { byteSize, duration, grouped } from '../units.js';
import { isWhole, type DemoCluster, type DemoNode } from './demo-cluster.js';
import { LiveLine } from '../live-line.js';
import { sentTo, type Sent } from './sent.js';
import { Traffic } from './traffic.js';
import { pause, until } from './waiting.js';

/** The loops run alone for so long before and after. */
const CALM_MS = 1_500;
const PROMOTION_TIMEOUT_MS = 60_000;
const RECOVERY_TIMEOUT_MS = 180_000;
const IDS_A_REQUEST = 500;

/** What happened while a node died and came back. */
export interface FailureReport {
  readonly killed: string;
  /** Milliseconds from the kill until the last of its shards had another primary. */
  readonly promotionMs: number;
  readonly searches: number;
  readonly searchesFailed: number;
  readonly searchesPartial: number;
  readonly slowestSearchMs: number;
  readonly writesAcknowledged: number;
  readonly writesLost: number;
  readonly slowestWriteMs: number;
  /** From the start of its process until every copy of it was in sync. */
  readonly recoveryMs: number;
  /** What the others sent the node that came back. */
  readonly received: Sent;
  /** Entries the logs of its shards hold. */
  readonly logEntries: number;
}

/**
 * Kills the node that leads most shards, with SIGKILL, while searches and writes go through the other two; shows who
 * takes over and when; starts it again and shows what it received.
 */
export async function showFailure(context: Context, cluster: DemoCluster): Promise<FailureReport> {
  const { signal, stderr } = context.host;
  const before = await cluster.whole(signal);
  const victim = cluster.node(leaderOfMost(before));
  const [searched, written] = cluster.nodes.filter(({ id }) => id !== victim.id);
  const led = before.shards.filter(({ primary }) => primary === victim.id).map(({ shard }) => shard);
  const traffic = new Traffic(searched.url, written.client, signal);
  const live = new LiveLine(stderr, () => trafficText(traffic));
  const tell = async (event: object, text: string): Promise<void> => {
    live.clear();
    await context.output.result(event, () => text);
  };
  try {
    await tell(
      { event: 'failing', node: victim.id, shards: led },
      `A search loop runs through ${searched.id}, writes go through ${written.id}. ${victim.id} is primary of shards ${led.join(', ')}: kill -9 ${victim.pid}`,
    );
    await pause(CALM_MS, signal);
    const killedMs = performance.now();
    cluster.kill(victim.id);
    const promotionMs = await promotions(cluster, searched, victim, led, killedMs, signal, tell);
    await pause(CALM_MS, signal);
    await traffic.stopWriting();
    const missing = await lost(written, traffic.acknowledged, signal);
    await tell(
      { event: 'failed_over', ms: Math.round(promotionMs), lost: missing },
      `Failed over in ${duration(promotionMs)}. ${trafficText(traffic)}, acknowledged writes lost: ${missing}\n`,
    );

    const { received, recoveryMs, logEntries } = await recovery(cluster, searched, victim, signal, tell);
    await traffic.stop();
    const back = cluster.node(victim.id);
    const writesLost = Math.max(missing, await lost(back, traffic.acknowledged, signal));
    await equalCopies(cluster, searched, signal);
    const report: FailureReport = {
      killed: victim.id,
      promotionMs: Math.round(promotionMs),
      searches: traffic.searches,
      searchesFailed: traffic.failed,
      searchesPartial: traffic.partial,
      slowestSearchMs: Math.round(traffic.slowestSearchMs),
      writesAcknowledged: traffic.acknowledged.length,
      writesLost,
      slowestWriteMs: Math.round(traffic.slowestWriteMs),
      recoveryMs: Math.round(recoveryMs),
      received,
      logEntries,
    };
    await tell({ event: 'recovered', ...report }, reportText(report, traffic.reasons));
    return report;
  } finally {
    live.stop();
    await traffic.stop();
  }
}

type Tell = (event: object, text: string) => Promise<void>;

/** Shows each new primary; milliseconds until there was one for every shard. */
async function promotions(
  cluster: DemoCluster,
  asked: DemoNode,
  victim: DemoNode,
  led: readonly number[],
  killedMs: number,
  signal: AbortSignal,
  tell: Tell,
): Promise<number> {
  const waiting = new Set(led);
  let lastMs = 0;
  const look = async (): Promise<true | undefined> => {
    const { shards } = await asked.client.status({ signal });
    const afterMs = performance.now() - killedMs;
    for (const { shard, primary, epoch } of shards) {
      if (!waiting.has(shard) || primary === null || primary === victim.id) continue;
      waiting.delete(shard);
      lastMs = afterMs;
      await tell(
        { event: 'primary_changed', shard, node: primary, epoch, afterMs: Math.round(afterMs) },
        `  +${duration(afterMs).padEnd(7)} shard ${shard}: ${primary} is primary now (epoch ${epoch}), was ${victim.id}`,
      );
    }
    return waiting.size === 0 ? true : undefined;
  };
  await cluster.guard(until('new primaries', look, PROMOTION_TIMEOUT_MS, signal));
  return lastMs;
}

async function recovery(
  cluster: DemoCluster,
  asked: DemoNode,
  victim: DemoNode,
  signal: AbortSignal,
  tell: Tell,
): Promise<Pick<FailureReport, 'received' | 'recoveryMs' | 'logEntries'>> {
  const others = cluster.nodes.filter(({ id }) => id !== victim.id);
  const sent = (): Promise<Sent> => cluster.guard(sentTo(others, victim.id, signal));
  const before = await sent();
  const startedMs = performance.now();
  await cluster.guard(cluster.restart(victim.id));
  const upMs = performance.now() - startedMs;
  await tell(
    { event: 'restarted', node: victim.id, ms: Math.round(upMs) },
    `${victim.id} is started again on its data directory (pid ${cluster.node(victim.id).pid}, listening after ${duration(upMs)}).`,
  );
  const whole = async (): Promise<Status | undefined> => {
    const status = await asked.client.status({ signal });
    return isWhole(status) ? status : undefined;
  };
  const status = await cluster.guard(until(`${victim.id} to be in sync`, whole, RECOVERY_TIMEOUT_MS, signal));
  const recoveryMs = performance.now() - startedMs;
  const after = await sent();
  const received = { entries: after.entries - before.entries, bytes: after.bytes - before.bytes };
  const logEntries = status.shards.reduce((sum, { offset }) => sum + offset, 0);
  await tell(
    { event: 'in_sync', node: victim.id, ms: Math.round(recoveryMs), received, logEntries },
    `${victim.id} is in sync again after ${duration(recoveryMs)}: it received ${grouped(received.entries)} entries (${byteSize(received.bytes)}), what it had missed, of ${grouped(logEntries)} in the logs.\n`,
  );
  return { received, recoveryMs, logEntries };
}

/** How many of the documents a node does not find. */
async function lost(node: DemoNode, ids: readonly string[], signal: AbortSignal): Promise<number> {
  let missing = 0;
  for (let from = 0; from < ids.length; from += IDS_A_REQUEST) {
    const part = ids.slice(from, from + IDS_A_REQUEST);
    missing += (await node.client.getMany(part, { consistency: 'primary', signal })).missing.length;
  }
  return missing;
}

/** Chain and content of all copies are equal (replication 6.5), so that what one has every one has. */
async function equalCopies(cluster: DemoCluster, asked: DemoNode, signal: AbortSignal): Promise<void> {
  const equal = async (): Promise<true | undefined> => {
    const { shards } = await asked.client.status({ signal });
    for (const { shard, replicas: copies } of shards) {
      const { chain, live, replicas } = await asked.client.digest(shard, { signal });
      if (replicas.length !== copies.length) return undefined;
      if (!replicas.every((copy) => copy.chain === chain && copy.live === live)) return undefined;
    }
    return true;
  };
  await cluster.guard(until('equal copies on all nodes', equal, RECOVERY_TIMEOUT_MS, signal));
}

/** The node that is primary of most shards; of equals the first. */
function leaderOfMost({ shards, topology }: Status): string {
  const led = (id: string): number => shards.filter(({ primary }) => primary === id).length;
  return Object.keys(topology)
    .sort()
    .reduce((most, id) => (led(id) > led(most) ? id : most));
}

function trafficText(traffic: Traffic): string {
  return `Searches: ${grouped(traffic.searches)}, failed: ${traffic.failed}, partial: ${traffic.partial}, slowest ${duration(traffic.slowestSearchMs)}; writes acknowledged: ${grouped(traffic.acknowledged.length)}`;
}

function reportText(report: FailureReport, reasons: string): string {
  const why = reasons === '' ? '' : ` (${reasons})`;
  return `While a node died and came back:
  searches ${grouped(report.searches)}, failed: ${report.searchesFailed}${why}, partial: ${report.searchesPartial}, slowest ${duration(report.slowestSearchMs)}
  writes acknowledged ${grouped(report.writesAcknowledged)}, lost: ${report.writesLost}, slowest ${duration(report.slowestWriteMs)}
  promotion ${duration(report.promotionMs)}, recovery ${duration(report.recoveryMs)} with ${grouped(report.received.entries)} of ${grouped(report.logEntries)} entries; all copies are equal
`;
}
