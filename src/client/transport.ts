import { Deadline } from './deadline.js';
import type { NodeList } from './node-list.js';
import { retryDelayMs } from './retry-policy.js';
import type { Session } from './session.js';
import { errorOfAnswer, SpectorError } from './spector-error.js';

/** The part of `fetch` the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface TransportOptions {
  readonly nodes: NodeList;
  readonly apiKey: string | undefined;
  /** Milliseconds for a whole call. */
  readonly timeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly fetch: Fetch;
  /** Undefined: no session is kept. */
  readonly session: Session | undefined;
}

/** One call of the REST interface. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute path of the resource, each segment encoded. */
  readonly path: string;
  /** Absent members are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: { readonly type: string; readonly content: string | Uint8Array };
  /** Whether it changes documents: its token is the newer promise. */
  readonly write?: boolean;
  /** Whether it may be sent again when a connection broke midway. Refusals are always safe to repeat. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly retries?: number;
  /** Whether an answer that is not 2xx is nevertheless the answer. Default: never. */
  readonly accept?: (answer: Answer) => boolean;
  /** Whether an accepted answer asks for another attempt; the last one is returned when attempts run out. */
  readonly again?: (answer: Answer) => boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed text when the content type is JSON; undefined otherwise. */
  readonly json: unknown;
  readonly node: string;
}

/** An answer whose body is still arriving. */
export interface OpenAnswer {
  readonly stream: ReadableStream<Uint8Array>;
  readonly headers: Headers;
  readonly node: string;
  /** Frees the connection; call it once, whatever happens. */
  readonly release: () => void;
}

/** Sends calls to the nodes: headers, one deadline, retries with back-off, the next node of the list, the session. */
export class Transport {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** The whole answer of a call. Rejects with SpectorError, or with the reason of the caller's signal. */
  request(call: Call): Promise<Answer> {
    return this.#withRetries(call, async (deadline, node) => {
      const attempt = deadline.attempt(this.#attemptLimitMs(deadline));
      try {
        const sent = this.#options.session?.token;
        const answer = await readAnswer(await this.#send(call, node, attempt.signal, sent), node);
        return this.#take(answer, call, sent);
      } catch (error) {
        throw asSpectorError(error, attempt.signal, deadline, node);
      } finally {
        attempt.release();
      }
    });
  }

  /** Opens a stream; the deadline covers the time until its head. The caller's signal ends it later too. */
  open(call: Call): Promise<OpenAnswer> {
    return this.#withRetries(call, async (deadline, node) => {
      const attempt = new Deadline(Infinity, call.signal).attempt(Infinity);
      const timer = setTimeout(
        () =>
          attempt.controller.abort(
            new SpectorError({ code: 'TIMEOUT', status: 0, detail: 'no answer in time', retryable: true, node }),
          ),
        Math.min(deadline.remainingMs(), 2 ** 31 - 1),
      );
      const release = (): void => {
        attempt.release();
        attempt.controller.abort();
      };
      try {
        const response = await this.#send(call, node, attempt.signal, this.#options.session?.token);
        if (!response.ok) throw errorOfAnswer(response.status, await response.text(), node);
        if (response.body === null) throw errorOfAnswer(response.status, '', node);
        return { stream: response.body, headers: response.headers, node, release };
      } catch (error) {
        const failure = asSpectorError(error, attempt.signal, deadline, node);
        release();
        throw failure;
      } finally {
        clearTimeout(timer);
      }
    });
  }

  /**
   * Sends a body as it is made, in one attempt: what was sent cannot be taken back. `signal` must end it when the node
   * stops reading; no other limit of time applies.
   */
  async upload(
    call: Omit<Call, 'body'>,
    type: string,
    body: ReadableStream<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const node = this.#options.nodes.current();
    const sent = this.#options.session?.token;
    try {
      const response = await this.#options.fetch(this.#url(call, node), {
        method: call.method,
        headers: { ...this.#headers(call, sent), 'content-type': type },
        body,
        signal,
        duplex: 'half',
      });
      return this.#take(await readAnswer(response, node), call, sent);
    } catch (error) {
      const failure = asSpectorError(error, signal, new Deadline(Infinity, call.signal), node);
      if (failure instanceof SpectorError && failure.code === 'UNREACHABLE') this.#options.nodes.leave(node);
      throw failure;
    }
  }

  async #withRetries<T extends object>(
    call: Call,
    attemptOnce: (deadline: Deadline, node: string) => Promise<T>,
  ): Promise<T> {
    const { nodes } = this.#options;
    const deadline = new Deadline(call.timeoutMs ?? this.#options.timeoutMs, call.signal);
    const retries = call.retries ?? this.#options.retries;
    for (let attempt = 1; ; attempt++) {
      deadline.throwIfAborted();
      const node = nodes.current();
      try {
        const result = await attemptOnce(deadline, node);
        if (attempt > retries || !isAnswer(result) || call.again?.(result) !== true) return result;
        const delayMs = retryDelayMs(againError(node), attempt, nodes.length, Math.random());
        if (delayMs >= deadline.remainingMs()) return result;
        await deadline.wait(delayMs);
      } catch (error) {
        if (!(error instanceof SpectorError) || !error.retryable || attempt > retries) throw error;
        if (!call.repeatable && !wasNotTaken(error)) throw error;
        nodes.leave(node);
        const delayMs = retryDelayMs(error, attempt, nodes.length, Math.random());
        if (delayMs >= deadline.remainingMs()) throw error;
        await deadline.wait(delayMs);
      }
    }
  }

  /** With other nodes to ask, a silent one must not use up the whole deadline. */
  #attemptLimitMs(deadline: Deadline): number {
    return this.#options.nodes.length === 1 ? Infinity : Math.max(1_000, deadline.timeoutMs * 0.4);
  }

  #send(call: Call, node: string, signal: AbortSignal, session: string | undefined): Promise<Response> {
    const headers = this.#headers(call, session);
    if (call.body !== undefined) headers['content-type'] = call.body.type;
    return this.#options.fetch(this.#url(call, node), {
      method: call.method,
      headers,
      signal,
      ...(call.body === undefined ? {} : { body: call.body.content }),
    });
  }

  #url(call: Omit<Call, 'body'>, node: string): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {}))
      if (value !== undefined) query.set(name, String(value));
    return `${node}${call.path}${query.size === 0 ? '' : `?${query.toString()}`}`;
  }

  #headers(call: Omit<Call, 'body'>, session: string | undefined): Record<string, string> {
    const { apiKey } = this.#options;
    return {
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      ...(session === undefined ? {} : { 'spector-session': session }),
      ...call.headers,
    };
  }

  /** The answer, its token folded into the session; throws the error it means instead. */
  #take(answer: Answer, call: Omit<Call, 'body'>, sent: string | undefined): Answer {
    const ok = answer.status >= 200 && answer.status < 300;
    if (!ok && call.accept?.(answer) !== true) throw errorOfAnswer(answer.status, answer.text, answer.node);
    const token = answer.headers.get('spector-session') ?? sessionOf(answer.json);
    if (token !== undefined) this.#options.session?.fold(token, sent, call.write === true);
    return answer;
  }
}

