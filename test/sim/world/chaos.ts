import { majorityOf } from '../checkers/observation.js';
import type { SimHost } from './host.js';
import type { MapChanges } from './map-changes.js';
import { HEALTHY_PATH } from './paths.js';
import type { SeededRandom } from './seeded-random.js';
import type { World } from './world.js';

/**
 * What can go wrong; a run draws its own few of them (swarm). New ones come at the end: a seed that was kept is played with as
 * many as there were.
 */
export const FAULTS = [
  'crash',
  'crash-all',
  'stop',
  'pause',
  'isolate',
  'halves',
  'bridge',
  'one-way',
  'flap',
  'drop',
  'slow',
  'duplicate',
  'reset',
  'slow-disk',
  'slow-index',
  'failed-sync',
  'full-disk',
  'wipe',
  'clock-jump',
  'move',
  'compact',
  'clock-drift',
  'bit-flip',
] as const;
export type Fault = (typeof FAULTS)[number];

/** The shard of the random runs that holds documents. */
const DOCUMENTS = 0;

/** Breaks things at random moments, undoes what is passing, and in the end heals everything. */
export class Chaos {
  readonly faults: readonly Fault[];
  readonly #random: SeededRandom;
  readonly #meanMs: number;
  /** Hosts with a damaged disk that is to be replaced. */
  readonly #damaged = new Set<SimHost>();
  #running = false;

