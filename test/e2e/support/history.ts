/** What a document is known by: its version, and a value no other write of the run wrote. */
export interface Seen {
  readonly version: string;
  readonly value: string;
}

type Outcome =
  | { readonly kind: 'open' }
  /** Answered as done. */
  | { readonly kind: 'acknowledged'; readonly version: string; readonly at: number }
  /** Answered as not done: it must never be seen. */
  | { readonly kind: 'refused' }
  /** In flight when the node died or the client gave up: done or not, both are right. */
  | { readonly kind: 'unknown' }
  /** Was unknown, and a check found another state: it lost, or was overwritten, and must not come back. */
  | { readonly kind: 'gone' };

/** One write as a client saw it. */
export class Write {
  outcome: Outcome = { kind: 'open' };

  /**
   * @param value undefined for a deletion
   * @param era lives of the node before it
   * @param began on the history's own clock
   */
  constructor(
    readonly id: string,
    readonly value: string | undefined,
    readonly era: number,
    readonly began: number,
    private readonly tick: () => number,
  ) {}

  acknowledge(version: string): void {
    this.outcome = { kind: 'acknowledged', version, at: this.tick() };
  }

  refuse(): void {
    this.outcome = { kind: 'refused' };
  }

  lose(): void {
    this.outcome = { kind: 'unknown' };
  }
}

/**
 * A history of writes to registers, one register per id, checked against what is found afterwards.
 *
 * Invariants checked: every acknowledged write is there with its version, or superseded by a higher one that somebody
 * wrote; a deletion that was acknowledged is not undone by an older write; nothing is found that nobody wrote, or that
 * was refused; writes that follow each other in time have rising versions. Writes whose outcome is unknown may have
 * happened or not, but once a check has looked, they stay as they were found.
 */
export class History {
  private readonly writes = new Map<string, Write[]>();
  private clock = 0;
  private era = 0;

  /** A write that starts now; `value` must be unique in the run, undefined deletes. */
  begin(id: string, value: string | undefined): Write {
    const write = new Write(id, value, this.era, ++this.clock, () => ++this.clock);
    const known = this.writes.get(id);
    if (known === undefined) this.writes.set(id, [write]);
    else known.push(write);
    return write;
  }

  /** Ids that were ever written. */
  get ids(): readonly string[] {
    return [...this.writes.keys()];
  }

  get acknowledged(): number {
    return this.count('acknowledged');
  }

  get unknown(): number {
    return this.count('unknown');
  }

  /** The node died: whatever is open has an unknown outcome, and what starts from now on comes after it. */
  endEra(): void {
    for (const write of this.all()) if (write.outcome.kind === 'open') write.lose();
    this.era++;
  }

  /** A copy as of now, in which everything that is not acknowledged may have happened or not. */
  snapshot(): History {
    const copy = new History();
    copy.clock = this.clock;
    copy.era = this.era;
    for (const [id, writes] of this.writes) {
      copy.writes.set(
        id,
        writes.map((write) => {
          const same = new Write(id, write.value, write.era, write.began, () => ++copy.clock);
          same.outcome = write.outcome.kind === 'open' ? { kind: 'unknown' } : write.outcome;
          return same;
        }),
      );
    }
    return copy;
  }

  /** Adds writes that began after a snapshot was taken: they may have happened or not. */
  adoptAsUnknown(later: History): void {
    for (const [id, writes] of later.writes) {
      const known = this.writes.get(id) ?? [];
      for (const write of writes) {
        if (known.some(({ began }) => began === write.began) || write.outcome.kind === 'refused') continue;
        const same = new Write(id, write.value, write.era, write.began, () => ++this.clock);
        same.outcome = { kind: 'unknown' };
        known.push(same);
      }
      this.writes.set(id, known);
    }
  }

  /**
   * What is wrong with `found`, the whole state after a restart, in sentences; none when all is well. Fixes unknown
   * outcomes by what was found. Call `endEra` first.
   */
  check(found: ReadonlyMap<string, Seen>): string[] {
    const problems: string[] = [];
    for (const [id, seen] of found) {
      if (!this.writes.has(id)) problems.push(`${id}: invented, nobody wrote it (version ${seen.version})`);
    }
    for (const [id, writes] of this.writes) {
      problems.push(...orderProblems(id, writes));
      const seen = found.get(id);
      problems.push(...(seen === undefined ? absenceProblems(id, writes) : presenceProblems(id, writes, seen)));
      settle(writes, seen, ++this.clock);
    }
    return problems;
  }