async function readAnswer(response: Response, node: string): Promise<Answer> {
  const text = await response.text();
  const answer = { status: response.status, headers: response.headers, text, node };
  if (!/\bjson\b/i.test(response.headers.get('content-type') ?? '') || text === '')
    return { ...answer, json: undefined };
  try {
    return { ...answer, json: JSON.parse(text) as unknown };
  } catch {
    throw errorOfAnswer(response.status, text, node); // BAD_ANSWER: it says JSON and is not.
  }
}

function sessionOf(json: unknown): string | undefined {
  if (typeof json !== 'object' || json === null || !('session' in json)) return undefined;
  return typeof json.session === 'string' && json.session !== '' ? json.session : undefined;
}

function isAnswer(result: object): result is Answer {
  return 'text' in result;
}

function againError(node: string): SpectorError {
  return new SpectorError({
    code: 'OVERLOADED',
    status: 0,
    detail: 'some lines may succeed later',
    retryable: true,
    node,
  });
}

/** Whether the node cannot have begun: it refused before acting, or no connection came about. */
function wasNotTaken(error: SpectorError): boolean {
  if (error.code === 'UNREACHABLE') return causeCode(error.cause) === 'ECONNREFUSED';
  return error.status === 429 || error.status === 503;
}

function asSpectorError(error: unknown, signal: AbortSignal, deadline: Deadline, node: string): unknown {
  if (deadline.aborted()) return signal.reason;
  if (signal.aborted && signal.reason instanceof SpectorError) return signal.reason;
  if (error instanceof SpectorError) return error;
  return connectionError(error, node);
}

/** The UNREACHABLE behind a failed fetch or a broken body. */
export function connectionError(error: unknown, node: string): SpectorError {
  const code = causeCode(error);
  const reason = code ?? deepestMessage(error);
  const sentence =
    code === 'ECONNREFUSED'
      ? `nothing listens at ${node} (ECONNREFUSED)`
      : `the connection to ${node} failed (${reason})`;
  return new SpectorError({
    code: 'UNREACHABLE',
    status: 0,
    detail: `${sentence}; is the node running, and is this its address?`,
    retryable: true,
    node,
    cause: error,
  });
}

/** The sentence at the end of the chain of causes: fetch itself says no more than that it failed. */
function deepestMessage(error: unknown): string {
  let at: unknown = error;
  for (let depth = 0; depth < 5 && at instanceof Error && at.cause instanceof Error; depth++) at = at.cause;
  return at instanceof Error ? at.message : String(at);
}

/** `ECONNREFUSED` and the like, from anywhere in the chain of causes; fetch hides it one or two levels down. */
function causeCode(error: unknown): string | undefined {
  let at: unknown = error;
  for (let depth = 0; depth < 5 && typeof at === 'object' && at !== null; depth++) {
    if ('code' in at && typeof at.code === 'string' && !(at instanceof SpectorError)) return at.code;
    at =
      'errors' in at && Array.isArray(at.errors) && at.errors.length > 0
        ? (at.errors as unknown[])[0]
        : 'cause' in at
          ? at.cause
          : undefined;
  }
  return undefined;
}
