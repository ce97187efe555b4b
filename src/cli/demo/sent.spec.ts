import { describe, expect, it } from '@jest/globals';
import { counted } from './sent.js';

describe('counted', () => {
  it('sums a counter over the shards of documents, for one node', () => {
    const text = `# TYPE sent_total counter
sent_total{shard="map",to="node-2"} 85
sent_total{shard="0",to="node-2"} 14
sent_total{shard="11",to="node-2"} 2.5e+3
sent_total{shard="0",to="node-3"} 7
sent_total_more{shard="0",to="node-2"} 1
`;
    expect(counted(text, 'sent_total', 'node-2')).toBe(2514);
    expect(counted(text, 'sent_total', 'node-9')).toBe(0);
  });
});
