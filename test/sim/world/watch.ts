import { checkQueues } from '../checkers/queue-bounds.js';
import { checkSets } from '../checkers/sets.js';
import { InSync } from '../checkers/in-sync.js';
import { Reigns } from '../checkers/reigns.js';
import { checkDeadlines } from '../checkers/deadlines.js';
import { HEARTBEAT_MS } from './replicated-node.js';
import type { World } from './world.js';

const SAMPLE_MS = 250;
/** A write is answered within 5 s (replication 2.8), a full queue of timers and a slow disk included. */
export const CALL_MS = 7_500;

/** Looks at the whole cluster a few times a second, with the checkers that need to see it over time. */
export class Watch {
  readonly #reigns = new Reigns();
  readonly #inSync: InSync;

  constructor(private readonly world: World) {
    this.#inSync = new InSync(world.options.cluster?.heartbeatIntervalMs ?? HEARTBEAT_MS);
  }

  /** Lets time pass while looking; ends early when `done` says so, asked at each look. */
  async pass(ms: number, done: () => boolean | Promise<boolean> = () => false): Promise<boolean> {
    const { world } = this;
    const untilMs = world.nowMs + ms;
    for (;;) {
      await world.scheduler.run(Math.min(untilMs, world.nowMs + SAMPLE_MS));
      await this.#look();
      if (await done()) return true;
      if (world.nowMs >= untilMs || world.violations.length > 0) return false;
    }
  }

  async #look(): Promise<void> {
    const { world } = this;
    const observation = await world.observe(false);
    for (const copy of observation.copies) world.report(this.#reigns.see(copy, world.startOf(copy), world.nowMs));
    world.report(this.#inSync.see(observation));
    world.report(checkSets(observation.copies, (shard, set) => world.map.decided(shard, set)));
    world.report(checkQueues(observation));
    for (const host of world.hosts) {
      if (host.running?.process.paused !== true) continue;
      for (const [at, call] of world.calls.entries())
        if (call.process === host.running.process && call.endedMs === undefined)
          world.calls[at] = { ...call, pausedMs: call.pausedMs + SAMPLE_MS };
    }
    world.report(checkDeadlines(world.calls, world.nowMs, CALL_MS));
  }
}
