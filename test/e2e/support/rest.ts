import { Agent, request } from 'undici';

/** A whole answer, its body read. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The body as JSON, as the caller expects it. */
  json<T = Readonly<Record<string, unknown>>>(): T;
}

/** What a request may carry beside its path. */
export interface SendOptions {
  /** Sent as application/json. */
  readonly json?: unknown;
  /** Sent as it is; its content type belongs into `headers`. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer whose body is still coming. */
export interface StreamedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Goes away as a client does that closes its connection. */
  abort(): void;
}

/** A bare HTTP client: it sends exactly what it is given, retries nothing and hides nothing. */
export class Rest {
  private readonly agent: Agent;

  /**
   * @param base `http://127.0.0.1:<port>`
   * @param headers sent with every request
   */
  constructor(
    readonly base: string,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {
    this.agent = new Agent({ connections: 128, keepAliveTimeout: 1_000, headersTimeout: 60_000, bodyTimeout: 60_000 });
  }

  /** The same node, with other headers on every request; close both. */
  with(headers: Readonly<Record<string, string>>): Rest {
    return new Rest(this.base, { ...this.headers, ...headers });
  }

  get(path: string, options: SendOptions = {}): Promise<Answer> {
    return this.send('GET', path, options);
  }

  post(path: string, json: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send('POST', path, { json, headers });
  }

  put(path: string, json: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send('PUT', path, { json, headers });
  }

  patch(path: string, json: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send('PATCH', path, { json, headers });
  }

  delete(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send('DELETE', path, { headers });
  }

  /** Lines of NDJSON to the bulk call. */
  bulk(lines: string | AsyncIterable<Uint8Array>, query = ''): Promise<Answer> {
    return this.send('POST', `/api/v1/ingest/bulk${query}`, {
      body: lines,
      headers: { 'content-type': 'application/x-ndjson' },
    });
  }

  async send(method: string, path: string, options: SendOptions = {}): Promise<Answer> {
    const { statusCode, headers, body } = await this.start(method, path, options);
    const text = await body.text();
    return { status: statusCode, headers: flat(headers), text, json: <T>() => JSON.parse(text) as T };
  }

  /** Sends a request and gives the answer as soon as its headers are there. */
  async stream(method: string, path: string, options: SendOptions = {}): Promise<StreamedAnswer> {
    const controller = new AbortController();
    const { statusCode, headers, body } = await this.start(method, path, options, controller.signal);
    body.on('error', () => undefined); // an abort of ours ends the body with an error; the reader sees it as the end
    return {
      status: statusCode,
      headers: flat(headers),
      chunks: body,
      abort: () => controller.abort(),
    };
  }

  close(): Promise<void> {
    return this.agent.destroy();
  }

  private start(method: string, path: string, options: SendOptions, signal?: AbortSignal) {
    const { json, body } = options;
    return request(this.base + path, {
      dispatcher: this.agent,
      method: method as 'GET',
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...this.headers,
        ...options.headers,
      },
      body: json === undefined ? (body as string | undefined) : JSON.stringify(json),
      signal,
    });
  }
}

function flat(headers: Readonly<Record<string, string | readonly string[] | undefined>>): Record<string, string> {
  const one: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) one[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return one;
}
