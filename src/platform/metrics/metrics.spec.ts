import { describe, expect, it } from '@jest/globals';
import { LabelBound, OTHER } from './label-bound.js';
import { Metrics } from './metrics.js';

const metrics = () => new Metrics({ nodeId: 'node-1', version: '1.2.3' });

describe('Metrics', () => {
  it('counts what it is told', async () => {
    const node = metrics();
    node.httpRequest({ route: '/api/v1/search', method: 'POST', code: 200, ms: 3 });
    node.httpRequest({ route: '/api/v1/search', method: 'POST', code: 200, ms: 700 });
    node.grpcCall({ method: '/s/M', code: 'OK', ms: 1 });
    node.search({ mode: 'HYBRID', outcome: 'partial', ms: 4 });
    node.write({ op: 'upsert', outcome: 'stored', count: 40 });
    node.groupCommit({ entries: 40, bytes: 4_000, ms: 0.2 });
    node.checkpoint({ outcome: 'written', ms: 900 });
    node.streamed({ shard: '3', to: 'node-2', entries: 7, bytes: 700 });
    node.streamed({ shard: '3', to: 'node-2', entries: 1, bytes: 100 });
    node.vectorGraph('native');
    const text = await node.text();
    for (const line of [
      'spector_info{node="node-1",version="1.2.3"} 1',
      'spector_http_requests_total{route="/api/v1/search",method="POST",code="200"} 2',
      'spector_http_request_seconds_bucket{le="0.005",route="/api/v1/search",method="POST"} 1',
      'spector_grpc_requests_total{method="/s/M",code="OK"} 1',
      'spector_searches_total{mode="HYBRID",outcome="partial"} 1',
      'spector_writes_total{op="upsert",outcome="stored"} 40',
      'spector_log_batches_total 1',
      'spector_log_batch_bytes_total 4000',
      'spector_log_batch_entries_sum 40',
      'spector_checkpoints_total{outcome="written"} 1',
      'spector_checkpoint_seconds_sum 0.9',
      'spector_replication_sent_entries_total{shard="3",to="node-2"} 8',
      'spector_replication_sent_bytes_total{shard="3",to="node-2"} 800',
      'spector_vector_graph{graph="native"} 1',
    ]) {
      expect(text).toContain(`${line}\n`);
    }
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(text).toContain('process_resident_memory_bytes');
    expect(node.contentType).toContain('text/plain');
  });

  it('reads the place in the cluster at each scrape', async () => {
    const node = metrics();
    let members = new Map([['ACTIVE', 3]]);
    const standing = { led: 2, replicasInSync: 3, replicasWanted: 4, mapEpoch: 9 };
    node.sampleCluster(() => ({ ...standing, lagMs: new Map([[1, 250]]), members }));
    const first = await node.text();
    for (const line of [
      'spector_shards_led 2',
      'spector_replicas_in_sync 3',
      'spector_replicas_wanted 4',
      'spector_replica_lag_seconds{shard="1"} 0.25',
      'spector_members{status="ACTIVE"} 3',
      'spector_map_epoch 9',
    ])
      expect(first).toContain(`${line}\n`);
    members = new Map([['UNAVAILABLE', 1]]);
    expect(await node.text()).not.toContain('status="ACTIVE"');
  });

  it('reads shards, queues and resources at each scrape', async () => {
    const node = metrics();
    let shards = [{ shard: 0, documents: 5, logBytes: 900, tail: 12, applied: 10, unsaved: 4 }];
    node.sampleShards(() => shards);
    node.sampleQueues(() => ({ commit: 3 }));
    node.sampleResources(() => ({ diskFreeBytes: 10, diskReserveBytes: 5, memoryMaxBytes: 7, ready: true }));
    const first = await node.text();
    for (const line of [
      'spector_index_lag_entries{shard="0"} 2',
      'spector_index_unsaved_entries{shard="0"} 4',
      'spector_log_bytes{shard="0"} 900',
      'spector_log_tail_offset{shard="0"} 12',
      'spector_shard_documents{shard="0"} 5',
      'spector_queue_depth{queue="commit"} 3',
      'spector_disk_free_bytes 10',
      'spector_disk_reserve_bytes 5',
      'spector_memory_max_bytes 7',
      'spector_ready 1',
    ])
      expect(first).toContain(`${line}\n`);
    shards = [{ shard: 1, documents: 1, logBytes: 1, tail: 1, applied: 1, unsaved: 0 }];
    const second = await node.text();
    expect(second).toContain('spector_index_lag_entries{shard="1"} 0\n');
    expect(second).not.toContain('shard="0"');
  });

  it('lives beside other nodes of the process', async () => {
    const [a, b] = [metrics(), metrics()];
    a.groupCommit({ entries: 1, bytes: 1, ms: 1 });
    expect(await b.text()).toContain('spector_log_batches_total 0\n');
  });

  it('keeps labels few, whatever is asked for', async () => {
    const node = metrics();
    for (let i = 0; i < 1_000; i++) node.httpRequest({ route: `/r${i}`, method: 'GET', code: 404, ms: 1 });
    const routes = new Set(
      [...(await node.text()).matchAll(/spector_http_requests_total\{route="([^"]+)"/g)].map(([, route]) => route),
    );
    expect(routes.size).toBe(201);
    expect(routes).toContain(OTHER);
  });
});

describe('LabelBound', () => {
  it('keeps the first values and folds the rest', () => {
    const bound = new LabelBound(2);
    expect(['a', 'b', 'a', 'c', 'b'].map((value) => bound.of(value))).toEqual(['a', 'b', 'a', OTHER, 'b']);
  });
});
