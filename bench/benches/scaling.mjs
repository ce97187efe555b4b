import { clusterSettings } from '../lib/cluster.mjs';
import { clusteredCorpus } from '../lib/corpus.mjs';
import { filledCluster } from '../lib/filled-cluster.mjs';
import { truthOf } from '../lib/truth.mjs';
import { measuredSearch } from './cluster-search.mjs';

const NODE_COUNTS = [1, 2, 3];

/**
 * Hybrid search of one, two and three nodes by clients of all of them, beside a straight line from the one node: what
 * was measured here, where all of them share these cores, and what their CPU allows on machines of their own.
 * @param {import('../run.mjs').Context} context
 */
export async function scaling(context) {
  const { options, progress } = context;
  const corpus = clusteredCorpus(options);
  const truth = truthOf(corpus, progress);
  const rows = [];
  /** @type {number | undefined} */
  let alone;
  for (const nodes of NODE_COUNTS) {
    // One node has no other to keep copies.
    for (const replicas of nodes === 1 ? [0] : new Set(options.replicas.map((count) => Math.min(count, nodes - 1)))) {
      const cluster = await filledCluster(corpus, { ...clusterSettings(context, { nodes, replicas }), progress });
      const row = await measuredSearch(context, corpus, truth, cluster, 'all');
      await cluster.dispose();
      const allowed = Number(row['own machines allow /s']);
      alone ??= allowed;
      rows.push({
        nodes,
        replicaCount: replicas,
        ...row,
        'linear from one node /s': alone * nodes,
        'of linear': `${Math.round((allowed / (alone * nodes)) * 100)} %`,
      });
    }
  }
  return rows;
}