  constructor(
    private readonly world: World,
    private readonly changes: MapChanges,
    allowed: readonly Fault[] = FAULTS,
  ) {
    this.#random = world.random.fork('chaos');
    this.#meanMs = this.#random.pick([400, 1_000, 2_500]);
    const share = this.#random.pick([0.15, 0.35, 0.6]);
    const drawn = allowed.filter(() => this.#random.chance(share));
    this.faults = drawn.length > 0 ? drawn : [this.#random.pick(allowed)];
  }

  start(): void {
    this.#running = true;
    this.world.note('!', `faults: ${this.faults.join(' ')}`);
    this.#next();
  }

  /** The end of all faults; what they did to clocks and disks stays. */
  heal(): void {
    this.#running = false;
    const { world } = this;
    world.note('!', 'heals');
    world.supervised = true;
    world.connect();
    for (const path of world.network.paths()) Object.assign(path.faults, HEALTHY_PATH);
    for (const host of this.#damaged) this.#replaceDisk(host);
    for (const host of world.hosts) {
      host.disk.faults.full = false;
      host.disk.faults.failNext = false;
      host.disk.faults.maxMs = host.disk.faults.minMs + 3;
      host.slowness.maxMs = 5;
      world.resume(host);
      world.start(host);
    }
  }

  #next(): void {
    this.world.scheduler.in(this.#random.between(0.2, 2) * this.#meanMs, undefined, () => {
      if (!this.#running) return;
      const fault = this.#random.pick(this.faults);
      this.world.count(`fault ${fault}`);
      this.#strike(fault, this.#random.pick(this.world.hosts));
      this.#next();
    });
  }

  /** Later, unless everything healed meanwhile. */
  #later(minMs: number, maxMs: number, run: () => void): void {
    this.world.scheduler.in(this.#random.between(minMs, maxMs), undefined, () => {
      if (this.#running) run();
    });
  }

  #strike(fault: Fault, host: SimHost): void {
    const { world } = this;
    const random = this.#random;
    switch (fault) {
      case 'crash':
        world.crash(host);
        return void this.#restart(host);
      case 'crash-all':
        for (const each of world.hosts) {
          world.crash(each);
          this.#restart(each);
        }
        return;
      case 'stop':
        world.stop(host);
        return void this.#later(500, 4_000, () => world.start(host));
      case 'pause':
        world.pause(host);
        return void this.#later(200, 12_000, () => world.resume(host));
      case 'isolate':
        world.partition([host]);
        return void this.#later(500, 15_000, () => world.connect());
      case 'halves':
        world.partition(world.hosts.filter(() => random.chance(0.5)));
        return void this.#later(500, 15_000, () => world.connect());
      case 'bridge':
        return void this.#bridge(host);
      case 'one-way':
        world.block(host, random.pick(world.hosts.filter((other) => other !== host)));
        return void this.#later(500, 12_000, () => world.connect());
      case 'flap':
        return void this.#flap(host, 3 + random.below(6));
      case 'drop':
        return void this.#onPaths(host, (faults) => (faults.dropRate = random.between(0.02, 0.4)));
      case 'slow':
        return void this.#onPaths(host, (faults) => (faults.delayMaxMs = random.between(20, 800)));
      case 'duplicate':
        return void this.#onPaths(host, (faults) => (faults.duplicateRate = random.between(0.05, 0.6)));
      case 'reset':
        return void this.#onPaths(host, (faults) => (faults.resetRate = random.between(0.005, 0.1)));
      case 'slow-disk':
        host.disk.faults.maxMs = random.between(20, 900);
        return void this.#later(500, 6_000, () => (host.disk.faults.maxMs = host.disk.faults.minMs + 3));
      case 'slow-index':
        host.slowness.maxMs = random.between(20, 1_500);
        return void this.#later(500, 6_000, () => (host.slowness.maxMs = 5));
      case 'failed-sync':
        host.disk.faults.failNext = true;
        return void this.#restart(host, 1_000, 5_000);
      case 'full-disk':
        host.disk.faults.full = true;
        return void this.#later(1_000, 5_000, () => {
          host.disk.faults.full = false;
          this.#restart(host, 0, 2_000);
        });
      case 'wipe':
        if (!this.#damaged.has(host) && this.#isSpared(host)) this.#replaceDisk(host);
        return;
      case 'clock-jump':
        host.hardware.wallOffsetMs += random.between(-20_000, 20_000);
        return;
      case 'clock-drift':
        return void world.drift(host, 1 + random.between(-0.05, 0.05));
      case 'bit-flip':
        return void this.#flip(host);
      case 'compact':
        for (const shard of world.map.shards()) world.compact(host, shard);
        return;
      case 'move':
        return void this.changes.wantAny();
    }
  }

  #restart(host: SimHost, minMs = 50, maxMs = 6_000): void {
    this.#later(minMs, maxMs, () => this.world.start(host));
  }

  /** Two groups that only `host` connects. */
  #bridge(host: SimHost): void {
    const { world } = this;
    const others = this.#random.shuffled(world.hosts.filter((other) => other !== host));
    const left = others.slice(0, Math.ceil(others.length / 2));
    for (const a of left)
      for (const b of others.slice(left.length)) {
        world.block(a, b);
        world.block(b, a);
      }
    this.#later(500, 15_000, () => world.connect());
  }

  #flap(host: SimHost, times: number): void {
    const { world } = this;
    world.partition([host]);
    this.#later(100, 1_500, () => {
      world.connect();
      if (times > 0) this.#later(100, 1_500, () => this.#flap(host, times - 1));
    });
  }

  #onPaths(host: SimHost, worsen: (faults: SimPathFaults) => void): void {
    const { network, hosts } = this.world;
    const hit = hosts
      .filter((other) => other !== host)
      .flatMap((other) => [network.path(host.name, other.name), network.path(other.name, host.name)])
      .filter(() => this.#random.chance(0.6));
    for (const path of hit) worsen(path.faults);
    this.#later(500, 10_000, () => {
      for (const { faults } of hit) Object.assign(faults, { ...HEALTHY_PATH, blocked: faults.blocked });
    });
  }

  /** A stored document is damaged; whoever looks after the nodes replaces the disk a little later. */
  #flip(host: SimHost): void {
    const { world } = this;
    if (this.#damaged.has(host) || !this.#isSpared(host)) return;
    const state = host.disk.logState(DOCUMENTS);
    if (state === undefined || state.tail <= state.start.offset) return;
    const offset = state.start.offset + 1 + this.#random.below(state.tail - state.start.offset);
    if (!world.flip(host, DOCUMENTS, offset)) return;
    this.#damaged.add(host);
    // The others must not be moved away from what is about to go.
    this.changes.frozen = true;
    this.#later(500, 6_000, () => this.#replaceDisk(host));
  }

  #replaceDisk(host: SimHost): void {
    if (this.#damaged.delete(host)) this.changes.frozen = this.#damaged.size > 0;
    const old = host.nodeUuid;
    this.world.wipe(host);
    this.changes.replace(old, host);
    this.#restart(host);
  }

  /** Whether the levels tolerate the loss of this disk: others must survive to hold what was acknowledged. */
  #isSpared(host: SimHost): boolean {
    const { world } = this;
    for (const shard of world.map.shards()) {
      const lost = [...this.#damaged].map(({ nodeUuid }) => nodeUuid);
      // Copies may still count by the set before the map's newest one.
      const counted = world.hosts.map(({ running }) => running?.node?.inspect(shard)?.set);
      for (const set of [world.map.placed(shard).set, ...counted]) {
        if (set?.members.includes(host.nodeUuid) !== true) continue;
        const { members } = set;
        const gone = members.filter((uuid) => world.destroyed.has(uuid) || lost.includes(uuid)).length + 1;
        const tolerated = world.map.isStrict(shard) ? members.length - majorityOf(members.length) : members.length - 1;
        if (gone > Math.min(1, tolerated)) return false;
      }
    }
    return true;
  }
}

type SimPathFaults = { -readonly [K in keyof typeof HEALTHY_PATH]: (typeof HEALTHY_PATH)[K] };
