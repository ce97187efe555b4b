/**
 * Runs the simulator from its sources: `npm run sim -- --seeds 200 --from 1`. See test/sim/main.ts.
 */
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);
const { main } = await import('../test/sim/main.ts');
process.exitCode = await main(process.argv.slice(2));
