import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect } from '@jest/globals';
import { startMemoryEdge, type MemoryEdge } from '../../src/modules/api/testing/memory-edge.js';
import { MemoryNode } from '../../src/modules/api/testing/memory-node.js';

export interface RestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
  readonly text: string;
}

/** Calls of an edge that all tests of a file share, empty before each of them; made at the top of the file. */
export class RestCalls {
  /** A test may put another one in its place, for its own time. */
  edge!: MemoryEdge;

  constructor() {
    beforeAll(async () => {
      this.edge = await startMemoryEdge();
    });
    afterAll(async () => {
      await this.edge[Symbol.asyncDispose]();
    });
    beforeEach(() => {
      const { node } = this.edge;
      node.documents.clear();
      node.log.length = 0;
      node.writes.length = 0;
      node.searches.length = 0;
      node.failWith = undefined;
      node.beforeItem = new MemoryNode().beforeItem;
    });
  }

  readonly call = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<RestAnswer> => {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    const answer = await fetch(this.edge.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const json = (answer.headers.get('content-type') ?? '').includes('json') && text !== '' && !text.includes('\n');
    return {
      status: answer.status,
      headers: answer.headers,
      body: json ? (JSON.parse(text) as Record<string, unknown>) : {},
      text,
    };
  };

  readonly search = (body: unknown): Promise<RestAnswer> => this.call('POST', '/api/v1/search', body);

  readonly ingest = (body: unknown): Promise<RestAnswer> => this.call('POST', '/api/v1/ingest', body);

  /** Sends bytes and reads the answer until the connection closes. */
  raw(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(this.edge.url).port), '127.0.0.1', () => socket.write(text));
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      socket.on('close', () => resolve(answer));
      socket.on('error', reject);
    });
  }
}

/** Expects a problem document with this status and code. */
export async function refused(
  answer: Promise<RestAnswer>,
  status: number,
  code: string,
  detail?: RegExp,
): Promise<RestAnswer> {
  const found = await answer;
  expect({ status: found.status, code: found.body.code, detail: found.body.detail }).toEqual({
    status,
    code,
    detail: detail === undefined ? expect.any(String) : expect.stringMatching(detail),
  });
  expect(found.headers.get('content-type')).toBe('application/problem+json');
  expect(found.body).toMatchObject({
    type: `urn:spector:error:${code}`,
    status,
    instance: expect.stringMatching(/^urn:uuid:/),
  });
  return found;
}

/** Polls a condition; fails after 5 s. */
export async function until(holds: () => boolean, everyMs = 5): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
