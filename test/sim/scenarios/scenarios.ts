import type { Scenario } from '../world/run.js';

export const SCENARIOS: readonly Scenario[] = [];
