import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SpectorClient, SpectorError } from './index.js';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Handler = (seen: Seen, response: ServerResponse, request: IncomingMessage, count: number) => void;

const open: { close(): Promise<void> }[] = [];

/** A real HTTP server on a free port that answers as `handler` says and remembers what it saw. */
async function serve(handler: Handler): Promise<{ url: string; seen: Seen[]; close(): Promise<void> }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(one);
      handler(one, response, request, seen.length);
    });
    request.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  const handle = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close };
  open.push(handle);
  return handle;
}

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, {
    'content-type': status < 400 ? 'application/json' : 'application/problem+json',
    ...headers,
  });
  response.end(JSON.stringify(body));
}

const OVERLOADED = {
  type: 'about:blank',
  title: 'Overloaded',
  status: 429,
  detail: 'wait',
  instance: 'i-1',
  code: 'OVERLOADED',
  retryable: true,
  retryAfterMs: 5,
};

const SHARDS = { total: 2, ok: 2, stale: [], failed: [] };
const LACKING = { ...SHARDS, ok: 1, failed: [{ shard: 1, reason: 'UNREACHABLE' }] };

afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

describe('a call', () => {
  it('sends the key, the query and the body, with a Float32Array as numbers', async () => {
    const server = await serve((_seen, response) => json(response, 201, { id: 'a', session: 's1' }));
    const client = new SpectorClient({ nodes: server.url, apiKey: 'secret' });
    await client.ingest(
      { id: 'a', vector: new Float32Array([0.5, -1]) },
      { collection: 'c d', consistency: 'all', idempotencyKey: 'k' },
    );
    const [seen] = server.seen;
    expect(seen.url).toBe('/api/v1/ingest?collection=c+d&consistency=all');
    expect(seen.headers.authorization).toBe('Bearer secret');
    expect(seen.headers['idempotency-key']).toBe('k');
    expect(JSON.parse(seen.body)).toEqual({ id: 'a', vector: [0.5, -1] });
  });

  it('encodes ids in paths and refuses those no URL can name', async () => {
    const server = await serve((_seen, response) => json(response, 200, { id: 'a/b?', version: 'v' }));
    const client = new SpectorClient({ nodes: server.url });
    await client.get('a/b?ü', { withVector: true });
    expect(server.seen[0].url).toBe(`/api/v1/documents/${encodeURIComponent('a/b?ü')}?withVector=true`);
    await expect(client.get('..')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await expect(client.delete('.')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect(server.seen).toHaveLength(1);
  });

  it('gives conditions as quoted versions', async () => {
    const server = await serve((_seen, response) => json(response, 200, {}));
    const client = new SpectorClient({ nodes: server.url });
    await client.put('a', { title: 't' }, { ifMatch: 'abc' });
    await client.put('a', { title: 't' }, { ifNoneMatch: '*' });
    expect(server.seen[0].headers['if-match']).toBe('"abc"');
    expect(server.seen[1].headers['if-none-match']).toBe('*');
  });

  it('rejects with the whole problem', async () => {
    const problem = {
      title: 'No such document',
      status: 404,
      detail: 'no document "a"',
      instance: 'i-7',
      code: 'DOCUMENT_NOT_FOUND',
      retryable: false,
    };
    const server = await serve((_seen, response) => json(response, 404, problem));
    const error: unknown = await new SpectorClient({ nodes: server.url }).get('a').catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(SpectorError);
    expect(error).toMatchObject({
      code: 'DOCUMENT_NOT_FOUND',
      status: 404,
      detail: 'no document "a"',
      retryable: false,
      instance: 'i-7',
      problem,
    });
    expect(server.seen).toHaveLength(1);
  });

  it('says when something answers that is no node', async () => {
    const server = await serve((_seen, response) =>
      response.writeHead(404, { 'content-type': 'text/html' }).end('<html>'),
    );
    await expect(new SpectorClient({ nodes: server.url }).status()).rejects.toMatchObject({
      code: 'BAD_ANSWER',
      status: 404,
    });
  });

  it('refuses addresses that are none', () => {
    expect(() => new SpectorClient({ nodes: [] })).toThrow(TypeError);
    expect(() => new SpectorClient({ nodes: 'http://' })).toThrow(TypeError);
    expect(() => new SpectorClient({ nodes: 'ftp://host' })).toThrow(TypeError);
  });
});

describe('retries', () => {
  it('repeats a refused write with the same idempotency key, waiting as long as asked', async () => {
    const server = await serve((_seen, response, _request, count) =>
      json(
        response,
        count < 3 ? 429 : 201,
        count < 3 ? { ...OVERLOADED, retryAfterMs: 60 } : { id: 'a', session: 's' },
      ),
    );
    const started = performance.now();
    await new SpectorClient({ nodes: server.url }).ingest({ id: 'a', title: 't' });
    expect(performance.now() - started).toBeGreaterThanOrEqual(115);
    const keys = server.seen.map((seen) => seen.headers['idempotency-key']);
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  });

  it('gives every call its own key', async () => {
    const server = await serve((_seen, response) => json(response, 201, {}));
    const client = new SpectorClient({ nodes: server.url });
    await client.ingest({ id: 'a', title: 't' });
    await client.ingest({ id: 'a', title: 't' });
    expect(server.seen[0].headers['idempotency-key']).not.toBe(server.seen[1].headers['idempotency-key']);
  });

  it('gives up after `retries`, with the last error', async () => {
    const server = await serve((_seen, response) => json(response, 429, OVERLOADED));
    await expect(new SpectorClient({ nodes: server.url, retries: 2 }).status()).rejects.toMatchObject({
      code: 'OVERLOADED',
      retryAfterMs: 5,
    });
    expect(server.seen).toHaveLength(3);
  });

  it('goes to the next node when one refuses the connection, and stays there', async () => {
    const gone = await serve(() => undefined);
    await gone.close();
    const server = await serve((_seen, response) => json(response, 200, { status: 'RUNNING' }));
    const client = new SpectorClient({ nodes: [gone.url, server.url] });
    await client.status();
    await client.status();
    expect(server.seen).toHaveLength(2);
  });

  it('leaves a silent node of several in time', async () => {
    const silent = await serve(() => undefined);
    const server = await serve((_seen, response) => json(response, 200, { count: 1 }));
    const client = new SpectorClient({ nodes: [silent.url, server.url], timeoutMs: 2_600 });
    expect(await client.count()).toEqual({ count: 1 });
    expect(silent.seen).toHaveLength(1);
  });

  it('repeats a write whose connection broke midway, but not an operation', async () => {
    const server = await serve((_seen, response, request, count) => {
      if (count === 1) request.socket.destroy();
      else json(response, 201, { id: 'a' });
    });
    await new SpectorClient({ nodes: server.url }).ingest({ id: 'a', title: 't' });
    expect(server.seen).toHaveLength(2);
    const other = await serve((_seen, _response, request) => request.socket.destroy());
    await expect(new SpectorClient({ nodes: other.url }).shards.reshard(4)).rejects.toMatchObject({
      code: 'UNREACHABLE',
    });
    expect(other.seen).toHaveLength(1);
  });

  it('ends by its deadline', async () => {
    const server = await serve(() => undefined);
    const started = performance.now();
    await expect(new SpectorClient({ nodes: server.url, timeoutMs: 100 }).status()).rejects.toMatchObject({
      code: 'TIMEOUT',
      status: 0,
    });
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it('does not wait past its deadline', async () => {
    const server = await serve((_seen, response) => json(response, 429, { ...OVERLOADED, retryAfterMs: 60_000 }));
    await expect(new SpectorClient({ nodes: server.url, timeoutMs: 1_000 }).status()).rejects.toMatchObject({
      code: 'OVERLOADED',
    });
    expect(server.seen).toHaveLength(1);
  });

  it('rejects with the reason of the caller, while asking and while waiting', async () => {
    const reason = new Error('enough');
    const silent = await serve(() => controller.abort(reason));
    const controller = new AbortController();
    await expect(new SpectorClient({ nodes: silent.url }).status({ signal: controller.signal })).rejects.toBe(reason);
    const busy = await serve((_seen, response) => {
      json(response, 429, { ...OVERLOADED, retryAfterMs: 20_000 });
      setTimeout(() => second.abort(reason), 20);
    });
    const second = new AbortController();
    await expect(new SpectorClient({ nodes: busy.url }).status({ signal: second.signal })).rejects.toBe(reason);
  });
});

describe('sessions', () => {
  it('sends the newest token', async () => {
    const server = await serve((_seen, response, _request, count) =>
      json(response, 200, { results: [], session: `t${count}` }),
    );
    const client = new SpectorClient({ nodes: server.url });
    await client.search({ text: 'a' });
    await client.ingest({ id: 'a', title: 't' });
    await client.search({ text: 'a' });
    expect(server.seen.map((seen) => seen.headers['spector-session'])).toEqual([undefined, 't1', 't2']);
    expect(client.session).toBe('t3');
  });

  it('takes no token from inside a document, and none at all when off', async () => {
    const document = { id: 'a', version: 'v', metadata: { session: 'mine' } };
    const server = await serve((_seen, response) => json(response, 200, document, { 'spector-session': 'real' }));
    const client = new SpectorClient({ nodes: server.url });
    await client.get('a');
    expect(client.session).toBe('real');
    const off = new SpectorClient({ nodes: server.url, session: 'off' });
    await off.get('a');
    await off.get('a');
    expect(server.seen[2].headers['spector-session']).toBeUndefined();
  });

  it('keeps the token of a write against a read that began before it ended', async () => {
    let answerRead: (() => void) | undefined;
    const server = await serve((seen, response) => {
      if (seen.url === '/api/v1/search') answerRead = () => json(response, 200, { session: 'read' });
      else json(response, 201, { session: 'write' });
    });
    const client = new SpectorClient({ nodes: server.url });
    const read = client.search({ text: 'a' });
    while (answerRead === undefined) await new Promise((resolve) => setImmediate(resolve));
    await client.ingest({ id: 'a', title: 't' });
    answerRead();
    await read;
    expect(client.session).toBe('write');
  });
});

describe('bulk', () => {
  it('gives the answer when no line was stored', async () => {
    const answer = {
      total: 1,
      success: 0,
      failed: 1,
      errors: [{ index: 0, id: null, code: 'INVALID_REQUEST', detail: 'no' }],
      session: 's',
    };
    const server = await serve((_seen, response) => json(response, 400, answer));
    expect(await new SpectorClient({ nodes: server.url }).bulk([{ id: '' }])).toEqual(answer);
    expect(server.seen).toHaveLength(1);
  });

  it('sends all lines again, with the same key, when some may succeed later', async () => {
    const failed = {
      total: 2,
      success: 1,
      failed: 1,
      errors: [{ index: 1, id: 'b', code: 'OVERLOADED', detail: 'wait' }],
      session: 's',
    };
    const stored = { total: 2, success: 2, failed: 0, errors: [], session: 's' };
    const server = await serve((_seen, response, _request, count) =>
      json(response, count === 1 ? 200 : 201, count === 1 ? failed : stored),
    );
    expect(
      await new SpectorClient({ nodes: server.url }).bulkNdjson('{"id":"a","title":"x"}\n{"id":"b","title":"y"}\n'),
    ).toEqual(stored);
    expect(server.seen[0].headers['content-type']).toBe('application/x-ndjson');
    expect(server.seen[0].headers['idempotency-key']).toBe(server.seen[1].headers['idempotency-key']);
  });

  it('streams lines from a source', async () => {
    const server = await serve((_seen, response) =>
      json(response, 201, { total: 3, success: 3, failed: 0, errors: [], session: 's' }),
    );
    async function* source(): AsyncGenerator<{ id: string; vector: Float32Array } | string> {
      yield { id: 'a', vector: new Float32Array([1]) };
      yield '{"op":"delete","id":"b"}';
      await new Promise((resolve) => setTimeout(resolve, 10));
      yield { id: 'c', vector: new Float32Array([2]) };
    }
    expect(await new SpectorClient({ nodes: server.url }).bulkStream(source())).toMatchObject({ success: 3 });
    expect(server.seen[0].body).toBe('{"id":"a","vector":[1]}\n{"op":"delete","id":"b"}\n{"id":"c","vector":[2]}\n');
    expect(server.seen[0].headers['transfer-encoding']).toBe('chunked');
  });

  it('ends a stream whose node takes nothing, and one whose source fails', async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    open.push({
      close: async () => {
        server.closeAllConnections();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      },
    });
    const client = new SpectorClient({
      nodes: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      timeoutMs: 150,
    });
    let closed = false;
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield `"${'x'.repeat(10_000)}"`;
      } finally {
        closed = true;
      }
    }
    await expect(client.bulkStream(endless())).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(closed).toBe(true);
    async function* broken(): AsyncGenerator<string> {
      yield '{}';
      throw new Error('disk gone');
    }
    await expect(client.bulkStream(broken())).rejects.toThrow('disk gone');
  });
});

describe('streams', () => {
  it('scrolls through all pages', async () => {
    const server = await serve((seen, response) => {
      const { cursor } = JSON.parse(seen.body) as { cursor?: string };
      json(
        response,
        200,
        cursor === undefined
          ? { documents: [{ id: 'a' }, { id: 'b' }], cursor: 'c1', shards: SHARDS }
          : { documents: [{ id: 'c' }], cursor: null, shards: SHARDS },
      );
    });
    const ids: string[] = [];
    for await (const document of new SpectorClient({ nodes: server.url }).scroll({ limit: 2 })) ids.push(document.id);
    expect(ids).toEqual(['a', 'b', 'c']);
    expect(server.seen.map((seen) => JSON.parse(seen.body) as unknown)).toEqual([
      { limit: 2 },
      { limit: 2, cursor: 'c1' },
    ]);
  });

  it('asks again for a page that lacks shards, and gives each document once', async () => {
    const server = await serve((_seen, response, _request, count) => {
      if (count === 1) json(response, 200, { documents: [{ id: 'a' }], cursor: 'c1', shards: SHARDS });
      else if (count === 2) json(response, 200, { documents: [{ id: 'c' }], cursor: null, shards: LACKING });
      else json(response, 200, { documents: [{ id: 'b' }, { id: 'c' }], cursor: null, shards: SHARDS });
    });
    const ids: string[] = [];
    for await (const { id } of new SpectorClient({ nodes: server.url }).scroll({ limit: 2 })) ids.push(id);
    expect(ids).toEqual(['a', 'b', 'c']);
    const cursors = server.seen.map((seen) => (JSON.parse(seen.body) as { cursor?: string }).cursor);
    expect(cursors).toEqual([undefined, 'c1', 'c1']);
  });

  it('ends a scroll at shards that do not answer, or tells of them when asked to go on', async () => {
    const server = await serve((_seen, response) =>
      json(response, 200, { documents: [{ id: 'a' }], cursor: null, shards: LACKING }),
    );
    const client = new SpectorClient({ nodes: server.url, retries: 1 });
    await expect(client.scroll().next()).rejects.toMatchObject({
      code: 'SHARD_UNAVAILABLE',
      detail: 'shards 1 (UNREACHABLE) did not answer: their documents would be missing',
      retryable: true,
    });
    expect(server.seen).toHaveLength(2);
    const ids: string[] = [];
    const missing: unknown[] = [];
    for await (const { id } of client.scroll({}, { missing: (failed) => missing.push(...failed) })) ids.push(id);
    expect(ids).toEqual(['a']);
    expect(missing).toEqual(LACKING.failed);
  });

  it('takes changes up where a broken connection left them', async () => {
    const server = await serve((_seen, response, request, count) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(`{"cursor":"${count}a","op":"upsert","id":"${count}","version":"v"}\n`, () => {
        if (count === 1) request.socket.destroy();
        else response.end('{"cursor":"end","op":"delete","id":"x","version":"v"}');
      });
    });
    const cursors: string[] = [];
    for await (const change of new SpectorClient({ nodes: server.url }).changes({ collection: 'c' }))
      cursors.push(change.cursor);
    expect(cursors).toEqual(['1a', '2a', 'end']);
    expect(server.seen.map((seen) => seen.url)).toEqual([
      '/api/v1/changes?collection=c',
      '/api/v1/changes?cursor=1a&collection=c',
    ]);
  });

  it('takes changes from now on up where it began when no change came before the connection broke', async () => {
    const server = await serve((_seen, response, _request, count) => {
      if (count === 1) response.writeHead(200, { 'spector-cursor': 'c0' }).end();
      else response.writeHead(200).write('{"cursor":"c1","op":"delete","id":"x","version":"v"}\n');
    });
    const changes = new SpectorClient({ nodes: server.url }).changes({ cursor: 'latest', follow: true });
    expect((await changes.next()).value).toMatchObject({ cursor: 'c1' });
    await changes.return();
    expect(server.seen.map((seen) => seen.url)).toEqual([
      '/api/v1/changes?cursor=latest&follow=true',
      '/api/v1/changes?cursor=c0&follow=true',
    ]);
  });

  it('ends a followed stream when its reader leaves', async () => {
    let closed: (() => void) | undefined;
    const gone = new Promise<void>((resolve) => (closed = resolve));
    const server = await serve((_seen, response) => {
      response.on('close', () => closed?.());
      response.writeHead(200).write('{"offset":5,"op":"UPSERT"}\n{"offset":6,"op":"UPSERT"}\n');
    });
    for await (const entry of new SpectorClient({ nodes: server.url }).shardLog(3, { from: 5, follow: true }))
      if (entry.offset === 6) break;
    await gone;
    expect(server.seen[0].url).toBe('/api/v1/shards/3/log?from=5&follow=true');
  });

  it('rejects with what the node refused, and with a problem in the stream', async () => {
    const compacted = { status: 410, code: 'OFFSET_COMPACTED', detail: 'start over', retryable: false };
    const server = await serve((_seen, response, _request, count) => {
      if (count === 1) json(response, 410, compacted);
      else response.writeHead(200).end(`${JSON.stringify({ error: compacted })}\n`);
    });
    const client = new SpectorClient({ nodes: server.url });
    await expect(client.changes({ cursor: 'old' }).next()).rejects.toMatchObject({
      code: 'OFFSET_COMPACTED',
      status: 410,
    });
    await expect(client.changes({ cursor: 'old' }).next()).rejects.toMatchObject({
      code: 'OFFSET_COMPACTED',
      detail: 'start over',
    });
  });

  it('reads events, reconnecting', async () => {
    const server = await serve((_seen, response, _request, count) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`: hello\n\nevent: heartbeat\ndata: {"n":${count}}\nid: ${count}\n\nevent: cut off\ndata`);
    });
    const events: unknown[] = [];
    for await (const event of new SpectorClient({ nodes: server.url }).events({ filter: ['cluster', 'document'] })) {
      events.push(event);
      if (events.length === 2) break;
    }
    expect(events).toEqual([
      { type: 'heartbeat', data: { n: 1 }, id: '1' },
      { type: 'heartbeat', data: { n: 2 }, id: '2' },
    ]);
    expect(server.seen[0].url).toBe('/api/v1/events?filter=cluster%2Cdocument');
  });
});

describe('probes', () => {
  it('give any status as it is, once', async () => {
    const server = await serve((_seen, response) => {
      response.writeHead(503, { 'content-type': 'application/json' }).end('{"status":"DOWN"}');
    });
    expect(await new SpectorClient({ nodes: server.url }).health()).toEqual({
      ok: false,
      status: 503,
      body: { status: 'DOWN' },
    });
    expect(server.seen).toHaveLength(1);
  });
});
