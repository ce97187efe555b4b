import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { LIMITS } from '../../kernel/limits.js';
import { refused, RestCalls, until } from '../../../test/contract/rest-calls.js';

/** The header of gzip, and no valid block. */
const DAMAGED_MEMBER = Buffer.alloc(8 * 1024 * 1024, 0xff).fill(Buffer.from('1f8b0800000000000003', 'hex'), 0, 10);

const rest = new RestCalls();
const { call } = rest;

describe('bulks', () => {
  const bulk = (body: unknown, type = 'application/x-ndjson', headers = {}) =>
    call('POST', '/api/v1/ingest/bulk', body, { 'content-type': type, ...headers });

  it('stores the good lines and lists the bad ones', async () => {
    const lines = [
      '{"id":"a","title":"x"}\r',
      '',
      '  ',
      '{"id":"b"',
      '{"op":"patch","id":"a","title":"y"}',
      '{"op":"drop","id":"c"}',
      '{"id":"d","vector":["x"]}',
      '{"op":"delete","id":"a"}',
      '{"id":"e","title":"last"}',
    ];
    const answer = await bulk(lines.join('\n'));
    expect(answer).toMatchObject({ status: 200, body: { total: 7, success: 4, failed: 3, session: 's-bulk' } });
    expect(answer.body.errors).toEqual([
      { index: 1, id: null, code: 'INVALID_REQUEST', detail: expect.stringMatching(/not valid JSON/) },
      { index: 3, id: 'c', code: 'INVALID_REQUEST', detail: expect.stringMatching(/`op`/) },
      { index: 4, id: 'd', code: 'INVALID_REQUEST', detail: expect.stringMatching(/vector\[0\]/) },
    ]);
    expect([...rest.edge.node.documents.keys()]).toEqual(['e']);
    expect(await bulk('{"id":"a","title":"x"}\n')).toMatchObject({
      status: 201,
      body: { total: 1, success: 1, failed: 0, errors: [] },
    });
    expect(
      await bulk(gzipSync('{"id":"a","title":"x"}\n'), 'application/x-ndjson', { 'content-encoding': 'gzip' }),
    ).toMatchObject({ status: 201 });
  });

  it('takes the same items as JSON', async () => {
    const documents = [
      { id: 'a', title: 'x' },
      5,
      { id: 'b', title: 1 },
      { op: 'delete', id: 'a' },
      { id: 'é', title: 'y', metadata: { s: '],[{"' } },
    ];
    const answer = await bulk({ documents, consistency: 'all' }, 'application/json');
    expect(answer).toMatchObject({
      status: 200,
      body: { total: 5, success: 3, failed: 2, errors: [{ index: 1 }, { index: 2, id: 'b' }] },
    });
    expect(rest.edge.node.writes.at(-1)).toMatchObject({ consistency: 'all' });
    expect(rest.edge.node.documents.get('é')).toMatchObject({ metadata: { s: '],[{"' } });
  });

  it.each([
    ['no object', '[1]', /JSON object/],
    ['no documents', '{}', /`documents` is missing/],
    ['no array', '{"documents":{}}', /must be an array/],
    ['an unknown field', '{"documents":[{"id":"a","title":"x"}],"colection":"a"}', /did you mean `collection`/],
    ['a truncated text', '{"documents":[{"id":"a","title":"x"}', /position 36/],
    ['a malformed document', '{"documents":[{"id":"a","title":"x"},{"id":tru}]}', /position 43/],
    ['a trailing comma', '{"documents":[{"id":"a","title":"x"},]}', /not valid JSON/],
    ['two values in one place', '{"documents":[1 2]}', /not valid JSON/],
    ['nothing', '', /missing/],
    ['something behind', '{"documents":[]} x', /position 17/],
  ])('refuses an envelope with %s whole', async (_name, body, detail) => {
    await refused(bulk(body, 'application/json'), 400, 'INVALID_REQUEST', detail);
    expect(rest.edge.node.documents.size).toBe(0);
  });

  it('answers none stored as a problem that lists the items', async () => {
    const none = await refused(bulk('{"id":1}\n{"x":1}'), 400, 'INVALID_REQUEST');
    expect(none.body).toMatchObject({
      total: 2,
      success: 0,
      failed: 2,
      errors: [{ index: 0 }, { index: 1 }],
      session: 's-bulk',
    });
    await refused(bulk(''), 400, 'INVALID_REQUEST', /no documents/);
    rest.edge.node.failWith = 'INSUFFICIENT_STORAGE';
    await refused(bulk('{"id":"a","title":"x"}'), 507, 'INSUFFICIENT_STORAGE');
    rest.edge.node.failWith = 'NO_QUORUM';
    const shared = await refused(bulk('{"id":"a","title":"x"}\n{"id":"b","title":"x"}'), 503, 'NO_QUORUM');
    expect(shared.body.retryable).toBe(true);
  });

  it('counts the errors that are not listed as well', async () => {
    rest.edge.node.failWith = 'NO_QUORUM';
    const lines = '{"id":"a","title":"x"}\n'.repeat(LIMITS.bulkErrorsMax);
    await refused(bulk(lines), 503, 'NO_QUORUM');
    const mixed = await refused(bulk(`${lines}{"x":1}\n`), 400, 'INVALID_REQUEST');
    expect(mixed.body).toMatchObject({ total: LIMITS.bulkErrorsMax + 1, success: 0 });
    expect(mixed.body.errors).toHaveLength(LIMITS.bulkErrorsMax);
    expect(mixed.body).not.toHaveProperty('codes');
  });

  it('reads a stream no faster than it is stored', async () => {
    const line = `${JSON.stringify({ id: 'a', content: 'x'.repeat(64 * 1024) })}\n`;
    let sent = 0;
    let stored = 0;
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    rest.edge.node.beforeItem = async () => {
      stored++;
      if (stored === 5) await gate;
    };
    const body = new ReadableStream({
      pull(controller) {
        if (sent === 1_000) controller.close();
        else {
          sent++;
          controller.enqueue(Buffer.from(line));
        }
      },
    });
    const answer = fetch(`${rest.edge.url}/api/v1/ingest/bulk`, {
      method: 'POST',
      duplex: 'half',
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    });
    let before = -1;
    await until(() => {
      const still = stored === 5 && sent === before;
      before = sent;
      return still;
    }, 50);
    // 64 MiB in all: what the sockets and streams of both sides hold is far less.
    expect(sent).toBeLessThan(400);
    open();
    expect(await (await answer).json()).toMatchObject({ total: 1_000, success: 1_000 });
  });

  it('keeps what came before a broken connection', async () => {
    const socket = connect(Number(new URL(rest.edge.url).port), '127.0.0.1');
    const first = '{"id":"a","title":"x"}\n';
    socket.write(
      `POST /api/v1/ingest/bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const cut = `${first}{"id":"b","title":"y"}`;
    socket.write(`${cut.length.toString(16)}\r\n${cut}\r\n`);
    await until(() => rest.edge.node.documents.size === 1);
    socket.destroy();
    await until(() => rest.edge.node.calls.at(-1)?.signal.aborted === true);
    expect([...rest.edge.node.documents.keys()]).toEqual(['a']);
  });

  it.each([
    ['is cut off', (whole: Buffer) => whole.subarray(0, whole.length / 2)],
    // A second member, of a kind of block that there is not.
    ['is damaged, with much of it still to come', (whole: Buffer) => Buffer.concat([whole, DAMAGED_MEMBER])],
  ])('lists as the last error that the gzip %s, behind what was stored', async (_name, broken) => {
    const line = (i: number) => `{"id":"${i}","content":"${randomBytes(300).toString('base64')}"}\n`;
    const lines = Array.from({ length: 10_000 }, (_, i) => line(i)).join('');
    const answer = await bulk(broken(gzipSync(lines)), 'application/x-ndjson', { 'content-encoding': 'gzip' });
    const stored = rest.edge.node.documents.size;
    expect(stored).toBeGreaterThan(0);
    expect(answer).toMatchObject({
      status: 200,
      body: { total: stored + 1, success: stored, failed: 1, session: 's-bulk' },
    });
    expect(answer.body.errors).toEqual([
      { index: stored, id: null, code: 'INVALID_REQUEST', detail: 'the body is not valid gzip' },
    ]);
  });

  it('refuses what is no gzip at all as a bulk of which nothing was stored', async () => {
    const none = await refused(
      bulk('{"id":"a","title":"x"}', 'application/x-ndjson', { 'content-encoding': 'gzip' }),
      400,
      'INVALID_REQUEST',
      /the body is not valid gzip/,
    );
    expect(none.body).toMatchObject({ total: 1, success: 0, failed: 1, errors: [{ index: 0, id: null }] });
  });

  it('skips a line that is too long without keeping it', async () => {
    const long = `{"id":"b","content":"${'x'.repeat(LIMITS.lineBytesMax)}"}`;
    const answer = await bulk(`{"id":"a","title":"x"}\n${long}\n{"id":"c","title":"x"}`);
    expect(answer.body).toMatchObject({
      total: 3,
      success: 2,
      errors: [{ index: 1, id: null, code: 'PAYLOAD_TOO_LARGE' }],
    });
  });
});
