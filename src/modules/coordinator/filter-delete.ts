import { NodeError } from '../../kernel/errors.js';
import type { JsonValue } from '../../kernel/json.js';
import { versionText } from '../../kernel/version.js';
import type { NodeConfig } from '../../platform/config/node-config.js';
import type { ReplicationService } from '../replication/replication.service.js';
import type { Collection } from '../ring/core/map.js';
import type { Filter } from '../shard/core/filter.js';
import { BulkRun } from './bulk-run.js';
import type { DeleteManyAnswer } from './coordinator.js';
import { foldPositions, type Position, type Positions } from './core/positions.js';
import type { BulkItem, CallContext, WriteOptions } from './core/requests.js';
import type { DocumentPage, GatedCall, GatedValue, ShardAsk, ShardGate } from './core/shard-calls.js';
import { Deadline } from './deadline.js';
import type { FanOut } from './fan-out.js';
import { notCaughtUp, type Sessions } from './session.js';
import type { Begun, Writer } from './writer.js';

/** Documents a delete by filter takes at once. */
const DELETE_PAGE = 500;
/** Documents that change while one without a key runs are looked at again, at most this often. */
const DELETE_PASSES = 3;
const NO_FIELDS = { title: false, content: false, metadata: false, vector: false };
const NOWHERE: Positions = new Map();

/** A document to delete. */
export interface Target {
  readonly id: string;
  /** Only while it still has it. */
  readonly version?: string;
  /** Instead of a key made of the request's. */
  readonly key?: Uint8Array;
}

/** Deletes documents as a bulk request would, and says where. */
export async function deleteAll(
  writer: Writer,
  targets: readonly Target[],
  options: WriteOptions,
  signal: AbortSignal,
): Promise<Omit<DeleteManyAnswer, 'session'> & { readonly positions: Positions }> {
  const run = new BulkRun(writer, options, signal, () => undefined);
  const answer = await run.run(deletions(targets));
  return {
    deleted: answer.success,
    failed: answer.failed,
    errors: answer.errors.map(({ id, code, detail }) => ({ id: id ?? '', code, detail })),
    positions: run.positions,
  };
}

/**
 * Deletes what matches a filter, page by page, each document as it was seen.
 *
 * Under an idempotency key the request begins at one place in the log of each shard, which is logged under the key before the
 * first document is deleted. It takes the documents that match and are logged before that place, each under an operation id
 * of its own, and answers how many of those ids the shards know: so a repetition, whole or half, through any node and after
 * any failover, deletes what the first one left, counts all of it once, and touches nothing written since (replication 2.10).
 */
export class FilterDelete {
  constructor(
    private readonly config: NodeConfig,
    private readonly replication: ReplicationService,
    private readonly fanOut: FanOut,
    private readonly writer: Writer,
    private readonly sessions: Sessions,
  ) {}

  run(collection: Collection, filter: Filter, options: WriteOptions, call: CallContext): Promise<DeleteManyAnswer> {
    const { idempotencyKey: key, ...once } = options;
    return key === undefined
      ? this.#once(collection, filter, once, call)
      : this.#keyed(collection, filter, key, once, call);
  }

