import { parseArgs } from 'node:util';
import { runSeed } from './world/run.js';
import { commandFor, failureText, runTwice } from './twice.js';
import { SCENARIOS } from './scenarios/scenarios.js';
import { DEFAULT_SUBJECT, SUBJECTS } from './subject.js';
import { FAULTS } from './world/chaos.js';
import type { Fault } from './world/chaos.js';
import { BUGS, BUGS_TO_COME } from './bugs/bugs.js';
import { hunt } from './bugs/hunt.js';

const USAGE = `npm run sim -- [options]

  --seeds <n>        how many seeds (default 100)
  --from <seed>      the first one (default 1)
  --scenario <name>  a named course of events instead of the random one; "all" for each of them
  --faults <a,b,…>   only these faults
  --bugs <a,b,…>     break these rules on purpose: the seeds must find it
  --hunt             look for every bug of the list (or those of --bugs) in up to 2000 seeds, and print what finds it
  --subject <name>   ${Object.keys(SUBJECTS).join(', ')} (default ${DEFAULT_SUBJECT})
  --trace            print everything that happens
  --once             do not run every seed twice to compare the traces
  --list             name the scenarios, the faults and the bugs
`;

/** The command line of the simulator; returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string' },
      from: { type: 'string', default: '1' },
      scenario: { type: 'string' },
      faults: { type: 'string' },
      bugs: { type: 'string' },
      subject: { type: 'string', default: DEFAULT_SUBJECT },
      trace: { type: 'boolean', default: false },
      hunt: { type: 'boolean', default: false },
      once: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const say = (text: string) => void process.stdout.write(`${text}\n`);
  if (values.help) {
    say(USAGE);
    return 0;
  }
  if (values.list) {
    say(
      `scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')}\nfaults: ${FAULTS.join(', ')}\nbugs: ${BUGS.map(({ name }) => name).join(', ')}`,
    );
    return 0;
  }
  const subject = SUBJECTS[values.subject];
  const scenarios =
    values.scenario === undefined
      ? [undefined]
      : SCENARIOS.filter(({ name, byHand }) =>
          values.scenario === 'all' ? byHand !== true : name === values.scenario,
        );
  if (subject === undefined || scenarios.length === 0) {
    say(USAGE);
    return 2;
  }
  const bugs = new Set((values.bugs ?? '').split(',').filter((name) => name !== ''));
  const count = Number(values.seeds ?? (values.hunt ? '2000' : '100'));
  if (values.hunt) return huntAll(bugs, Number(values.from), count, say);
  const faults = values.faults
    ?.split(',')
    .filter((name): name is Fault => (FAULTS as readonly string[]).includes(name));
  const started = performance.now();
  const totals = new Map<string, number>();
  const failed: number[] = [];
  let [runs, tasks, virtualMs] = [0, 0, 0];
  for (const scenario of scenarios) {
    for (let seed = Number(values.from); seed < Number(values.from) + count; seed++) {
      const options = {
        seed,
        factory: subject,
        bugs,
        ...(faults === undefined ? {} : { faults }),
        ...(scenario === undefined ? {} : { scenario }),
        ...(values.trace ? { print: say } : {}),
      };
      const report = values.once || values.trace ? await runSeed(options) : await runTwice(options);
      runs++;
      tasks += report.tasks;
      virtualMs += report.virtualMs;
      for (const [name, count] of report.counters) totals.set(name, (totals.get(name) ?? 0) + count);
      for (const remark of report.remarks) say(remark);
      if (report.violations.length === 0) continue;
      failed.push(seed);
      say(failureText(report, commandFor(seed, scenario?.name, values.subject, bugs)));
    }
  }
  const seconds = (performance.now() - started) / 1_000;
  const counts = [...totals].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name}: ${count}`);
  say(`\n${counts.join(', ')}`);
  say(
    `${runs} runs, ${failed.length} failed${failed.length === 0 ? '' : ` (seeds ${failed.join(' ')})`}, ${Math.round(tasks / runs)} tasks and ${Math.round(virtualMs / runs / 1_000)} s of virtual time a run, ${seconds.toFixed(1)} s`,
  );
  return failed.length === 0 ? 0 : 1;
}

/** Prints, for every bug, the first seed that finds it and what gave it away; the exit code. */
async function huntAll(
  names: ReadonlySet<string>,
  from: number,
  seeds: number,
  say: (text: string) => void,
): Promise<number> {
  const chosen = BUGS.filter(({ name }) => names.size === 0 || names.has(name));
  const row = (...cells: readonly string[]): void => say(`| ${cells.join(' | ')} |`);
  row('bug', 'seed', 'found by', 'what is done instead of the rule', 'in words');
  row('---', '---', '---', '---', '---');
  let missed = 0;
  for (const bug of chosen) {
    const caught = await hunt(bug, from, seeds);
    if (caught === undefined) missed++;
    const rules = [...new Set(caught?.violations.map(({ rule }) => rule))].join(' ');
    const seed = caught === undefined ? `none of ${seeds}` : String(caught.seed);
    const where = bug.scenario === undefined ? seed : `${seed} of ${bug.scenario}`;
    row(bug.name, where, rules, bug.about, caught?.violations[0].detail.split('\n')[0] ?? '');
  }
  if (names.size === 0) for (const { name, because } of BUGS_TO_COME) row(name, '-', '-', because, '');
  return missed === 0 ? 0 : 1;
}