  private *all(): Iterable<Write> {
    for (const writes of this.writes.values()) yield* writes;
  }

  private count(kind: Outcome['kind']): number {
    let count = 0;
    for (const write of this.all()) if (write.outcome.kind === kind) count++;
    return count;
  }
}

function presenceProblems(id: string, writes: readonly Write[], seen: Seen): string[] {
  const source = writes.find(({ value }) => value === seen.value);
  if (source === undefined) return [`${id}: invented, nobody wrote ${seen.value}`];
  if (source.outcome.kind === 'refused') return [`${id}: ${seen.value} was refused, and is there`];
  if (source.outcome.kind === 'gone') return [`${id}: ${seen.value} had not survived an earlier restart, and is back`];
  if (source.outcome.kind === 'acknowledged' && source.outcome.version !== seen.version) {
    return [`${id}: ${seen.value} was acknowledged as ${source.outcome.version}, and has version ${seen.version}`];
  }
  const problems: string[] = [];
  for (const other of writes) {
    if (other.outcome.kind !== 'acknowledged') continue;
    if (other.outcome.version > seen.version) {
      const what = other.value === undefined ? 'resurrected, deleted' : `lost, ${other.value} acknowledged`;
      problems.push(`${id}: ${what} as ${other.outcome.version}, found ${seen.value} of ${seen.version}`);
    } else if (source.outcome.kind === 'unknown' && other.era > source.era) {
      problems.push(`${id}: ${seen.value} of an earlier life has a higher version than ${other.outcome.version}`);
    }
  }
  return problems;
}

function absenceProblems(id: string, writes: readonly Write[]): string[] {
  const last = lastAcknowledged(writes);
  if (last?.write.value === undefined) return [];
  const { era } = last.write;
  const maybeDeleted = writes.some(
    (write) => write.value === undefined && write.outcome.kind === 'unknown' && write.era >= era,
  );
  return maybeDeleted ? [] : [`${id}: lost, ${last.write.value} acknowledged as ${last.version}, nothing found`];
}

/** Acknowledged writes of which one ended before the other began have rising versions. */
function orderProblems(id: string, writes: readonly Write[]): string[] {
  const done = writes.flatMap(({ began, outcome }) => (outcome.kind === 'acknowledged' ? [{ began, ...outcome }] : []));
  done.sort((a, b) => a.at - b.at);
  const problems: string[] = [];
  for (const later of done) {
    let highest = '';
    for (const earlier of done) {
      if (earlier.at >= later.began) break;
      if (earlier.version > highest) highest = earlier.version;
    }
    if (highest !== '' && later.version <= highest) {
      problems.push(`${id}: version ${later.version} was given after ${highest}`);
    }
  }
  return problems;
}

/** What was unknown is now as it was found. */
function settle(writes: readonly Write[], seen: Seen | undefined, at: number): void {
  const deletion = seen === undefined ? decisiveDeletion(writes) : undefined;
  for (const write of writes) {
    if (write.outcome.kind !== 'unknown') continue;
    if (write === deletion?.write) write.outcome = { kind: 'acknowledged', version: deletion.version, at };
    else if (seen !== undefined && write.value === seen.value) {
      write.outcome = { kind: 'acknowledged', version: seen.version, at };
    } else write.outcome = { kind: 'gone' };
  }
}

/** The unknown deletion that must have happened for a document to be absent, with a version right above the last one. */
function decisiveDeletion(writes: readonly Write[]): { readonly write: Write; readonly version: string } | undefined {
  const last = lastAcknowledged(writes);
  if (last?.write.value === undefined) return undefined;
  const write = writes.find(({ value, outcome }) => value === undefined && outcome.kind === 'unknown');
  return write === undefined ? undefined : { write, version: `${last.version}~` };
}

function lastAcknowledged(writes: readonly Write[]): { readonly write: Write; readonly version: string } | undefined {
  let last: { readonly write: Write; readonly version: string } | undefined;
  for (const write of writes) {
    if (write.outcome.kind !== 'acknowledged') continue;
    const { version } = write.outcome;
    if (last === undefined || version > last.version) last = { write, version };
  }
  return last;
}