  /** What changed meanwhile is looked at again. */
  async #once(
    collection: Collection,
    filter: Filter,
    options: WriteOptions,
    call: CallContext,
  ): Promise<DeleteManyAnswer> {
    const tally = new Tally();
    for (let pass = 0; pass < DELETE_PASSES; pass++) {
      let changed = 0;
      for (const shard of this.#shards()) {
        for await (const { documents } of this.#pages(shard, collection.id, filter, NOWHERE, call)) {
          const found = documents.map(({ id, version }) => ({ id, version }));
          const answer = await deleteAll(this.writer, found, options, call.signal);
          // What still changes in the last pass is told.
          const others = pass + 1 < DELETE_PASSES ? withoutChanged(answer.errors) : answer.errors;
          const again = answer.errors.length - others.length;
          changed += again;
          tally.deleted += answer.deleted;
          tally.add({ failed: answer.failed - again, errors: others, positions: answer.positions });
        }
      }
      if (changed === 0) break;
    }
    return this.#answer(tally, call);
  }

  /** What changed since the request began stays. */
  async #keyed(
    collection: Collection,
    filter: Filter,
    key: string,
    options: WriteOptions,
    call: CallContext,
  ): Promise<DeleteManyAnswer> {
    const tally = new Tally();
    const asked = ['delete by filter', collection.id, filter as unknown as JsonValue];
    const places = await this.#begin(key, asked, options, call);
    const made = new Map<number, number>();
    for (const begun of places) {
      const { shard, offset } = begun;
      const seen = new Map([[shard, positionOf(begun)]]);
      tally.add({ failed: 0, errors: [], positions: seen });
      for await (const { documents, offsets } of this.#pages(shard, collection.id, filter, seen, call)) {
        const found = documents
          .filter((_, at) => offsets[at] < offset)
          .map(({ id, version }) => ({ id, version, key: begun.operationOf(id) }));
        const answer = await deleteAll(this.writer, found, options, call.signal);
        const unknown = answer.errors.find(({ code }) => code === 'WRITE_OUTCOME_UNKNOWN');
        // Whether it counts is not known before the request comes again.
        if (unknown !== undefined) throw new NodeError('WRITE_OUTCOME_UNKNOWN', unknown.detail);
        const errors = withoutChanged(answer.errors);
        const failed = answer.failed - (answer.errors.length - errors.length);
        tally.add({ failed, errors, positions: answer.positions });
        made.set(shard, (made.get(shard) ?? 0) + answer.deleted);
      }
    }
    for (const begun of places) {
      const { shard, prefix } = begun;
      const own = made.get(shard) ?? 0;
      const known = await this.#count(shard, prefix, tally.positions, call);
      if (known > own) tally.add(await this.#settled(begun, known, asked, options, call));
      // More than a shard remembers: it forgets the first of them.
      tally.deleted += Math.max(known, own);
    }
    return this.#answer(tally, call);
  }

  /** The shard that the key belongs to decides whether it is free; then the others. */
  async #begin(
    key: string,
    asked: JsonValue,
    { consistency }: WriteOptions,
    { timeoutMs }: CallContext,
  ): Promise<readonly Begun[]> {
    const begin = (shard: number, name: string): Promise<Begun> =>
      this.writer.begin(shard, { key: name, asked, consistency, timeoutMs });
    const home = this.replication.map.ring().shardOf(key);
    const first = await begin(home, key);
    const others = this.#shards().filter((shard) => shard !== home);
    return [first, ...(await Promise.all(others.map((shard) => begin(shard, `${key}\nshard ${shard}`))))];
  }

  /**
   * What others deleted for this request counts once it has the level that is asked for now, as every result of a key: which
   * what is logged behind it tells, once for each count. Where that is, a session has seen all of it.
   */
  async #settled(
    { shard, version }: Begun,
    known: number,
    asked: JsonValue,
    { consistency }: WriteOptions,
    { timeoutMs }: CallContext,
  ): Promise<Parameters<Tally['add']>[0]> {
    const key = `${versionText(version)}\n${known}`;
    const end = await this.writer.begin(shard, { key, asked, consistency, timeoutMs });
    return { failed: 0, errors: [], positions: new Map([[shard, positionOf(end)]]) };
  }

  /** Matching documents as their primary has them, once its index has what is logged at `seen`. */
  async *#pages(
    shard: number,
    collectionId: number,
    filter: Filter,
    seen: Positions,
    call: CallContext,
  ): AsyncGenerator<DocumentPage, void, undefined> {
    const rest = { collectionId, filter, limit: DELETE_PAGE, fields: NO_FIELDS };
    let after: string | undefined;
    for (let more = true; more && !call.signal.aborted;) {
      const from = after;
      const page = await this.#ask('page', shard, (asked) => ({ ...asked, ...rest, after: from }), seen, call);
      yield page;
      after = page.last;
      more = page.more;
    }
  }

  #count(shard: number, prefix: Uint8Array, seen: Positions, call: CallContext): Promise<number> {
    return this.#ask('operations', shard, (asked) => ({ ...asked, prefix }), seen, call);
  }

  async #ask<C extends GatedCall>(
    kind: C,
    shard: number,
    make: (asked: { readonly mapEpoch: number; readonly gates: readonly ShardGate[] }) => ShardAsk<C>,
    session: Positions,
    call: CallContext,
  ): Promise<GatedValue<C>> {
    const { epoch: mapEpoch } = this.replication.map.current();
    const deadline = new Deadline(call, this.config.queryTimeoutMs);
    try {
      const options = { deadline, session, primary: true };
      const answer = await this.fanOut.ask(kind, [shard], (gates) => make({ mapEpoch, gates }), options);
      if (answer.notCaughtUp.length > 0) throw notCaughtUp(answer.notCaughtUp);
      const found = answer.values.get(shard);
      if (found === undefined)
        throw new NodeError(
          'SHARD_UNAVAILABLE',
          `shard ${shard} cannot be searched now, and a part of the documents may be deleted; send it again`,
          { retryAfterMs: 1_000 },
        );
      return found.value;
    } finally {
      deadline.end();
    }
  }

  #shards(): readonly number[] {
    return Array.from({ length: this.replication.map.current().shardCount }, (_, shard) => shard);
  }

  #answer({ deleted, failed, errors, positions }: Tally, call: CallContext): DeleteManyAnswer {
    return { deleted, failed, errors, session: this.sessions.fold(this.sessions.read(call.session), positions) };
  }
}

const ERRORS_MAX = 1_000;

/** What the pages add up to. */
class Tally {
  deleted = 0;
  failed = 0;
  readonly errors: { readonly id: string; readonly code: string; readonly detail: string }[] = [];
  positions: Positions = NOWHERE;

  add(page: Pick<DeleteManyAnswer, 'failed' | 'errors'> & { readonly positions: Positions }): void {
    this.failed += page.failed;
    this.errors.push(...page.errors.slice(0, ERRORS_MAX - this.errors.length));
    this.positions = foldPositions(this.positions, page.positions);
  }
}

function withoutChanged(errors: DeleteManyAnswer['errors']): DeleteManyAnswer['errors'] {
  return errors.filter(({ code }) => code !== 'VERSION_CONFLICT');
}

function positionOf({ epoch, reign, offset }: Begun): Position {
  return { epoch, reign, offset };
}

async function* deletions(targets: readonly Target[]): AsyncGenerator<BulkItem> {
  for (const target of targets) yield await Promise.resolve({ kind: 'delete', bytes: 0, ...target });
}
