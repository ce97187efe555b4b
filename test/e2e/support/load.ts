import { everything } from './documents.js';
import type { History, Seen, Write } from './history.js';
import { Random, words } from './random.js';
import { Rest, type Answer } from './rest.js';

const DIMENSIONS = 4;
/** Few, so that writes meet. */
const IDS = 60;

/** What a load writes, so that a value is found again in every part of a document. */
export function valueOf(document: { readonly metadata?: Readonly<Record<string, unknown>> }): string {
  return String(document.metadata?.value);
}

/**
 * Clients that write to few ids until they are stopped or the node dies: upserts, deletions, conditional and repeated
 * ones, and bulks. Everything they send is in the history, with what they were answered.
 */
export class Load {
  private readonly random: Random;
  private serial = 0;
  private stopping = false;
  private readonly running: Promise<void>[] = [];
  private readonly surprises: string[] = [];
  private readonly rest: Rest;

  /** @param run tells the values of this load from those of others */
  constructor(
    base: string,
    private readonly history: History,
    private readonly run: string,
    seed: number,
    clients = 12,
  ) {
    this.rest = new Rest(base);
    this.random = new Random(seed);
    for (let i = 0; i < clients; i++) this.running.push(this.client());
  }

  /** Resolves when `count` writes in all were acknowledged, or when the clients are done for. */
  async acknowledged(count: number): Promise<void> {
    const ended = Promise.all(this.running).then(() => true);
    while (this.history.acknowledged < count) {
      const over = await Promise.race([ended, new Promise((resolve) => setTimeout(() => resolve(false), 2))]);
      if (over === true) return;
    }
  }

  /** Lets every client finish the request it is waiting for. Rejects when one was answered what it never should be. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.running);
    await this.rest.close();
    if (this.surprises.length > 0) throw new Error(this.surprises.join('\n'));
  }

  private async client(): Promise<void> {
    while (!this.stopping) {
      try {
        await this.act();
      } catch {
        return; // the connection is gone: so is the node
      }
    }
  }

  private act(): Promise<void> {
    const dice = this.random.next();
    if (dice < 0.55) return this.upsert();
    if (dice < 0.75) return this.remove();
    return this.bulk();
  }

  private id(): string {
    return `id-${this.random.integer(0, IDS - 1)}`;
  }

  private document(): { readonly value: string; readonly fields: object } {
    const value = `${this.run}-${++this.serial}`;
    const fields = {
      title: value,
      content: words(this.random, 12),
      vector: this.random.vector(DIMENSIONS),
      metadata: { value, parity: this.serial % 2 },
    };
    return { value, fields };
  }

  private async upsert(): Promise<void> {
    const { value, fields } = this.document();
    const id = this.id();
    const write = this.history.begin(id, value);
    const condition: Record<string, string> = this.random.next() < 0.15 ? { 'if-none-match': '*' } : {};
    const answer = await tried(write, () => this.rest.put(`/api/v1/documents/${id}`, fields, condition));
    if (answer.status === 200 || answer.status === 201) write.acknowledge(answer.json<{ version: string }>().version);
    else this.refused(write, answer, [409]);
  }

  private async remove(): Promise<void> {
    const id = this.id();
    const write = this.history.begin(id, undefined);
    const answer = await tried(write, () => this.rest.delete(`/api/v1/documents/${id}`));
    if (answer.status === 200) write.acknowledge(answer.json<{ version: string }>().version);
    else this.refused(write, answer, [404]);
  }

  /** Settles a write that was answered with no success; any status but those that its request may have is a surprise. */
  private refused(write: Write, answer: Answer, expected: readonly number[]): void {
    // Refusals before anything is written, or nobody knows.
    if (answer.status < 500 || answer.status === 507) write.refuse();
    else write.lose();
    if (!expected.includes(answer.status)) this.surprises.push(`${write.id}: ${answer.status} ${answer.text}`);
  }

  /**
   * A bulk's answer has no versions: its writes are acknowledged as what a read afterwards shows, if the read shows them
   * at all; those overwritten in between stay unknown, which forgives more than it should, but never a lost single write.
   */
  private async bulk(): Promise<void> {
    const items = Array.from({ length: 6 }, () => {
      const { value, fields } = this.document();
      const id = this.id();
      return { id, value, line: { id, ...fields }, write: this.history.begin(id, value) };
    });
    const body = items.map(({ line }) => `${JSON.stringify(line)}\n`).join('');
    try {
      const answer = await this.rest.bulk(body);
      if (answer.status !== 201) {
        this.surprises.push(`a bulk: ${answer.status} ${answer.text}`);
        throw new Error('a bulk was refused');
      }
      const read = await this.rest.post('/api/v1/documents/get?consistency=primary', {
        ids: items.map(({ id }) => id),
      });
      const { documents } = read.json<{ documents: { id: string; version: string; metadata: { value: string } }[] }>();
      for (const { id, value, write } of items) {
        const found = documents.find((document) => document.id === id);
        if (found?.metadata.value === value) write.acknowledge(found.version);
        else write.lose();
      }
    } catch (error) {
      for (const { write } of items) if (write.outcome.kind === 'open') write.lose();
      throw error;
    }
  }
}

async function tried<T>(write: Write, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    write.lose();
    throw error;
  }
}

/** The state of a node as the history wants it; every part of a document must tell the same value. */
export async function stateOf(rest: Rest): Promise<Map<string, Seen>> {
  const state = new Map<string, Seen>();
  for (const document of await everything(rest)) {
    if (state.has(document.id)) throw new Error(`${document.id} is there twice`);
    const value = valueOf(document);
    if (document.title !== value) throw new Error(`${document.id} is of two writes: ${document.title} and ${value}`);
    if (document.vector?.length !== DIMENSIONS) throw new Error(`${document.id} lost its vector`);
    state.set(document.id, { version: document.version, value });
  }
  return state;
}
