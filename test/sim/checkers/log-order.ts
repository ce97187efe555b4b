import { compareEpochs } from '../../../src/kernel/epoch.js';
import type { Epoch } from '../../../src/kernel/epoch.js';
import { equalBytes, toHex } from '../../../src/kernel/bytes.js';
import { epochText } from './observation.js';
import type { StoredEntry } from './observation.js';
import type { Violation } from './violation.js';

/**
 * S3, S4, S5, S7 and S12 over every entry any copy ever stored, seen in the order in which they were stored.
 * `append` and `cut` are told what befalls each log; `granted` which promises left a node.
 */
export class LogOrder {
  readonly #bytes = new Map<string, { readonly bytes: Uint8Array; readonly by: string }>();
  readonly #logs = new Map<string, Log>();
  readonly #promises = new Map<string, Epoch>();
  /** Places of changes of the map, by operation: one that was discarded must not come back (9.1). */
  readonly #changes = new Map<string, string>();

  append(entry: StoredEntry): readonly Violation[] {
    const violations: Violation[] = [];
    const { nodeUuid, shard, epoch, offset } = entry;
    const where = `shard ${shard} offset ${offset} epoch ${epochText(epoch)} on ${nodeUuid.slice(0, 6)}`;

    const place = `${shard}|${epoch.num}|${toHex(epoch.uuid)}|${offset}`;
    const seen = this.#bytes.get(place);
    if (seen === undefined) this.#bytes.set(place, { bytes: entry.bytes, by: nodeUuid });
    else if (!equalBytes(seen.bytes, entry.bytes))
      violations.push({ rule: 'S3', detail: `${where}: other bytes than ${seen.by.slice(0, 6)} has there` });

    const log = this.#log(nodeUuid, shard);
    if (offset !== log.tail + 1) violations.push({ rule: 'S7', detail: `${where}: follows offset ${log.tail}` });
    if (compareEpochs(epoch, log.epoch) < 0)
      violations.push({ rule: 'S4', detail: `${where}: follows epoch ${epochText(log.epoch)}` });
    const before = entry.document === '' ? undefined : log.versions.get(entry.document);
    if (before !== undefined && entry.version <= before.version)
      violations.push({
        rule: 'S12',
        detail: `${where}: ${entry.document} at version ${entry.version} after ${before.version} at offset ${before.offset}`,
      });
    if (entry.op === 'MAP') {
      const operation = `${shard}|${entry.version.slice(-32)}`;
      const first = this.#changes.get(operation);
      if (first === undefined) this.#changes.set(operation, place);
      else if (first !== place)
        violations.push({ rule: 'S5', detail: `${where}: this change of the map stands at another place too` });
    }
    log.add(entry);
    return violations;
  }

  /** A log was cut behind `offset`: an intended truncation (replication 6.3). */
  cut(nodeUuid: string, shard: number, offset: number): void {
    this.#log(nodeUuid, shard).cut(offset);
  }

  /**
   * What came before the entries of a batch: a log that ended further on was cut; one whose start lies beyond its end was
   * replaced by a snapshot (replication 4.7).
   */
  settle(
    nodeUuid: string,
    shard: number,
    found: { readonly before: number; readonly start: number; readonly generation: number },
  ): void {
    const log = this.#log(nodeUuid, shard);
    if (log.generation === undefined) log.generation = found.generation;
    if (found.start > log.tail || found.generation !== log.generation) {
      const replaced = new Log();
      replaced.generation = found.generation;
      replaced.tail = found.start;
      this.#logs.set(`${nodeUuid}|${shard}`, replaced);
    } else if (found.before < log.tail) log.cut(found.before);
  }

  /** A node told a candidate that it refuses every epoch below. */
  granted(nodeUuid: string, shard: number, epoch: Epoch): readonly Violation[] {
    const key = `${nodeUuid}|${shard}`;
    const promised = this.#promises.get(key);
    if (promised !== undefined && compareEpochs(epoch, promised) < 0) {
      const detail = `shard ${shard} on ${nodeUuid.slice(0, 6)}: granted epoch ${epochText(epoch)} after ${epochText(promised)}`;
      return [{ rule: 'S4', detail }];
    }
    this.#promises.set(key, epoch);
    return [];
  }

  #log(nodeUuid: string, shard: number): Log {
    const key = `${nodeUuid}|${shard}`;
    let log = this.#logs.get(key);
    if (log === undefined) this.#logs.set(key, (log = new Log()));
    return log;
  }
}

class Log {
  tail = 0;
  generation: number | undefined;
  epoch: Epoch = { num: 0, uuid: new Uint8Array(16) };
  entries: StoredEntry[] = [];
  readonly versions = new Map<string, { readonly version: string; readonly offset: number }>();

  add(entry: StoredEntry): void {
    this.tail = entry.offset;
    this.epoch = entry.epoch;
    this.entries.push(entry);
    if (entry.document !== '') this.versions.set(entry.document, { version: entry.version, offset: entry.offset });
  }

  cut(offset: number): void {
    const kept = this.entries.filter((entry) => entry.offset <= offset);
    this.entries = [];
    this.versions.clear();
    this.tail = Math.min(this.tail, offset);
    this.epoch = { num: 0, uuid: new Uint8Array(16) };
    for (const entry of kept) this.add(entry);
  }
}
