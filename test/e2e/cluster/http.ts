import { request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface HttpOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is; an iterable is sent chunk by chunk. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array | string>;
  /** Sent as JSON, with its content type. */
  readonly json?: unknown;
  readonly timeoutMs?: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Parsed body; undefined when it is not JSON. */
  readonly json: unknown;
}

/** One raw request, on a connection of its own: the path and the headers go out exactly as given, nothing is retried. */
export async function http(base: string, path: string, options: HttpOptions = {}): Promise<HttpAnswer> {
  const { hostname, port } = new URL(base);
  const headers = { ...(options.json === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers };
  const body = options.json === undefined ? options.body : JSON.stringify(options.json);
  return new Promise((resolve, reject) => {
    const sent = request(
      { hostname, port, path, method: options.method ?? 'GET', headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const flat = Object.entries(response.headers).map(([name, value]) => [
            name,
            Array.isArray(value) ? value.join(', ') : (value ?? ''),
          ]);
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(flat) as Record<string, string>,
            text,
            json: parsed(text),
          });
        });
      },
    );
    sent.setTimeout(options.timeoutMs ?? 30_000, () =>
      sent.destroy(
        new Error(`no answer to ${options.method ?? 'GET'} ${path} within ${options.timeoutMs ?? 30_000} ms`),
      ),
    );
    sent.on('error', reject);
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) sent.end(body);
    else pipeline(Readable.from(body), sent).catch(reject);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
